"""Energy over many steps of implicit solvers at a loose tolerance."""

import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn


@pytest.fixture(scope="module")
def start():
    graph = hgn.graphs.chain(3, dimension=2, mass=jnp.array([1.0, 2.0, 0.5]))
    momentum = jnp.array([[0.3, -0.5], [-0.9, 0.8], [0.6, 0.4]])
    return graph._replace(nodes=graph.nodes | {"momentum": momentum})


def energy_change(start, integrator):
    """Greatest change of the energy over 1000 steps, relative to the energy."""
    linear = hgn.systems.mass_spring("spring", rest_length=0.0)
    energy = hgn.rollout(linear, start, hgn.Every(10, 100), dt=0.05, integrator=integrator).energy
    return np.max(np.abs(energy / energy[0] - 1))


@pytest.mark.parametrize("solver", [hgn.ImplicitMidpoint, hgn.GaussLegendre4])
def test_one_more_evaluation_keeps_the_energy_at_a_loose_tolerance(start, solver):
    """A step solved to rounding keeps the energy of linear springs, which is quadratic.

    At a tolerance of 1e-3 the energy changes by 1e-5; without the last evaluation, by 2e-3
    (GaussLegendre4) and 6e-3 (ImplicitMidpoint).
    """
    assert energy_change(start, solver()) < 1e-12
    assert 0 < energy_change(start, solver(tolerance=1e-3)) < 1e-4
