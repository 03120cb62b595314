"""Cross-validation over frames, against loops that leave out the rows of each fold."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.linalg

import hgn_jax as hgn
from hgn_jax.fitting.accumulate import accumulate
from hgn_jax.graphs.from_frames import from_frames
from hgn_jax.graphs.pieces import packs
from hgn_jax.linear.gram import Gram, gram

FOLDS = 3
SOLVER = hgn.QR(ridge=hgn.FrameCV(FOLDS))
RIDGES = np.sqrt(1e-13 * 10 ** (np.arange(-1, 20) / 2))
"""Relative to the square root of the sum of the squared norms."""
GROUPS = (5, 3)

solve = jax.jit(functools.partial(SOLVER.solve, groups=GROUPS))
first = jax.jit(gram, static_argnums=3)
append = jax.jit(Gram.append)


def rows_of_batches(seed=0, columns=8, batches=7):
    """Batches of rows with nearly dependent columns of unequal norm in two groups of very unequal
    norm, and a misfit that is common to the rows of a batch."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=columns)
    mixing = rng.normal(size=(columns, columns)) @ np.diag(10.0 ** -np.linspace(0, 4, columns))
    scale = 10.0 ** (rng.uniform(-0.5, 0.5, columns) + 3 * (np.arange(columns) >= GROUPS[0]))
    pieces = []
    for _ in range(batches):
        z = rng.normal(size=(12, columns)) @ mixing.T
        misfit = 0.03 * rng.normal() + 0.02 * rng.normal(size=12)
        pieces.append((z * scale, z @ truth + misfit * np.linalg.norm(z)))
    return pieces


def gram_of(pieces, folds=FOLDS):
    (z, u), *others = [(jnp.asarray(z), jnp.asarray(u)) for z, u in pieces]
    number = jnp.asarray(len(z))
    return functools.reduce(lambda g, p: append(g, *p, number), others, first(z, u, number, folds))


def joined(pieces):
    return tuple(np.concatenate(p) for p in zip(*pieces))


def group_norms(z, groups):
    """Root mean square norm of the columns of each column's group."""
    parts = np.split(np.linalg.norm(z, axis=0), np.cumsum(groups)[:-1])
    return np.concatenate([np.full(len(p), np.sqrt(np.mean(p**2))) for p in parts])


def scaled_solution(z, u, ridge, norm):
    """Coefficients by LAPACK, on the rows with columns divided by those norms and a ridge below."""
    augmented = np.concatenate([z / norm, ridge * np.eye(len(norm))])
    return scipy.linalg.lstsq(augmented, np.append(u, np.zeros(len(norm))))[0] / norm


def left_out(pieces, folds=FOLDS, groups=GROUPS):
    """Ridges relative to the norms of the groups; squared errors of every fold, predicted from
    the others, by ridge; and the coefficients of each."""
    norm = group_norms(joined(pieces)[0], groups)
    ridges = RIDGES * np.sqrt(len(norm))
    errors, thetas = [], []
    for ridge in ridges:
        of_folds = []
        for fold in range(folds):
            kept = [p for k, p in enumerate(pieces) if k % folds != fold]
            of_folds.append(scaled_solution(*joined(kept), ridge, norm))
        thetas.append(of_folds)
        errors.append(
            [
                sum(np.sum((z @ of_folds[f] - u) ** 2) for z, u in pieces[f::folds])
                for f in range(folds)
            ]
        )
    return ridges, np.array(errors), np.array(thetas)


def chosen(errors):
    """Index of the best of whole steps, which are the odd ones, or of a half step beside it."""
    total = errors.sum(axis=1)
    whole = 2 * int(np.argmin(total[1::2])) + 1
    return whole - 1 + int(np.argmin(total[whole - 1 : whole + 2]))


@pytest.mark.parametrize("seed", range(4))
def test_the_ridge_is_the_one_whose_left_out_rows_have_the_least_error(seed):
    pieces = rows_of_batches(seed)
    ridges, errors, thetas = left_out(pieces)
    solution = solve(gram_of(pieces))
    best = chosen(errors)
    z, u = joined(pieces)
    norm, size = group_norms(z, GROUPS), np.linalg.norm(u)
    np.testing.assert_allclose(solution.ridge, [ridges[best]] * 2, rtol=1e-9)
    held_out = np.sqrt(errors[best].sum())
    np.testing.assert_allclose(solution.held_out, held_out / size, rtol=1e-8)
    np.testing.assert_allclose(solution.noise, held_out / np.sqrt(len(z)), rtol=1e-8)
    assert np.ptp(errors.sum(axis=1)) > 1e-3 * errors[best].sum()
    tolerance = 1e-6 * np.abs(thetas[best] * norm).max()
    np.testing.assert_allclose(solution.of_folds * norm[None], thetas[best] * norm, atol=tolerance)
    theta = scaled_solution(z, u, ridges[best], norm)
    np.testing.assert_allclose(solution.theta * norm, theta * norm, atol=tolerance)
    np.testing.assert_allclose(solution.residual, np.linalg.norm(z @ theta - u) / size, rtol=1e-8)


def test_the_choice_differs_with_the_data():
    assert len({float(solve(gram_of(rows_of_batches(seed))).ridge[0]) for seed in range(4)}) > 1


def test_figures_are_those_of_the_rows_with_that_ridge():
    pieces = rows_of_batches(1)
    solution = solve(gram_of(pieces))
    z, u = joined(pieces)
    norm, ridge, size = group_norms(z, GROUPS), float(solution.ridge[0]), np.linalg.norm(u)
    theta = scaled_solution(z, u, ridge, norm)
    own = np.linalg.norm(z, axis=0)
    np.testing.assert_allclose(solution.column_ridge, ridge * norm / own, rtol=1e-12)
    singular = np.linalg.svd(z / own, compute_uv=False)
    np.testing.assert_allclose(solution.condition, singular[0] / singular[-1], rtol=1e-5)
    assert solution.rank == 8
    shares = np.linalg.svd(z / norm, compute_uv=False)
    freedom = np.sum(shares**2 / (shares**2 + ridge**2))
    np.testing.assert_allclose(solution.effective_dof, freedom, rtol=1e-5)
    np.testing.assert_allclose(solution.residual, np.linalg.norm(z @ theta - u) / size, rtol=1e-5)
    np.testing.assert_allclose(solution.cancellation, np.abs(theta) @ own / size, rtol=1e-5)
    # Marginal likelihood of the rows at the most likely noise, by their covariance.
    scaled = z / (ridge * norm)
    covariance = np.eye(len(z)) + scaled @ scaled.T
    variance = u @ np.linalg.solve(covariance, u) / len(z)
    evidence = -(np.linalg.slogdet(covariance)[1] + len(z) * np.log(variance)) / 2
    np.testing.assert_allclose(solution.evidence, evidence, rtol=1e-5)
    assert solution.method == "cholesky" and solution.groups == GROUPS


def test_the_unit_of_a_group_does_not_matter_but_the_share_of_a_column_does():
    pieces = rows_of_batches(2)
    unit = np.repeat([1e-7, 1e5], GROUPS)
    before = solve(gram_of(pieces))
    after = solve(gram_of([(z * unit, u) for z, u in pieces]))
    np.testing.assert_allclose(after.ridge, before.ridge, rtol=1e-9)
    np.testing.assert_allclose(after.theta * unit, before.theta, rtol=1e-6)
    # A column that hardly acts stays out of the way.
    rng = np.random.default_rng(0)
    weak = [(np.concatenate([1e-12 * rng.normal(size=(12, 1)), z], axis=1), u) for z, u in pieces]
    groups = (GROUPS[0] + 1, GROUPS[1])
    found = jax.jit(functools.partial(SOLVER.solve, groups=groups))(gram_of(weak))
    assert found.column_ridge[0] > 1e3 and found.group_dof[0] < GROUPS[0]


def test_the_triangle_of_normal_equations_is_that_of_the_rows():
    pieces = rows_of_batches(2)
    z, u = joined(pieces)
    triangle = jax.jit(Gram.triangle)(gram_of(pieces))
    norm = np.linalg.norm(z, axis=0)
    r, zs = np.asarray(triangle.r) / norm, z / norm
    np.testing.assert_allclose(r.T @ r, zs.T @ zs, atol=1e-12)
    np.testing.assert_allclose(r.T @ triangle.qu, zs.T @ u, atol=1e-10 * np.linalg.norm(u))
    least = np.linalg.norm(zs @ scipy.linalg.lstsq(zs, u)[0] - u)
    np.testing.assert_allclose(triangle.rest, least, rtol=1e-6)
    assert triangle.rows == len(z)


def test_appending_and_merging_are_one_problem():
    pieces = rows_of_batches(3, batches=6)
    whole = gram_of(pieces)
    for fold in range(FOLDS):
        z, u = joined(pieces[fold::FOLDS])
        np.testing.assert_allclose(whole.matrix[fold], z.T @ z, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(whole.projected[fold], z.T @ u, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(whole.square[fold], u @ u, rtol=1e-12)
    assert whole.fold_rows.tolist() == [24, 24, 24] and whole.batches == 6
    halves = Gram.merge([gram_of(pieces[:3]), gram_of(pieces[3:])])
    for a, b in zip(jax.tree.leaves(halves)[:4], jax.tree.leaves(whole), strict=False):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    for a, b in zip(jax.tree.leaves(solve(halves)), jax.tree.leaves(solve(whole)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_columns_of_zeros_and_copies_are_no_rank():
    pieces = [
        (np.concatenate([z, 0 * z[:, :1], z[:, :2]], axis=1), u) for z, u in rows_of_batches(4)
    ]
    solution = jax.jit(SOLVER.solve)(gram_of(pieces))
    assert solution.rank == 8 and solution.theta[8] == 0
    np.testing.assert_allclose(solution.theta[:2], solution.theta[9:], rtol=1e-4)


def test_single_precision_has_a_ridge_above_its_rounding():
    pieces = [tuple(a.astype(np.float32) for a in p) for p in rows_of_batches(5)]
    solution = solve(gram_of(pieces))
    double = solve(gram_of(rows_of_batches(5)))
    assert solution.theta.dtype == jnp.float32 and np.isfinite(solution.theta).all()
    assert float(solution.ridge[0]) > np.sqrt(8 * 8**0.5 * 1e-6 / 2)
    assert float(solution.held_out) < 1.2 * float(double.held_out)


def test_a_ridge_at_which_rounding_breaks_the_factorisation_is_passed_over():
    sums = gram_of(rows_of_batches(0))
    unit = np.sqrt(np.asarray(sums.matrix).sum(axis=0).diagonal())
    # Not positive definite without a ridge: an eigenvalue of -1e-7 in units of the columns.
    broken = np.asarray(sums.matrix) - 1e-7 * np.diag(unit**2)[None]
    solution = solve(eqx.tree_at(lambda g: g.matrix, sums, jnp.asarray(broken)))
    assert np.linalg.eigvalsh(broken.sum(axis=0) / np.outer(unit, unit))[0] < 0
    assert np.isfinite(solution.theta).all() and np.isfinite(solution.of_folds).all()


def test_one_matrix_has_no_folds():
    with pytest.raises(ValueError, match=r"FrameCV.* needs rows in batches of frames"):
        SOLVER(jnp.ones((4, 2)), jnp.ones(4))


@pytest.mark.parametrize("folds", [1, 0, 2.5])
def test_folds_are_at_least_two(folds, no_type_checks):
    with pytest.raises(ValueError, match="folds must be"):
        hgn.FrameCV(folds)


# Fits

CUTOFF = 2.2
TERMS = (hgn.ManyBody(12, degree=2, radial=3, cutoff=CUTOFF),)
SMALL = (hgn.ManyBody(12, degree=1, radial=2, cutoff=CUTOFF),)
OBSERVATIONS = (hgn.Energies(), hgn.Forces())


def frames(count, seed=0, bodies=4):
    """Positions and triclinic cells, several times smaller than the reach of the forces."""
    rng = np.random.default_rng(seed)
    sites = np.array([[0.0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])[:bodies]
    for _ in range(count):
        cell = 2.3 * (np.eye(3) + rng.uniform(-0.08, 0.08, (3, 3)))
        yield (sites + rng.uniform(-0.05, 0.05, sites.shape)) @ cell, cell


def unlabelled(count, seed=0):
    positions, cells = zip(*frames(count, seed))
    nodes = {"mass": np.ones(sum(map(len, positions)))}
    return from_frames(positions, cutoff=CUTOFF, cell=cells, nodes=nodes)


@functools.cache
def labelled(count, seed=0):
    """Energies and forces of richer features than the fitted ones: the misfit is a model error."""
    data = unlabelled(count, seed)
    spec = hgn.ManyBody(24, degree=3, radial=4, cutoff=CUTOFF, assembly="float64")
    (truth,) = hgn.sample([spec], unlabelled(4), key=7)
    theta = jr.normal(jr.key(0), truth.columns)
    energy, force = labels(truth, data, theta)
    return data._replace(
        nodes=data.nodes | {"force": force}, globals=data.globals | {"energy": energy}
    )


@eqx.filter_jit
def labels(truth, data, theta):
    return truth(data) @ theta - 5.0 * 4, -truth.energy_gradient(data, theta).position


def fitted(data, **how):
    return hgn.fit(data, key=1, **{"terms": TERMS, "observations": OBSERVATIONS} | how)


@pytest.fixture(scope="module")
def data():
    return labelled(24)


@pytest.fixture(scope="module")
def fit(data):
    return fitted(data, solver=SOLVER)


rows_of = eqx.filter_jit(lambda equations, piece: equations.systems(piece)[0])


def test_a_fit_leaves_out_whole_frames(fit, data):
    """Two frames are a piece; rows and folds by hand give its ridge and its error."""
    pieces = list(packs(data, 8))
    assert len(pieces) == 4 * FOLDS
    systems = [rows_of(fit.equations, p) for p in pieces]
    rows = [(np.asarray(s.matrix), np.asarray(s.target)) for s in systems]
    groups = fit.solutions[0].groups
    assert groups == (1, 6, 5, 1)  # body orders 3, 4 and 5, and the constant
    ridges, errors, _ = left_out(rows, groups=groups)
    best = chosen(errors)
    np.testing.assert_allclose(fit.ridge, ridges[best], rtol=1e-6)
    size = np.sqrt(sum(float(s.target @ s.target) for s in systems))
    held_out = np.sqrt(errors[best].sum()) / size
    np.testing.assert_allclose(fit.solutions[0].held_out, held_out, rtol=1e-5)
    assert fit.residual < held_out and fit.rows == 24 * (1 + 12)


def same_model(a, b, data, tolerance=1e-8):
    for x, y in zip(evaluated(a.model, data), evaluated(b.model, data), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * np.abs(y).max())
    np.testing.assert_allclose(a.ridge, b.ridge, rtol=1e-6)
    np.testing.assert_allclose(a.solutions[0].held_out, b.solutions[0].held_out, rtol=1e-6)


@eqx.filter_jit
def evaluated(model, data):
    basis, theta = model.basis, model.theta[0]
    (term,) = basis.terms
    return model(data), term.energy_gradient(data, theta).position


def test_errors_of_unseen_frames_are_those_of_held_out_ones(fit, data):
    unseen = labelled(24, 1)
    system = rows_of(fit.equations, unseen)
    theta = jnp.concatenate([*fit.model.theta, fit.model.constants])
    theta = theta.at[-1].add(-fit.equations.energies.reference[0])
    error = jnp.linalg.norm(system.matrix @ theta - system.target) / jnp.linalg.norm(system.target)
    assert 0.5 < float(error / fit.solutions[0].held_out) < 1.4


def test_streams_and_updates_are_one_fit(fit, data):
    pieces = list(packs(data, 8))
    stream = hgn.fit_stream(
        pieces, key=1, terms=TERMS, observations=OBSERVATIONS, solver=SOLVER, sample_from=data
    )
    same_model(stream, fit, data)
    some = hgn.fit_stream(
        pieces[:-2], key=1, terms=TERMS, observations=OBSERVATIONS, solver=SOLVER, sample_from=data
    )
    more = some.update(pieces[-2]).update(pieces[-1])
    same_model(more, fit, data, 1e-6)  # rows in single precision, of another program
    assert more.rows == fit.rows


def test_several_devices_are_one_fit(fit, data):
    """Workers that take turns, more than folds: every frame stays in the same fold."""
    pieces = list(packs(data, 8))
    for workers in (2, FOLDS + 1):
        devices = (jax.devices()[0],) * workers
        several = accumulate(fit.equations, pieces, SOLVER, like=pieces[0], devices=devices)
        same_model(several, fit, data)
        fold_rows = [r.systems[0].fold_rows.tolist() for r in (several.reduction, fit.reduction)]
        assert fold_rows[0] == fold_rows[1] == [104] * FOLDS


def test_interrupted_streams_go_on(fit, data, tmp_path):
    pieces = list(packs(data, 8))

    def until(number):
        yield from pieces[:number]
        raise KeyError("mine")

    how = {"key": 1, "terms": TERMS, "observations": OBSERVATIONS, "solver": SOLVER}
    how |= {"sample_from": data, "checkpoint": str(tmp_path / "run")}
    with pytest.raises(KeyError, match="mine"):
        hgn.fit_stream(until(7), **how)
    same_model(hgn.fit_stream(pieces, **how), fit, data)


def test_standard_deviations_are_of_the_size_of_the_errors(fit):
    unseen = labelled(24, 1)
    deviation = fit.standard_deviation(unseen).force
    slope = evaluated(fit.model, unseen)[1]
    error = np.abs(-slope - unseen.nodes["force"])
    assert np.isfinite(deviation).all() and (deviation > 0).all()
    # Errors are model errors, which standard deviations of coefficients do not include.
    assert 0.05 < float(np.sqrt(np.mean(deviation**2) / np.mean(error**2))) < 2
    paths = fit.ridge_paths()
    assert np.isfinite(paths[0].evidence).all()


def test_auto_is_cross_validation_for_many_bodies_and_the_evidence_for_others(data):
    many = fitted(data, terms=SMALL)
    assert many.solver.choice == "frames" and many.solver.folds == 5
    assert many.solutions[0].held_out is not None
    pairs = fitted(data, terms=[hgn.Pair(8, cutoff=CUTOFF)])
    assert pairs.solver.choice == "auto" and pairs.solutions[0].held_out is None
    evidence = fitted(data, terms=[hgn.Pair(8, cutoff=CUTOFF)], solver=hgn.QR(ridge="evidence"))
    np.testing.assert_array_equal(pairs.model.theta[0], evidence.model.theta[0])


def test_few_frames_leave_auto_to_the_evidence_and_others_are_refused():
    few = hgn.graphs.pad(labelled(4), n_node=20, n_edge=2000, n_graph=9)
    assert fitted(few, terms=SMALL).solver.choice == "auto"
    with pytest.raises(ValueError, match=r"folds=5\) needs as many batches of frames, got 4"):
        fitted(labelled(4), terms=SMALL, solver=hgn.QR(ridge=hgn.FrameCV()))
    with pytest.raises(ValueError, match=r"folds=3\) needs as many batches of frames, got 1"):
        hgn.fit_stream([labelled(4)], key=0, terms=SMALL, observations=OBSERVATIONS, solver=SOLVER)


def test_inside_jit_there_are_no_folds():
    few = labelled(6)

    def model(key, solver=hgn.QR()):
        how = {"observations": OBSERVATIONS, "solver": solver, "throw": False}
        return hgn.fit(few, key=key, terms=SMALL, **how)

    with pytest.raises(ValueError, match="inside jit, vmap or grad there are no folds of frames"):
        eqx.filter_jit(lambda key: model(key, SOLVER).model)(jr.key(0))
    alike = eqx.filter_jit(eqx.filter_vmap(lambda key: model(key).model.theta))(
        jr.split(jr.key(0), 2)
    )
    evidence = model(jr.split(jr.key(0), 2)[1], hgn.QR(ridge="evidence"))
    size = np.abs(evidence.model.theta[0]).max()
    np.testing.assert_allclose(alike[0][1], evidence.model.theta[0], atol=1e-4 * size)


def test_two_passes_guide_by_the_evidence(data):
    terms = [hgn.Pair(8, hgn.SWIM(passes=2), cutoff=CUTOFF)]
    fit = fitted(data, terms=terms, solver=SOLVER)
    guided = hgn.sample(terms, data, key=1)
    assert not eqx.tree_equal(fit.model.basis.terms[0], guided[0])
    assert np.isfinite(fit.model.theta[0]).all()


@pytest.mark.filterwarnings("ignore:fitting in float32")
def test_fits_in_single_precision_are_nearly_those_in_double(data):
    single = jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a, data)
    found, expected = (fitted(d, terms=SMALL) for d in (single, data))
    assert found.solver.choice == "frames" and found.model.theta[0].dtype == jnp.float32
    assert float(found.solutions[0].held_out) < 1.2 * float(expected.solutions[0].held_out)
