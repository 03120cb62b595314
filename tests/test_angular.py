"""Potentials of angles, against automatic differentiation and a pendulum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn

NO_PAIRS = np.zeros((0, 2), int)


def graphs_of(angles, momenta=None):
    """One frame for each row of angles `[t n d]`."""
    momenta = np.zeros_like(angles) if momenta is None else momenta
    return hgn.graphs.from_trajectories(
        np.arange(len(angles)) * 1.0, angles, momentum=momenta, mass=1.0, edges=NO_PAIRS,
        rates=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def angles():
    return np.random.default_rng(0).uniform(-3, 3, (5, 2, 2))


def sampled(units, graphs):
    (term,) = hgn.sample([hgn.Angular(units)], graphs, key=jax.random.key(0))
    return term


@pytest.mark.parametrize("units", [0, 5])
def test_columns_are_functions_of_points_on_circles_and_repeat_after_a_turn(angles, units):
    term = sampled(units, graphs_of(angles))
    columns = np.asarray(term(graphs_of(angles)))
    both = np.concatenate([np.cos(angles), np.sin(angles)], axis=2)
    np.testing.assert_allclose(columns[:, units:], both.sum(axis=1), atol=1e-14)
    if units:
        expected = sum(np.asarray(term.layer(jnp.asarray(both[:, k]))) for k in range(2))
        np.testing.assert_allclose(columns[:, :units], expected, atol=1e-14)
    turned = angles + 2 * np.pi * np.random.default_rng(1).integers(-2, 3, angles.shape)
    np.testing.assert_allclose(term(graphs_of(turned)), columns, atol=1e-12)


@pytest.mark.parametrize("units", [0, 5])
def test_the_gradient_is_the_derivative_of_the_energy(angles, units):
    graphs = graphs_of(angles)
    term = sampled(units, graphs)

    def total(position):
        moved = graphs._replace(nodes=graphs.nodes | {"position": position})
        return jnp.sum(term(moved), axis=0)

    expected = np.moveaxis(jax.jacfwd(total)(graphs.nodes["position"]), 0, 2)
    np.testing.assert_allclose(term.gradient(graphs).position, expected, atol=1e-13)
    assert term.groups(units + 4) == (units, 4)


def test_a_pendulum_is_learned_exactly_and_swings_through_many_turns():
    rng = np.random.default_rng(2)
    q, p = rng.uniform(-2, 2, (40, 1, 1)), rng.normal(size=(40, 1, 1))
    data = graphs_of(q, p)
    rates = {"velocity": jnp.asarray(p[:, 0]), "force": jnp.asarray(-3 * np.sin(q)[:, 0])}
    data = data._replace(nodes=data.nodes | rates)
    fit = hgn.fit(data, key=0, terms=[hgn.Kinetic(0), hgn.Angular(0)])
    np.testing.assert_allclose(fit.model.theta[1], [-3, 0], atol=1e-10)
    far = graphs_of(np.linspace(-20, 20, 30)[:, None, None])
    force = fit.model.vector_field(far)[1]
    np.testing.assert_allclose(force[:, 0], -3 * np.sin(far.nodes["position"][:, 0]), atol=1e-9)
    turned = np.array(far.nodes["position"])[:, 0]
    turned -= 2 * np.pi * np.round(turned / (2 * np.pi))
    unseen = (turned < q.min()) | (turned > q.max())
    assert 5 < unseen.sum() < 25
    np.testing.assert_array_equal(fit.model.out_of_range(far)["angular"], unseen)


def test_a_negative_number_of_units_is_refused():
    with pytest.raises(ValueError, match="units must be at least 0"):
        hgn.Angular(-1)
