"""Fits and models are added and subtracted: merge, forget, and the sum of two Hamiltonians."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.linear.downdate import downdated
from hgn_jax.linear.triangle import triangle

TERMS = (hgn.Kinetic(4), hgn.Pair(16))


@pytest.fixture(scope="module")
def batches(cube, springs, with_noise):
    """Three batches of 30 snapshots, with noise, and energies without it."""
    return [
        with_noise(hgn.systems.simulate(springs, cube, key=jr.key(k), trajectories=30), 0.01, k)
        for k in range(3)
    ]


@pytest.fixture(scope="module")
def typical(cube, springs):
    return hgn.systems.simulate(springs, cube, key=jr.key(9), trajectories=30)


@pytest.fixture(scope="module")
def streamed(typical):
    def fit(batches, **options):
        return hgn.fit_stream(
            batches, **{"key": 0, "terms": TERMS, "sample_from": typical} | options
        )

    return fit


@pytest.fixture(scope="module")
def every(streamed, batches):
    return streamed(batches)


def agree(one, other, data, digits):
    """The models have the same forces, velocities and energies, relative to their spread."""
    pairs = zip(
        (*one.model.vector_field(data), one.model(data)),
        (*other.model.vector_field(data), other.model(data)),
    )
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=0, atol=digits * float(jnp.std(b)))
    assert int(one.rows) == int(other.rows)
    assert float(one.residual) == pytest.approx(float(other.residual), rel=1e-9)
    assert bool(one.constant_known) == bool(other.constant_known)


def test_laboratories_that_share_triangles_have_the_fit_to_all_data(
    streamed, batches, every, typical
):
    own = [streamed([batch]) for batch in batches]
    agree(hgn.merge(own), every, typical, 1e-12)
    agree(hgn.merge([hgn.merge(own[:2]), own[2]]), every, typical, 1e-12)
    sigma, true = (f.standard_deviation(typical).force for f in (hgn.merge(own), every))
    np.testing.assert_allclose(sigma, true, rtol=1e-8)


def test_merged_fits_take_more_data(streamed, batches, every, typical):
    two = hgn.merge([streamed([batch]) for batch in batches[:2]])
    agree(two.update(batches[2]), every, typical, 1e-12)


def test_folds_merge(streamed, batches, typical):
    pieces = [piece for batch in batches for piece in hgn.graphs.chunks(batch, 10)]
    options = {"solver": hgn.QR(hgn.FrameCV(3))}
    own = [streamed(pieces[k : k + 3], **options) for k in (0, 3, 6)]
    agree(hgn.merge(own), streamed(pieces, **options), typical, 1e-9)


def test_a_fit_travels_as_its_arrays(tmp_path, streamed, batches, every, typical):
    ours, theirs = streamed(batches[:1]), streamed(batches[1:])
    eqx.tree_serialise_leaves(tmp_path / "fit", theirs)
    received = eqx.tree_deserialise_leaves(tmp_path / "fit", ours)
    agree(hgn.merge([ours, received]), every, typical, 1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"key": 1}, "fit 1 has other terms than fit 0"),
        ({"observations": [hgn.Derivatives("uniform")]}, "other observations or scales than"),
        ({"solver": hgn.QR("gcv")}, "other solver than"),
        ({"dynamics": hgn.Poisson(2.0 * np.array([[0.0, 1.0], [-1.0, 0.0]]))}, "other dynamics"),
    ],
)
def test_fits_that_differ_do_not_merge(streamed, batches, every, options, words):
    if "dynamics" in options:
        other = eqx.tree_at(lambda f: f.equations.basis.dynamics, every, options["dynamics"])
    else:
        other = streamed(batches[:1], **options)
    with pytest.raises(ValueError, match=words):
        hgn.merge([every, other])


def test_fits_by_scales_of_their_own_data_do_not_merge(batches, every):
    own = [hgn.solve(every.model.terms, batch) for batch in batches[:2]]
    with pytest.raises(ValueError, match=r"scales.*sample_from"):
        hgn.merge(own)
    with pytest.raises(ValueError, match="at least one"):
        hgn.merge([])


def test_forgetting_gives_the_fit_without_these_data(streamed, batches, every, typical):
    agree(every.forget(batches[1]), streamed([batches[0], batches[2]]), typical, 1e-11)
    again = every.forget(batches[1]).update(batches[1])
    agree(again, every, typical, 1e-11)


def test_forgetting_clean_data_keeps_the_digits(streamed, cube, springs, typical):
    clean = [hgn.systems.simulate(springs, cube, key=jr.key(k), trajectories=30) for k in (4, 5)]
    agree(streamed(clean).forget(clean[1]), streamed(clean[:1]), typical, 1e-9)


def test_forgetting_inside_jit(batches, every):
    outside = every.forget(batches[1])
    inside = eqx.filter_jit(lambda fit, batch: fit.forget(batch))(every, batches[1])
    np.testing.assert_allclose(inside.model.theta[1], outside.model.theta[1], rtol=1e-6)


def test_rows_that_are_gone_cannot_be_forgotten(batches, every, typical):
    remaining = every.forget(batches[1])
    with pytest.raises(RuntimeError, match="never part of the fit, or are forgotten"):
        remaining.forget(batches[1])
    far = typical._replace(nodes=typical.nodes | {"position": 3 * typical.nodes["position"]})
    with pytest.raises(RuntimeError, match="never part of the fit"):
        every.forget(far)
    quiet = every.forget(far, throw=False)
    assert quiet.result == hgn.RESULTS.foreign_rows


def test_rows_that_contradict_the_residual_are_detected(batches, every):
    """The same states with other forces: only the target tells."""
    wrong = batches[1].nodes | {"force": -batches[1].nodes["force"]}
    with pytest.raises(RuntimeError, match="never part of the fit"):
        every.forget(batches[1]._replace(nodes=wrong))


def test_forgetting_everything_leaves_no_rows(streamed, batches):
    with pytest.raises(RuntimeError, match="no row of positive weight"):
        streamed(batches[:1]).forget(batches[0])


def test_bad_batches_and_folds_are_refused(streamed, batches, every):
    nodes = {k: v for k, v in batches[0].nodes.items() if k != "force"}
    with pytest.raises(ValueError, match="force"):
        every.forget(batches[0]._replace(nodes=nodes))
    folded = streamed(batches, solver=hgn.QR(hgn.FrameCV(3)))
    with pytest.raises(ValueError, match="which fold"):
        folded.forget(batches[0])


def test_constants_are_those_of_the_remaining_energies(cube, springs, with_noise):
    """Cubes and squares determine constants of pairs and of bodies; squares alone do not."""
    square = hgn.graphs.lattice((2, 2, 1))
    of_cubes, of_squares = (
        hgn.systems.simulate(springs, graph, key=jr.key(7), trajectories=20)
        for graph in (cube, square)
    )
    terms = (hgn.Kinetic(0), hgn.Pair(16), hgn.External(4))
    both = hgn.fit_stream([of_cubes, of_squares], key=0, terms=terms)
    assert both.constant_known
    alone = both.forget(of_squares)
    assert not alone.constant_known
    direct = hgn.fit_stream([of_cubes], key=0, terms=terms)
    np.testing.assert_allclose(alone.model(of_cubes), direct.model(of_cubes), rtol=1e-9)


@pytest.mark.parametrize("scales", [np.ones(6), 10.0 ** np.arange(-9, 9, 3)])
def test_a_downdated_triangle_is_that_of_the_remaining_rows(scales):
    rng = np.random.default_rng(0)
    z, u = rng.normal(size=(60, 6)) * scales, rng.normal(size=60)
    z[:, 5] = scales[5] * z[:, :3] @ (1 / scales[:3])  # a dependent column
    whole, some = (triangle(jnp.asarray(z[:n]), jnp.asarray(u[:n])) for n in (60, 25))
    found, foreign = downdated(whole, some)
    assert not foreign and int(found.rows) == 35
    left = z[25:] / scales
    r = np.asarray(found.r) / scales
    np.testing.assert_allclose(r.T @ r, left.T @ left, atol=1e-12)
    np.testing.assert_allclose(r.T @ np.asarray(found.qu), left.T @ u[25:], atol=1e-12)
    # The dependent column takes a part of u that depends on rounding.
    size = np.hypot(np.linalg.norm(found.qu), found.rest)
    np.testing.assert_allclose(size, np.linalg.norm(u[25:]), rtol=1e-12)


def test_a_column_that_only_the_removed_rows_have_is_lost_to_half_the_digits():
    rng = np.random.default_rng(1)
    z, u = rng.normal(size=(40, 3)), rng.normal(size=40)
    z[20:, 2] = 0
    whole, some = (triangle(jnp.asarray(z[:n]), jnp.asarray(u[:n])) for n in (40, 20))
    found, foreign = downdated(whole, some)
    assert not foreign
    assert np.linalg.norm(found.r[:, 2]) < 1e-6
    np.testing.assert_allclose(
        found.r[:2, :2].T @ found.r[:2, :2], z[20:, :2].T @ z[20:, :2], atol=1e-12
    )


def test_more_rows_than_there_are_cannot_be_removed():
    """Forty small rows fit into twenty large ones in every direction."""
    rng = np.random.default_rng(2)
    z, u = rng.normal(size=(20, 3)), rng.normal(size=20)
    few = triangle(jnp.asarray(z), jnp.asarray(u))
    small = 0.1 * np.concatenate([z, z]), 0.1 * np.concatenate([u, u])
    assert downdated(few, triangle(*map(jnp.asarray, small)))[1]
    assert not downdated(few, triangle(jnp.asarray(0.1 * z), jnp.asarray(0.1 * u)))[1]


@pytest.fixture(scope="module")
def in_a_field(cube):
    """Bodies without pair forces in a field, and their learned potential."""
    system = hgn.systems.mass_spring(
        "spring", stiffness=0.0, external=lambda q, m: 0.1 * m * q[2] + 0.2 * q[0] ** 2
    )
    data = hgn.systems.simulate(system, cube, key=jr.key(3), trajectories=30)
    return hgn.fit(data, key=0, terms=[hgn.External(16)])


def kinetic_energies(data):
    energies = jnp.sum(data.nodes["momentum"] ** 2, axis=1) / 2 / data.nodes["mass"]
    return jnp.sum(energies.reshape(len(data.n_node), -1), axis=1)


def test_hamiltonians_add(data, cube, springs, in_a_field):
    pairs = hgn.fit(data, key=0, terms=[hgn.Pair(16)])
    total = pairs.model + in_a_field.model
    once = kinetic_energies(data)
    energy = pairs.model(data) + in_a_field.model(data) - once
    np.testing.assert_allclose(total(data), energy, rtol=1e-12)
    force = pairs.model.vector_field(data)[1] + in_a_field.model.vector_field(data)[1]
    np.testing.assert_allclose(total.vector_field(data)[1], force, atol=1e-12)
    np.testing.assert_allclose(
        total.vector_field(data)[0], pairs.model.vector_field(data)[0], atol=1e-12
    )
    other = in_a_field.model + pairs.model
    np.testing.assert_allclose(other(data), energy, rtol=1e-12)
    still = eqx.tree_at(lambda m: m.basis.known, in_a_field.model, None)
    for one, two in ((still, pairs.model), (pairs.model, still)):
        np.testing.assert_allclose((one + two)(data), energy, rtol=1e-12)
    double = total + pairs.model
    np.testing.assert_allclose(double(data), energy + pairs.model(data) - once, rtol=1e-12)
    assert pairs.model.constants[0] != 0


def test_the_mean_of_models_has_their_mean_energy_and_rates(data, in_a_field):
    """Also where each has a kinetic energy of its own, or terms that the others lack."""
    terms = [hgn.Kinetic(8), hgn.Pair(16)]
    members = [hgn.fit(data, key=k, terms=terms, known=None).model for k in range(2)]
    members.append(hgn.fit(data, key=2, terms=[*terms, hgn.External(4)], known=None).model)
    mean = hgn.mean(members)
    energies = np.mean([m(data) for m in members], axis=0)
    np.testing.assert_allclose(mean(data), energies, rtol=1e-12)
    rates = zip(mean.vector_field(data), zip(*(m.vector_field(data) for m in members)))
    for own, others in rates:
        np.testing.assert_allclose(own, np.mean(others, axis=0), atol=1e-12)
    np.testing.assert_allclose(mean.compress()(data), energies, rtol=1e-5)
    pairs = [hgn.fit(data, key=k, terms=[hgn.Pair(16)]).model for k in range(2)]
    assert pairs[0].basis.known is not None  # the kinetic energy, which counts once
    both = hgn.mean([pairs[0] + in_a_field.model, pairs[1]])
    half = (in_a_field.model(data) - kinetic_energies(data)) / 2
    expected = (pairs[0](data) + pairs[1](data)) / 2 + half
    np.testing.assert_allclose(both(data), expected, rtol=1e-12)


def test_means_without_a_meaning_are_refused(data, fitted, in_a_field):
    with pytest.raises(ValueError, match="at least one model"):
        hgn.mean([])
    with pytest.raises(TypeError, match=r"models\[1\] is a Fit: give fit.model"):
        hgn.mean([fitted.model, fitted])
    with pytest.raises(ValueError, match="models 0 and 1 have different known parts"):
        hgn.mean([in_a_field.model, eqx.tree_at(lambda m: m.basis.known, in_a_field.model, None)])


def test_a_sum_can_be_saved_and_compressed(tmp_path, data, in_a_field):
    total = hgn.fit(data, key=0, terms=[hgn.Pair(16)]).model + in_a_field.model
    hgn.save(tmp_path / "sum.hgn", total)
    np.testing.assert_array_equal(hgn.load(tmp_path / "sum.hgn")(data), total(data))
    np.testing.assert_allclose(total.compress()(data), total(data), rtol=1e-6)


def test_what_is_compressed_twice_keeps_its_constants(data, in_a_field):
    pairs = hgn.fit(data, key=0, terms=[hgn.Pair(16)]).model
    assert pairs.constants[0] != 0
    for model in (pairs.compress(), pairs.compress() + in_a_field.model):
        np.testing.assert_allclose(model.compress()(data), model(data), rtol=1e-6)
    again = in_a_field.model + pairs
    both = pairs.compress() + eqx.tree_at(lambda m: m.basis.known, again, None)
    np.testing.assert_allclose(both.compress()(data), both(data), rtol=1e-6)


def test_sums_without_a_meaning_are_refused(data, fitted, in_a_field):
    with pytest.raises(ValueError, match="kinetic energy, which their sum would count twice"):
        fitted.model + in_a_field.model
    with pytest.raises(ValueError, match="kinetic energy"):
        fitted.model + fitted.model
    flat = hgn.systems.simulate(
        hgn.systems.mass_spring("spring"), hgn.graphs.lattice((3, 3)), key=0, trajectories=5
    )
    of_plane = hgn.fit(flat, key=0, terms=[hgn.Pair(8), hgn.External(4)], throw=False).model
    with pytest.raises(ValueError, match="different spatial dimensions: 2 and 3"):
        of_plane + in_a_field.model
    basis = in_a_field.model.basis
    kinds = dataclasses.replace(basis, species=(1, 2))
    with pytest.raises(ValueError, match="different species"):
        in_a_field.model + eqx.tree_at(lambda m: m.basis, in_a_field.model, kinds)
    with pytest.raises(TypeError):
        in_a_field.model + 1.0
