"""Compressed models: the stated error, continuity, extrapolation, files."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.features import compression, curves
from hgn_jax.models import differentiated

FORCE = eqx.filter_jit(lambda model, r: jax.vmap(jax.grad(model.pair_energy))(r))


@pytest.fixture(scope="module")
def morse():
    system = hgn.systems.mass_spring("morse", rest_length=1.0)
    data = hgn.systems.simulate(
        system, hgn.graphs.lattice((2, 2, 2)), key=jr.key(0), trajectories=100
    )
    return hgn.fit(data, key=jr.key(1), terms=(hgn.Kinetic(16), hgn.Pair(64))).model


def test_curves_follow_the_model_beyond_the_range_at_positive_distances():
    assert compression.followed(1.0, 3.0, "pair") == pytest.approx((0.899, 3.101))
    assert compression.followed(0.1, 10.1, "pair") == pytest.approx((0.05, 10.6001))


@pytest.fixture(scope="module")
def small(morse):
    return morse.compress(tolerance=1e-7)


def inside(model, count=20_011):
    """Distances of the trained range that no fit has used."""
    (low, high), *_ = np.asarray(model.terms[1].ranges)
    return jnp.asarray(np.random.default_rng(1).uniform(low, high, count))


def force_error(model, small, r):
    force = np.asarray(FORCE(model, r))
    return np.abs(np.asarray(FORCE(small, r)) - force) / np.maximum(
        np.abs(force), np.median(np.abs(force))
    )


def test_the_stated_error_holds_at_distances_never_looked_at(morse, small):
    worst = force_error(morse, small, inside(morse)).max()
    assert worst <= 1.1 * float(small.terms[1].error[0]) <= 1.1e-7


@pytest.mark.parametrize("variable", curves.VARIABLES)
def test_the_degree_of_a_polynomial_with_an_end_reaches_half_of_what_is_asked(variable):
    # Its slope is only roughly zero at the end: subtracting the rest must not reduce the accuracy.
    target = compression.Target(
        lambda s: jnp.exp(-s) * (4 - s) ** 2,
        lambda s: -jnp.exp(-s) * (4 - s) * (6 - s),
        trained=(0.5, 1.9), span=(0.5, 2.0), end=4.0,
    )  # fmt: skip
    x, force, scale = points = target.check_points()
    for tolerance in np.geomspace(1e-2, 1e-8, 25):
        curve = compression._polynomial(target, variable, tolerance, points)
        slope = np.asarray(curve.slope(jnp.asarray(x**2)))
        assert np.max(np.abs(2 * x * slope - force) / scale) <= tolerance / 2


@pytest.mark.parametrize("variable", curves.VARIABLES)
@pytest.mark.parametrize("build", [compression._polynomial, compression._spline])
def test_every_form_reaches_what_is_asked_and_is_the_derivative_of_its_energy(
    morse, build, variable
):
    (target,) = morse.terms[1]._targets(morse.theta[1], morse.constants)
    points = target.check_points()
    for tolerance in (1e-3, 1e-6):
        curve = build(target, variable, tolerance, points)
        x, force, scale = points
        slope = np.asarray(eqx.filter_jit(curve.slope)(jnp.asarray(x**2)))
        assert np.max(np.abs(2 * x * slope - force) / scale) <= tolerance
    low, high = target.span
    s = jnp.asarray(np.random.default_rng(0).uniform(low**2, high**2, 400))
    by_hand = jax.vmap(jax.grad(lambda one: curve(one[None])[0]))(s)
    np.testing.assert_allclose(curve.slope(s), by_hand, rtol=1e-8, atol=1e-10)
    energy = np.asarray(curve(s)) - np.asarray(target.value(s))
    assert np.abs(energy).max() <= 1e-6 * np.abs(np.asarray(target.value(s))).max()


def test_outside_the_force_is_continuous_and_proportional_to_the_distance(morse, small):
    curve = small.terms[1].curves[0]
    low, high = np.sqrt(np.asarray(curve.span))
    trained = np.asarray(morse.terms[1].ranges[0])
    assert low < trained[0] < trained[1] < high
    for end, beyond in ((low, low * np.array([0.2, 0.9])), (high, high * np.array([1.1, 3.0]))):
        at_end = float(FORCE(small, jnp.array([end]))[0])
        outer = np.asarray(FORCE(small, jnp.asarray(beyond)))
        np.testing.assert_allclose(outer, at_end * beyond / end, rtol=1e-12)
        near = FORCE(small, jnp.array([end * (1 - 1e-9), end * (1 + 1e-9)]))
        np.testing.assert_allclose(near[0], near[1], rtol=1e-6)


def test_energies_rates_and_counts_are_the_models(morse, small):
    graph = hgn.graphs.lattice((3, 3, 3))
    data = hgn.systems.simulate(
        hgn.systems.mass_spring("morse", rest_length=1.0), graph, key=jr.key(3), trajectories=2,
        start=hgn.systems.Uniform(0.15, 0.15),
    )  # fmt: skip
    np.testing.assert_allclose(small(data), morse(data), rtol=1e-7)
    for mine, theirs in zip(small.vector_field(data), morse.vector_field(data)):
        error = np.linalg.norm(mine - theirs) / np.linalg.norm(theirs)
        assert error <= 1e-7
    by_hand = small.dynamics.rates(data, differentiated(small, data))
    for mine, theirs in zip(small.vector_field(data), by_hand):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)
    wide = data._replace(nodes=data.nodes | {"position": 2.5 * data.nodes["position"]})
    for graphs in (data, wide):
        mine, theirs = small.out_of_range(graphs), morse.out_of_range(graphs)
        assert mine.keys() == theirs.keys()
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])


def test_in_single_precision_no_constant_cancels(morse, small, data):
    """The model's own constant does: it is many times greater than the energies of its pairs."""
    narrow, graphs = jax.tree.map(
        lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, (small, data)
    )
    error = np.asarray(narrow(graphs), float) - np.asarray(morse(data))
    deepest = np.abs(morse.pair_energy(inside(morse))).max()
    pairs = deepest * np.asarray(graphs.n_edge) / 2
    assert np.abs(morse.constants[0]) > 20 * deepest
    assert np.max(np.abs(error) / pairs) < 2 * np.finfo(np.float32).eps


def test_columns_of_each_curve_are_the_derivatives_of_its_feature(small, data):
    def total(q, p, features):
        moved = data.nodes | {"position": q, "momentum": p}
        return jnp.sum(features(data._replace(nodes=moved)))

    at = data.nodes["position"], data.nodes["momentum"]
    for features in small.terms:
        by_hand = jax.grad(total, (0, 1))(*at, features)
        for mine, theirs in zip(features.gradient(data), by_hand):
            mine = np.zeros_like(theirs) if mine is None else mine[:, :, 0]
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-10)


def test_a_compressed_model_is_saved_and_loaded_bit_for_bit(small, tmp_path, data):
    hgn.save(tmp_path / "small.hgn", small)
    again = hgn.load(tmp_path / "small.hgn")
    assert eqx.tree_equal(small, again)
    np.testing.assert_array_equal(again(data), small(data))


def test_with_a_cutoff_energy_and_force_end_at_it():
    system = hgn.systems.mass_spring("spring", rest_length=1.0)
    data = hgn.systems.simulate(
        system, hgn.graphs.fully_connected(4, 2), key=jr.key(0), trajectories=60
    )
    fit = hgn.fit(data, key=jr.key(1), terms=(hgn.Kinetic(0), hgn.Pair(32, cutoff=2.0)))
    small = fit.model.compress(tolerance=1e-6)
    at = jnp.array([2 - 1e-7, 2.0, 2.1, 9.0])
    assert np.abs(np.asarray(small.pair_energy(at))).max() < 1e-9
    assert np.abs(np.asarray(FORCE(small, at))).max() < 1e-5
    assert (np.asarray(FORCE(small, at))[1:] == 0).all()


def test_other_features_stay_and_types_have_curves_of_their_own():
    graph = hgn.graphs.from_pairs(
        np.array([[0.0, 0], [1, 0], [0, 1]]), [(0, 1), (0, 2), (1, 2)], type=np.array([0, 1, 1])
    )
    system = hgn.systems.mass_spring("spring", stiffness=jnp.array([1.0, 3.0]), rest_length=1.0,
                                     external=lambda x, m: m * x[1])  # fmt: skip
    data = hgn.systems.simulate(system, graph, key=jr.key(0), trajectories=100)
    model = hgn.fit(
        data, key=jr.key(1), terms=(hgn.Kinetic(0), hgn.Pair(32), hgn.External(8))
    ).model
    small = model.compress()
    assert small.terms[2] is model.terms[2]
    assert len(small.terms[1].curves) == 2
    for mine, theirs in zip(small.vector_field(data), model.vector_field(data)):
        assert np.linalg.norm(mine - theirs) <= 1e-6 * np.linalg.norm(theirs)


# Bad input


@pytest.mark.parametrize("tolerance", [0.0, -1.0, 1.0, np.nan])
def test_tolerances_out_of_range_are_refused(morse, tolerance):
    with pytest.raises(ValueError, match="between 0 and 1"):
        morse.compress(tolerance=tolerance)


def test_a_tolerance_that_cannot_be_reached_is_an_error_that_states_the_best(morse):
    with pytest.raises(ValueError, match=r"cannot be compressed.*best curve reaches \d"):
        morse.compress(tolerance=1e-15)


def test_a_model_that_saw_nothing_move_is_refused(morse):
    still = eqx.tree_at(lambda m: m.terms[0].speed_range, morse, jnp.array([jnp.inf, -jnp.inf]))
    with pytest.raises(ValueError, match="no body moved"):
        still.compress()


def test_the_error_is_relative_to_the_median_over_the_range():
    """Not over the points at which it is measured, more of which are at small distances."""
    target = compression.Target(lambda s: -(s**-0.5), lambda s: s**-1.5 / 2, (0.3, 50.0),
                                 (0.2, 52.0), None)  # fmt: skip
    x, force, scale = target.check_points()
    np.testing.assert_allclose(force, x**-2.0)
    median = np.median(np.linspace(0.3, 50, 100_001) ** -2.0)
    np.testing.assert_allclose(scale, np.maximum(x**-2.0, median), rtol=1e-3)
    nothing = target._replace(slope=jnp.zeros_like).check_points()
    assert (nothing[2] == 1).all()


def test_the_smallest_curve_of_gravity_is_a_polynomial_of_the_logarithm():
    """Forces over four decades: in other variables a spline needs thousands of pieces."""
    target = compression.Target(lambda s: -(s**-0.5), lambda s: s**-1.5 / 2, (0.3, 40.0),
                                 (0.2, 42.0), None)  # fmt: skip
    best = compression.cheapest(target, 1e-6, True, np.dtype(float), "pairs")
    assert best.curve.variable == "logarithm"
    assert sum(np.size(a) for a in jax.tree.leaves(best.curve)) < 200
    x, force, scale = target.check_points()
    slope = np.asarray(best.curve.slope(jnp.asarray(x**2)))
    assert np.max(np.abs(2 * x * slope - force) / scale) <= 1e-6
    others = [v for v in curves.VARIABLES if v != "logarithm"]
    sizes = [
        np.size(curve.pieces)
        for curve in (compression._spline(target, v, 1e-6, target.check_points()) for v in others)
    ]
    assert min(sizes) > 4 * 1024
