"""A rollout whose energy changes by more than half of the greatest kinetic energy is stopped."""

import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.dynamics.diagnostics import first_jump

BELOW, ABOVE = 1 - 1e-9, 1 + 1e-9


def column(*values):
    """Values of one graph at every output."""
    return np.array(values)[:, None]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_threshold_is_half_of_the_kinetic_energy(sign):
    kinetic = column(3.0, 3.0)
    assert first_jump(column(0.0, sign * 1.5 * BELOW), kinetic) is None
    assert first_jump(column(0.0, sign * 1.5), kinetic) is None
    assert first_jump(column(0.0, sign * 1.5 * ABOVE), kinetic) == (1, 0)


def test_the_kinetic_energy_is_the_greatest_so_far():
    earlier = column(1.0, 4.0, 0.25, 0.0)
    assert first_jump(column(0.0, 0.0, 2 * BELOW, -2 * BELOW), earlier) is None
    assert first_jump(column(0.0, 0.0, 0.0, 2 * ABOVE), earlier) == (3, 0)
    later = column(1.0, 1.0, 100.0)
    assert first_jump(column(0.0, 0.5 * BELOW, 0.0), later) is None
    assert first_jump(column(0.0, 0.5 * ABOVE, 0.0), later) == (1, 0)


def test_changes_count_from_the_start():
    assert first_jump(column(0.0, 0.3, 0.6, 0.9), column(*4 * [1.0])) == (2, 0)
    assert first_jump(column(0.0, 0.4, -0.4, 0.4), column(*4 * [1.0])) is None


def test_every_graph_has_its_own_threshold():
    kinetic = np.array([[10.0, 1.0], [10.0, 1.0], [10.0, 1.0]])
    energy = np.array([[0.0, 0.0], [5 * BELOW, 0.5 * BELOW], [0.0, 0.0]])
    assert first_jump(energy, kinetic) is None
    for graph, change in ((0, 5 * ABOVE), (1, 0.5 * ABOVE)):
        jump = energy.copy()
        jump[1, graph] = change
        assert first_jump(jump, kinetic) == (1, graph)


def test_the_first_output_and_then_the_first_graph_are_named():
    energy = np.array([[0.0, 0.0, 0.0], [0.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
    assert first_jump(energy, np.ones((3, 3))) == (1, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_of_the_energy_is_no_jump(dtype):
    """At rest, half of the kinetic energy is zero."""
    rounding, kinetic = 1e4 * np.finfo(dtype).eps * 7, column(0.0, 0.0).astype(dtype)
    for change, jump in ((0.99, None), (1.01, (1, 0))):
        for sign in (1, -1):
            energy = column(-7.0, -7.0 + sign * change * rounding).astype(dtype)
            assert first_jump(energy, kinetic) == jump


# In rollouts


def crossing(speed=1.0):
    """Three free bodies, of which one crosses x = 1 at time 1 / speed."""
    momentum = speed * jnp.array([[2.0, 0.0], [0.0, 4.0], [0.0, -3.0]])
    graph = hgn.graphs.chain(3, dimension=2, mass=jnp.array([2.0, 8.0, 0.5]))
    position = jnp.array([[0.0, 0.0], [-9.0, 0.0], [-9.0, 1.0]])
    return graph._replace(nodes=graph.nodes | {"position": position, "momentum": momentum})


KINETIC = 2.0**2 / 4 + 4.0**2 / 16 + 3.0**2
"""Kinetic energy of `crossing()`, which is constant without forces."""


def step_up(height):
    """Potential energy of a step at x = 1, which causes no force."""
    return hgn.systems.mass_spring(
        "spring", stiffness=0.0, external=lambda q, m: jnp.where(q[0] > 1, height, 0.0)
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_a_rollout_stops_just_above_half_of_its_kinetic_energy(sign):
    every = hgn.Every(1, 5)
    path = hgn.rollout(step_up(sign * KINETIC / 2 * BELOW), crossing(), every, dt=0.3)
    np.testing.assert_allclose(path.energy[-1] - path.energy[0], sign * KINETIC / 2, rtol=1e-8)
    with pytest.raises(RuntimeError, match=(
        rf"the energy went from 11 to {11 + sign * 5.5:g} by time 1\.2, a change of more than "
        r"half of the greatest kinetic energy 11: "
    )):  # fmt: skip
        hgn.rollout(step_up(sign * KINETIC / 2 * ABOVE), crossing(), every, dt=0.3)


def test_a_graph_of_a_batch_stops_by_its_own_kinetic_energy():
    """The second is twice as fast: it crosses early, and may change by four times as much."""
    both, every = hgn.graphs.batch([crossing(), crossing(2.0)]), hgn.Every(1, 5)
    assert hgn.rollout(step_up(KINETIC / 2 * BELOW), both, every, dt=0.3).finite
    with pytest.raises(RuntimeError, match=r"the energy of graph 0 went from 11 .* by time 1\.2,"):
        hgn.rollout(step_up(KINETIC / 2 * ABOVE), both, every, dt=0.3)
    with pytest.raises(RuntimeError, match=r"the energy of graph 1 went from 44 .* by time 0\.6,"):
        hgn.rollout(step_up(4 * KINETIC / 2 * ABOVE), both, every, dt=0.3)
