"""Errors of held-out frames, and deviations and settings chosen by them."""

import ase.build
import ase.calculators.emt
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.fitting.held_out import errors_of, fold_model, observed_entries

CUTOFF = 4.0
TERMS = (hgn.Pair(8, cutoff=CUTOFF), hgn.ManyBody(40, cutoff=CUTOFF, degree=2, radial=3))
OBSERVED = (hgn.Energies(), hgn.Forces())


def frames(count, seed):
    """Rattled and strained copper with the energies and forces of effective medium theory."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        atoms = ase.build.bulk("Cu", cubic=True)
        strain = np.eye(3) + rng.normal(0, 0.03, (3, 3))
        atoms.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
        atoms.positions += rng.normal(0, 0.15, atoms.positions.shape)
        atoms.calc = ase.calculators.emt.EMT()
        atoms.get_potential_energy()
        found.append(atoms)
    data = hgn.read(found, cutoff=CUTOFF)
    stressless = {name: array for name, array in data.globals.items() if name != "stress"}
    return data._replace(globals=stressless)


@pytest.fixture(scope="module")
def data():
    return frames(40, seed=1)


@pytest.fixture(scope="module")
def fit(data):
    return hgn.fit(data, key=0, terms=TERMS, observations=OBSERVED)


def test_held_out_errors_are_those_of_fits_without_the_fold(data, fit):
    """A fit to the other frames with the same ridge has the same errors on them."""
    errors = hgn.held_out(fit, data)
    (solution,) = (s for s in fit.solutions if s.of_folds is not None)
    ridge = float(np.median(solution.column_ridge))
    pieces = 20  # of two frames each, assigned to the five folds in turn
    fold = (np.arange(len(data.n_node)) // 2) % 5
    assert len(data.n_node) == 2 * pieces
    expected = {"energy": np.zeros(40), "force": np.zeros((40, 12))}
    scales = fit.equations.observations
    for k in range(5):
        others = hgn.graphs.take(data, fold != k)
        apart = hgn.solve(fit.model.terms, others, observations=scales, solver=hgn.QR(ridge=ridge))
        own = hgn.graphs.take(data, fold == k)
        for kind, values in errors_of(apart.model, own).items():
            expected[kind][fold == k] = values.reshape(8, -1).squeeze()
    for kind in ("energy", "force"):
        # A few frames far from all others depend on the ridge, which is equal only up to rounding.
        difference = np.abs(errors[kind] - expected[kind].ravel())
        assert np.quantile(difference, 0.9) < 0.1 * np.sqrt(np.mean(errors[kind] ** 2)), kind


def test_calibrated_deviations_are_as_large_as_errors_of_unseen_frames(data, fit):
    calibrated = hgn.calibrate(fit, data)
    unseen = frames(40, seed=2)
    found = calibrated.standard_deviation(unseen)
    plain = fit.standard_deviation(unseen)
    sizes, before = (
        observed_entries(unseen, {"energy": d.energy, "force": d.force}) for d in (found, plain)
    )
    for kind, errors in errors_of(fit.model, unseen).items():
        ratio = np.sqrt(np.mean((errors / sizes[kind]) ** 2))
        assert 0.6 < ratio < 1.6, kind
        # The calibration is needed: without it, deviations are a quarter or four times as large.
        uncalibrated = np.sqrt(np.mean((errors / before[kind]) ** 2))
        assert not 0.4 < uncalibrated < 2.5, kind


def test_calibration_makes_held_out_errors_as_large_as_their_deviations(data, fit):
    """The mean square of error over deviation, with the other folds' covariance, is one."""
    scale = hgn.calibrate(fit, data).deviation_scales["force"]
    (solution,) = (s for s in fit.solutions if s.of_folds is not None)
    (gram,) = (g for g in fit.reduction.systems if g.columns == solution.theta.size)
    fold = (np.arange(len(data.n_node)) // 2) % 5
    squares = []
    for k in range(5):
        # The ridge is relative to the column norms over the four other folds.
        others = np.delete(np.asarray(gram.matrix), k, axis=0).sum(axis=0)
        ridge = np.asarray(solution.column_ridge)
        inverse = np.linalg.inv(others + np.diag(ridge**2 * np.diag(others)))
        own = hgn.graphs.take(data, fold == k)
        columns = [c for c in fit.equations.basis.rates(own)[1] if c is not None]
        rows = np.concatenate([np.asarray(c) for c in columns], axis=2).reshape(
            -1, sum(c.shape[2] for c in columns)
        )
        rows = np.pad(rows, ((0, 0), (0, len(others) - rows.shape[1])))
        variance = float(solution.noise) ** 2 * np.einsum("rk,kl,rl->r", rows, inverse, rows)
        variance = float(scale.factor) ** 2 * variance + float(scale.floor) ** 2
        squares.append(errors_of(fold_model(fit, k), own)["force"] ** 2 / variance)
    np.testing.assert_allclose(np.mean(np.concatenate(squares)), 1, rtol=1e-2)


def test_tune_keeps_what_predicts_held_out_frames_best(data):
    grid = {"terms": [TERMS, TERMS[:1]], "observations": [OBSERVED]}
    seen = []
    best = hgn.tune(data, key=0, grid=grid, report=seen.append)
    assert [trial.settings["terms"] for trial in best.trials] == [TERMS, TERMS[:1]]
    assert len(seen) == 2 and best.trials[0].score < best.trials[1].score
    errors = hgn.held_out(best.fit, data)
    for kind, error in best.trials[0].root_mean_square.items():
        np.testing.assert_allclose(error, np.sqrt(np.mean(errors[kind] ** 2)))


def test_fits_without_folds_are_refused(data):
    fit = hgn.fit(data, key=0, terms=TERMS[:1], observations=OBSERVED, throw=False)
    for function in (hgn.held_out, hgn.calibrate):
        with pytest.raises(ValueError, match="need a fit by folds"):
            function(fit, data)
    with pytest.raises(ValueError, match="grid must name"):
        hgn.tune(data, key=0, grid={})


def test_nuclei_repel_as_the_universal_potential():
    """Values of the formula written out for silicon, and Coulomb's law at short distances."""
    core = hgn.systems.zbl((6, 14), onset=1.9, cutoff=2.0)
    r = np.array([0.3, 1.0, 1.5])
    x = r * (2 * 14**0.23) / (0.8854 * 0.529177)
    screening = (
        0.18175 * np.exp(-3.1998 * x)
        + 0.50986 * np.exp(-0.94229 * x)
        + 0.28022 * np.exp(-0.4029 * x)
        + 0.02817 * np.exp(-0.20162 * x)
    )
    expected = 14.39964 * 14 * 14 / r * screening
    np.testing.assert_allclose(core.pair_energy(jnp.asarray(r), type=2), expected, rtol=1e-4)
    close = core.pair_energy(jnp.asarray(1e-6), type=1)
    np.testing.assert_allclose(close, 14.399645 * 6 * 14 / 1e-6, rtol=1e-4)


def test_a_known_core_is_fitted_around(data):
    """The rest is learned beside a known repulsion, and the sum is as good."""
    core = hgn.systems.zbl((29,), onset=1.0, cutoff=3.0)
    with_core = hgn.fit(data, key=0, terms=TERMS, observations=OBSERVED, known=core)
    unseen = frames(10, seed=3)
    errors = errors_of(with_core.model, unseen)["force"]
    force = np.asarray(unseen.nodes["force"])
    assert np.sqrt(np.mean(errors**2)) < 0.2 * np.sqrt(np.mean(force**2))
    known = np.asarray(core.gradient(unseen).position)
    assert np.abs(known).max() > 0.1
    learned = jax.tree.map(lambda x: x, with_core.model.basis.known)
    np.testing.assert_array_equal(learned.gradient(unseen).position, known)
