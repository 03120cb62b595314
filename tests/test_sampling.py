import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import special, stats

import hgn_jax as hgn
from hgn_jax import ELM, SWIM
from hgn_jax.features.activations import ACTIVATIONS, activation
from hgn_jax.features.sampling import moments
from hgn_jax.features.trained_range import extent, outside

LEVELS = {  # independent of the library: sigma, its inverse, its values at the two data points
    "tanh": (np.tanh, np.arctanh, -0.5, 0.5),
    "erf": (special.erf, special.erfinv, -0.5, 0.5),
    "sigmoid": (special.expit, special.logit, 0.25, 0.75),
    "sin": (np.sin, np.arcsin, -0.5, 0.5),
    "relu": (lambda z: np.maximum(z, 0), lambda y: y, 0.0, 1.0),
}
SITES = np.array([0.0, 1.0, 2.1, 4.5, 7.0])  # all differences distinct, and > 0.4 deviations
CLOUD = np.random.default_rng(0).normal(size=(6, 3)) * [1.0, 10.0, 0.1] + [0.0, 5.0, -3.0]

draw = eqx.filter_jit(lambda sampling, *args: sampling(*args))


def everything(x):
    return jnp.ones(len(x), bool)


def standardised(layer, x):
    """Weights [K inputs] and biases [K] for inputs of mean zero and deviation one."""
    return np.asarray(layer.weight).T * np.std(x, axis=0), np.asarray(layer.bias)


def drawn_pairs(layer, x):
    """Numbers of the first and second data point of every tanh unit of one input."""
    w, b, c = (np.asarray(a).ravel() for a in (layer.weight, layer.bias, layer.centre))
    ends = [c + (level - b) / w for level in (-np.log(3) / 2, np.log(3) / 2)]
    numbers = [np.argmin(np.abs(end[:, None] - x), axis=1) for end in ends]
    np.testing.assert_allclose(ends, x[np.stack(numbers)], atol=1e-12)
    return numbers


@pytest.mark.parametrize("name", LEVELS)
def test_activation_and_slope_are_what_the_name_says(name):
    z = np.linspace(-2, 2, 40)
    sigma = LEVELS[name][0]
    value, slope = activation(name).value_and_slope(jnp.asarray(z))
    np.testing.assert_allclose(value, sigma(z), rtol=1e-13)
    np.testing.assert_allclose(slope, (sigma(z + 1e-5) - sigma(z - 1e-5)) / 2e-5, atol=1e-9)


def test_all_activations_are_tested_here_and_unknown_ones_are_refused_with_the_list():
    assert set(ACTIVATIONS) == set(LEVELS)
    with pytest.raises(ValueError, match=r"'softmax'.*erf.*relu.*sigmoid.*sin.*tanh"):
        activation("softmax")


@pytest.mark.parametrize("inputs", [1, 3])
@pytest.mark.parametrize("name", LEVELS)
def test_swim_units_take_the_two_levels_exactly_at_their_two_data_points(name, inputs, getkey):
    x = np.array([[1.0, -3.0, 20.0], [2.0, 5.0, 50.0]])[:, :inputs]
    layer = draw(SWIM(), getkey(), jnp.asarray(x), everything(x), 60, name)
    _, inverse, low, high = LEVELS[name]
    distance = 2 * np.sqrt(inputs)  # standardised, the two points are at -1 and +1 on every axis
    slope = (inverse(high) - inverse(low)) / distance
    apart = np.isclose(np.linalg.norm(standardised(layer, x)[0], axis=1), slope, rtol=1e-13)
    at_first, at_second = np.asarray(layer(jnp.asarray(x)))
    forward = np.isclose(at_first, low, atol=1e-14) & np.isclose(at_second, high, atol=1e-14)
    backward = np.isclose(at_first, high, atol=1e-14) & np.isclose(at_second, low, atol=1e-14)
    assert apart.any()
    np.testing.assert_array_equal(forward | backward, apart)


@pytest.mark.parametrize("floor", [0.01, 3.0])
def test_swim_units_are_those_of_the_formula(floor, getkey):
    layer = draw(SWIM(floor=floor), getkey(), jnp.asarray(CLOUD), everything(CLOUD), 80)
    w, b = standardised(layer, CLOUD)
    z = (CLOUD - CLOUD.mean(0)) / CLOUD.std(0)
    first, second = np.nonzero(~np.eye(6, dtype=bool))
    step = z[second] - z[first]
    length = np.linalg.norm(step, axis=1, keepdims=True)
    ws = np.log(3) * step / (length * np.maximum(length, floor))
    bs = -np.sum(ws * z[first], axis=1) - np.log(3) / 2
    assert (length < 3).any() and (length > 3).any()
    difference = np.linalg.norm(w[:, None] - ws, axis=2) + np.abs(b[:, None] - bs)
    matches = np.sum(difference < 1e-12, axis=1)
    two_equal_points = np.ptp(w, axis=1) < 1e-12 * np.max(w, axis=1)  # depends on all axes
    np.testing.assert_array_equal(matches, np.where(two_equal_points, 0, 1))
    assert two_equal_points.mean() < 0.5
    np.testing.assert_allclose(layer.centre, CLOUD.mean(0), rtol=1e-14)


@pytest.mark.parametrize("inputs", [1, 3])
def test_floor_bounds_the_slope_of_every_unit(inputs):
    x = CLOUD[:, :inputs]
    layer = draw(SWIM(floor=0.7), jr.key(0), jnp.asarray(x), everything(x), 200)
    slope = np.linalg.norm(standardised(layer, x)[0], axis=1)
    assert np.max(slope) <= np.log(3) / 0.7 * (1 + 1e-12)


def test_swim_pairs_are_uniform():
    layer = draw(SWIM(floor=0.01), jr.key(3), jnp.asarray(SITES[:, None]), everything(SITES), 4000)
    w = standardised(layer, SITES[:, None])[0][:, 0]
    apart = np.abs(w) < np.log(3) / 0.02
    layer = eqx.tree_at(
        lambda x: (x.weight, x.bias), layer, (layer.weight[:, apart], layer.bias[apart])
    )
    counts = np.zeros((5, 5))
    np.add.at(counts, tuple(drawn_pairs(layer, SITES)), 1)
    counts = np.append(counts[~np.eye(5, dtype=bool)], np.sum(~apart))
    assert stats.chisquare(counts, np.append(np.full(20, 160), 800)).pvalue > 1e-3


def test_guided_pairs_are_drawn_in_proportion_to_energy_difference_over_distance():
    energy = np.array([0.0, 0.1, 3.0, 3.5, 1.0])
    layer = draw(
        *(SWIM(floor=0.3, passes=2), jr.key(4), jnp.asarray(SITES[:, None]), everything(SITES)),
        *(2000, "tanh", jnp.asarray(energy)),
    )
    counts = np.zeros((5, 5))
    np.add.at(counts, tuple(drawn_pairs(layer, SITES)), 1)
    apart = ~np.eye(5, dtype=bool)
    assert counts[~apart].sum() == 0
    steepness = np.abs(energy[:, None] - energy)[apart] / np.abs(SITES[:, None] - SITES)[apart]
    expected = 2000 * steepness / steepness.sum()
    assert stats.chisquare(counts[apart], expected).pvalue > 1e-3
    assert stats.chisquare(counts[apart]).pvalue < 1e-100


def test_guided_distances_count_from_the_floor():
    x, energy = np.array([0.0, 0.01, 1.0]), np.array([0.0, 0.02, 1.0])
    layer = draw(
        *(SWIM(floor=1.0, passes=2), jr.key(5), jnp.asarray(x[:, None]), everything(x)),
        *(2000, "tanh", jnp.asarray(energy)),
    )
    length = np.abs(x[:, None] - x) / x.std()
    steepness = np.abs(energy[:, None] - energy) / np.maximum(length, 1.0)
    close = np.abs(standardised(layer, x[:, None])[0][:, 0]) > 0.99 * np.log(3)
    share = (steepness[0, 1] + steepness[1, 0]) / steepness.sum()
    assert stats.binomtest(int(close.sum()), 2000, share).pvalue > 1e-3


def test_constant_energy_prefers_no_pair():
    args = jnp.asarray(SITES[:, None]), everything(SITES), 3000, "tanh", jnp.ones(5)
    layer = draw(SWIM(floor=0.01, passes=2), jr.key(6), *args)
    w = standardised(layer, SITES[:, None])[0][:, 0]
    equal = int(np.sum(np.abs(w) > np.log(3) / 0.02))
    assert stats.binomtest(equal, 3000, 1 / 5).pvalue > 1e-3


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_elm_arguments_have_the_scale_and_biases_are_uniform_on_standardised_inputs(scale):
    layer = draw(ELM(scale=scale), jr.key(7), jnp.asarray(CLOUD), everything(CLOUD), 2000)
    w, b = standardised(layer, CLOUD)
    for column in w.T:
        assert stats.kstest(column * 3**0.5 / scale, "norm").pvalue > 1e-3
    np.testing.assert_allclose(np.corrcoef(w.T), np.eye(3), atol=0.1)
    assert stats.kstest(b, "uniform", args=(-1, 2)).pvalue > 1e-3
    np.testing.assert_allclose(layer.centre, CLOUD.mean(0), rtol=1e-14)


def test_elm_weights_are_blind_to_the_data(getkey):
    key, other = getkey(), 3 * CLOUD**2
    one, two = (draw(ELM(), key, jnp.asarray(x), everything(x), 9) for x in (CLOUD, other))
    (w1, b1), (w2, b2) = standardised(one, CLOUD), standardised(two, other)
    np.testing.assert_allclose(w1, w2, rtol=1e-12)
    np.testing.assert_array_equal(b1, b2)


@pytest.mark.parametrize("wild", [1e30, np.inf, np.nan])
@pytest.mark.parametrize("sampling", [ELM(), SWIM(), SWIM(passes=2)], ids=["elm", "swim", "guided"])
def test_masked_inputs_and_energies_never_influence_a_layer(sampling, wild, getkey):
    key = getkey()
    mask = np.array([True, False, True, True, False, True])
    energy = CLOUD[:, 0] ** 2 if sampling.guided else None
    layers = []
    for value in (0.0, wild):
        x = jnp.asarray(np.where(mask[:, None], CLOUD, value))
        e = None if energy is None else jnp.asarray(np.where(mask, energy, value))
        layers.append(draw(sampling, key, x, jnp.asarray(mask), 50, "tanh", e))
    assert eqx.tree_equal(*layers)


def test_masked_inputs_are_never_drawn(getkey):
    mask = np.array([True, False, True, False, True])
    args = jnp.asarray(SITES[:, None]), jnp.asarray(mask), 200, "tanh", jnp.asarray(SITES)
    first, second = drawn_pairs(draw(SWIM(floor=0.1, passes=2), getkey(), *args), SITES)
    assert set(first) | set(second) == {0, 2, 4}


@pytest.mark.parametrize("sampling", [ELM(), SWIM(), SWIM(passes=2)], ids=str)
@pytest.mark.parametrize("value", [0.0, 5.0, -1e-8, 1e12])
def test_constant_inputs_give_finite_layers_that_see_a_change_of_their_own_size(value, sampling):
    x = jnp.full((4, 2), value)
    layer = draw(sampling, jr.key(8), x, everything(x), 20, "tanh", jnp.ones(4))
    size = abs(value) or 1.0
    at, slope = layer(x), layer.jacobian(x) * size
    assert np.isfinite(at).all() and np.isfinite(slope).all()
    assert np.all(np.max(np.abs(slope), axis=(0, 1)) > 1e-3)
    assert np.max(np.abs(slope)) < 10


def test_equal_keys_give_equal_bits_and_other_keys_other_units(getkey):
    one, two = getkey(), getkey()
    for sampling in (ELM(), SWIM()):
        a, b, c = (
            draw(sampling, k, jnp.asarray(CLOUD), everything(CLOUD), 9) for k in (one, one, two)
        )
        assert eqx.tree_equal(a, b)
        assert not np.array_equal(a.weight, c.weight)


def test_only_two_pass_swim_is_guided():
    assert [s.guided for s in (ELM(), SWIM(), SWIM(passes=2))] == [False, False, True]


@pytest.mark.parametrize("wrong", [{"floor": 0.0}, {"floor": -1.0}, {"passes": 3}, {"passes": 0}])
def test_swim_refuses_wrong_settings_by_name(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} must be .*got {value}"):
        SWIM(**wrong)


@pytest.mark.parametrize("name", LEVELS)
def test_dense_jacobian_is_the_derivative_of_its_values(name):
    spread = CLOUD.std(0)
    layer = draw(SWIM(), jr.key(9), jnp.asarray(CLOUD), everything(CLOUD), 9)
    layer = dataclasses.replace(layer, activation=name)
    x = CLOUD + 0.01 * spread
    steps = 1e-6 * np.diag(spread)
    central = [layer(jnp.asarray(x + h)) - layer(jnp.asarray(x - h)) for h in steps[:, None]]
    jacobian = np.asarray(layer.jacobian(jnp.asarray(x)))
    np.testing.assert_allclose(
        np.stack(central, 1) / 2e-6, jacobian * spread[:, None], rtol=1e-7, atol=2e-9
    )


def test_moments_and_extent_are_those_of_the_unmasked_values():
    mask = np.array([True, False, True, True, False, True])
    mean, deviation = moments(jnp.asarray(CLOUD), jnp.asarray(mask))
    np.testing.assert_allclose(mean, CLOUD[mask].mean(0), rtol=1e-14)
    np.testing.assert_allclose(deviation, CLOUD[mask].std(0), rtol=1e-14)
    low_high = extent(jnp.asarray(CLOUD[:, 0]), jnp.asarray(mask))
    np.testing.assert_array_equal(low_high, [CLOUD[mask, 0].min(), CLOUD[mask, 0].max()])
    np.testing.assert_array_equal(extent(jnp.ones(2), jnp.zeros(2, bool)), [np.inf, -np.inf])


@pytest.mark.parametrize("value, scale", [(0.0, 1.0), (3.0, 3.0), (-0.1, 0.1)])
def test_inputs_that_do_not_vary_have_their_magnitude_or_one_as_scale(value, scale):
    x = jnp.full((7, 1), value)
    np.testing.assert_allclose(moments(x, everything(x)), [[value], [scale]], rtol=1e-14)


def test_outside_means_beyond_the_range_by_more_than_rounding():
    x = jnp.array([1.0, 1.0 - 1e-15, 0.999999, 2.0, 2.0 + 4e-16, 2.000001, 9.0, 1.5])
    mask = jnp.array([True] * 6 + [False, True])
    out = outside(x, mask, jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(out, [0, 0, 1, 0, 0, 1, 0, 0])


def test_everything_is_outside_of_the_range_of_no_data():
    nothing = extent(jnp.ones(2), jnp.zeros(2, bool))
    np.testing.assert_array_equal(
        outside(jnp.array([-1.0, 0.0, 7.0]), jnp.ones(3, bool), nothing), 1
    )


@pytest.mark.parametrize("sampling", [ELM(), SWIM(), SWIM(passes=2)], ids=str)
def test_layers_keep_float32(sampling):
    x = jnp.asarray(CLOUD, jnp.float32)
    drawn = draw(sampling, jr.key(10), x, everything(x), 4, "tanh", x[:, 0])
    for name in LEVELS:
        layer = dataclasses.replace(drawn, activation=name)
        arrays = layer.weight, layer.bias, layer.centre, layer(x), layer.jacobian(x)
        assert [a.dtype for a in arrays] == [jnp.float32] * 5


class Steeper(ELM):
    """Weights that grow with the energy of the first fit."""

    @property
    def guided(self):
        return True

    def __call__(self, key, x, mask, units, nonlinearity="tanh", energy=None, unit=0.0):
        layer = super().__call__(key, x, mask, units, nonlinearity, unit=unit)
        if energy is None:
            return layer
        return eqx.tree_at(lambda d: d.weight, layer, layer.weight * (1 + jnp.mean(energy**2)))


def test_derivatives_pass_through_the_first_fit_of_guided_samples(data):
    terms, solver = [hgn.Kinetic(0), hgn.Pair(4, sampling=Steeper())], hgn.QR(ridge=1e-2)

    @jax.jit
    def loss(size):
        scaled = data._replace(nodes=data.nodes | {"force": size * data.nodes["force"]})
        fit = hgn.fit(scaled, key=0, terms=terms, solver=solver, throw=False)
        # With weights of their own this would not change.
        return jnp.sum(fit.model.vector_field(data)[1] ** 2) / size**2

    h = 1e-4
    slope = (loss(1 + h) - loss(1 - h)) / (2 * h)
    assert abs(slope) > 1e-3
    assert jax.grad(loss)(1.0) == pytest.approx(float(slope), rel=1e-4)
