"""Pressure, stress and velocity autocorrelation along rollouts."""

import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.graphs.strain import strained

ATOMS = hgn.systems.lennard_jones(cutoff=2.0)
LIST = hgn.Neighbours(2.0, 0.4)


@pytest.fixture(scope="module", params=[0.4, 0.0], ids=["skewed", "diagonal"])
def liquid(request):
    """64 atoms in a skewed periodic cell and in a cube, moving."""
    rng = np.random.default_rng(0)
    at = hgn.graphs.lattice((4, 4, 4), spacing=1.3).nodes["position"]
    cell = 5.2 * np.eye(3)
    cell[1, 0] = request.param
    atoms = hgn.graphs.from_pairs(
        np.asarray(at) + rng.normal(0, 0.05, at.shape), [], momentum=rng.normal(size=at.shape),
        mass=rng.uniform(1, 2, 64),
    )  # fmt: skip
    return atoms._replace(globals={"cell": jnp.asarray(cell)[None]})


OBSERVABLES = [hgn.Pressure(), hgn.Stress(), hgn.VelocityAutocorrelation(), hgn.KineticEnergy()]


def observed(model, graph, times, **options):
    return hgn.rollout(model, graph, times, observables=OBSERVABLES, **options).observed


def test_pressure_is_the_change_of_the_energy_by_volume(liquid):
    """-dE/dV of the pairs, by finite differences, and 2 K / 3 V of the motion."""
    now = observed(ATOMS, liquid, [0.0], dt=0.01, neighbours=LIST)
    volume = np.linalg.det(liquid.globals["cell"][0])

    def energy(factor):
        grown = strained(liquid, (factor - 1) * jnp.eye(3))
        return hgn.rollout(ATOMS, grown, [0.0], dt=0.01, neighbours=LIST).energy[0]

    h = 1e-4
    slope = (energy(1 + h) - energy(1 - h)) / (2 * h) / (3 * volume)
    expected = 2 * now["kinetic_energy"] / (3 * volume) - slope
    np.testing.assert_allclose(now["pressure"], expected, rtol=1e-6)
    assert abs(slope) > 0.05 * abs(expected[0])


def test_stress_is_the_change_of_the_energy_by_shear(liquid):
    now = observed(ATOMS, liquid, [0.0], dt=0.01, neighbours=LIST)
    volume = np.linalg.det(liquid.globals["cell"][0])
    h, shear = 1e-4, jnp.zeros((3, 3)).at[0, 2].set(1.0)
    up, down = (
        hgn.rollout(ATOMS, strained(liquid, s * shear), [0.0], dt=0.01, neighbours=LIST).energy[0]
        for s in (h, -h)
    )
    p, m = np.asarray(liquid.nodes["momentum"]), np.asarray(liquid.nodes["mass"])
    flow = (p[:, 0] * p[:, 2] / m).sum()
    stress = now["stress"][0]
    np.testing.assert_allclose(stress[0, 2], ((up - down) / (2 * h) - flow) / volume, rtol=1e-6)
    np.testing.assert_allclose(-np.trace(stress) / 3, now["pressure"][0], rtol=1e-12)


def test_an_ideal_gas_obeys_its_law(liquid):
    free = hgn.systems.lennard_jones(epsilon=0.0, cutoff=2.0)
    now = observed(free, liquid, [0.0, 0.05], dt=0.01, neighbours=LIST)
    volume = np.linalg.det(liquid.globals["cell"][0])
    np.testing.assert_allclose(now["pressure"] * volume, 2 / 3 * now["kinetic_energy"], rtol=1e-12)


def test_the_velocity_of_an_oscillator_is_correlated_like_a_cosine():
    """Mass 2 on a spring of stiffness 3 to a fixed body, which does not count."""
    graph = hgn.graphs.chain(2, dimension=1, mass=jnp.array([1.0, 2.0]))
    nodes = {"momentum": jnp.array([[0.0], [0.5]]), "fixed": jnp.array([True, False])}
    graph = graph._replace(nodes=graph.nodes | nodes)
    spring = hgn.systems.mass_spring("spring", stiffness=3.0, rest_length=1.0)
    path = hgn.rollout(
        spring, graph, hgn.Every(5, 40), dt=0.02, integrator=hgn.KahanLi8(),
        observables=[hgn.VelocityAutocorrelation()],
    )  # fmt: skip
    expected = 0.25**2 * np.cos(np.sqrt(3 / 2) * path.times)
    np.testing.assert_allclose(
        path.observed["velocity_autocorrelation"], expected, rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("observable", [hgn.Pressure(), hgn.Stress()])
def test_a_stress_needs_a_cell(observable, springs, cube):
    with pytest.raises(ValueError, match="cell"):
        hgn.rollout(springs, cube, [0.0], dt=0.1, observables=[observable])
