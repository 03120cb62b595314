"""`hgn.refine(..., unknown=...)`: masses and charges beside theta."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.fitting.propagate import motion, tangents
from hgn_jax.fitting.unknowns import Rescaled, unknowns_of, with_values
from hgn_jax.fitting.windows import trajectories_of, windows_of

MASS = np.array([1.0, 2.0, 0.5])
CHARGE = np.array([1.0, 1.5, 0.6])
TIMES = np.linspace(0, 6, 24)
SITES = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.8]])
NAMES = ("position", "momentum")
PAIRS = np.array([(0, 1), (0, 2), (1, 2)])


def moved(springs, mass=MASS, charge=None, seed=3, noise=0.01):
    """Positions and momenta `[8 t n d]` of bodies joined by springs."""
    coupling = None if charge is None else {"coupling": np.prod(charge[PAIRS], axis=1)}
    sites = np.concatenate([SITES, [[3.0, 3.0]]])[: len(mass)]
    graph = hgn.graphs.from_pairs(sites, PAIRS, mass=mass, **(coupling or {}))
    data = hgn.systems.simulate(
        springs, graph, key=jr.key(seed), trajectories=8, times=TIMES, noise=noise
    )
    return (np.asarray(data.nodes[a]).reshape(8, 24, -1, 2) for a in NAMES)


def measured(q, mass=1.0, edges=PAIRS, **more):
    return hgn.graphs.from_trajectories(TIMES, q, mass=mass, edges=edges, rates=False, **more)


def learned(data, unknown, terms=(hgn.Pair(32),)):
    """Refined from a first guess that takes the data's own masses and charges for right."""
    start = hgn.fit(data, key=0, terms=terms, observations=[hgn.Steps(window=12)], throw=False)
    return hgn.refine(start, data, unknown=unknown)


@pytest.fixture(scope="module")
def positions(springs):
    return next(moved(springs))


@pytest.fixture(scope="module")
def weighed(positions):
    return learned(measured(positions), "mass")


# Masses


def test_masses_are_found_from_positions_alone(weighed):
    found = weighed.refinement.found
    np.testing.assert_allclose(found.values, MASS, rtol=0.01)
    assert float(found.values[0]) == 1 and float(found.deviations[0]) == 0
    error = np.abs(np.asarray(found.values) - MASS)[1:]
    deviations = np.asarray(found.deviations)[1:]
    assert (error < 4 * deviations).all() and (deviations < 0.01 * MASS[1:]).all()
    assert weighed.refinement.accepted == 4
    assert "masses 1, " in weighed.summary()


def test_the_law_is_that_of_the_masses_found(weighed, springs, positions):
    """Forces by the true law, on unseen states."""
    q, p = moved(springs, seed=4, noise=0.0)
    test = measured(q, MASS, momentum=p)
    _, force = weighed.model.vector_field(test)
    _, true = springs.vector_field(test)
    assert np.linalg.norm(force - true) < 0.04 * np.linalg.norm(true)


def test_data_with_the_masses_found_start_rollouts(weighed, springs, positions):
    q, p = moved(springs, seed=4, noise=0.0)
    guessed = measured(q, momentum=p / MASS[:, None])  # velocities, times masses of one
    data = weighed.refinement.found.apply(guessed)
    np.testing.assert_allclose(data.nodes["mass"].reshape(-1, 3)[5], MASS, rtol=0.01)
    np.testing.assert_allclose(
        np.asarray(data.nodes["momentum"]).reshape(p.shape), p, rtol=0.01, atol=1e-12
    )
    start = hgn.graphs.take(data, np.arange(192) == 24)
    path = hgn.rollout(weighed.model, start, TIMES[:12], dt=0.02)
    assert np.abs(np.asarray(path.position) - q[1, :12]).max() < 0.05
    with pytest.raises(ValueError, match="values are those of 3 bodies, but graph 0 has 2"):
        weighed.refinement.found.apply(hgn.graphs.from_pairs(SITES[:2], [(0, 1)]))


def test_velocities_tell_masses_of_species_but_not_that_of_an_isolated_body(springs):
    """Momenta are those of masses of one."""
    mass = np.array([1.0, 2.0, 1.0, 0.7])
    q, p = moved(springs, mass)
    data = measured(q, momentum=p / mass[:, None], species=np.array([3, 5, 3, 8]))
    with pytest.warns(UserWarning, match=r"do not determine the mass of bodies \[3\]"):
        found = learned(data, "mass", [hgn.Kinetic(0), hgn.Pair(32)]).refinement.found
    np.testing.assert_allclose(found.values[:3], mass[:3], rtol=0.01)
    assert float(found.values[2]) == 1 and float(found.deviations[2]) == 0
    assert np.isinf(found.deviations[3]) and np.isfinite(found.deviations[:3]).all()


def test_without_forces_between_them_two_parts_have_scales_of_their_own(springs):
    """Two pairs of bodies, each with a law of its own."""
    q = np.concatenate([next(moved(springs, seed=s))[:, :, :2] for s in (3, 5)], axis=2)
    data = measured(q, edges=[(0, 1), (2, 3)], type=np.array([0, 1]))
    with pytest.warns(UserWarning, match=r"do not determine the mass of bodies \[2, 3\]"):
        learned(data, "mass", [hgn.Pair(8)])


# Charges


def test_charges_are_found(springs):
    q, p = moved(springs, np.ones(3), CHARGE)
    data = measured(q, momentum=p)
    found = learned(data, "charge", [hgn.Kinetic(0), hgn.Pair(32)]).refinement.found
    np.testing.assert_allclose(found.values, CHARGE, rtol=0.01)
    error = np.abs(np.asarray(found.values) - CHARGE)[1:]
    assert (error < 4 * np.asarray(found.deviations)[1:]).all()
    coupling = np.asarray(found.apply(data).edges["coupling"]).reshape(192, -1)
    np.testing.assert_allclose(coupling[7, :3], np.prod(CHARGE[PAIRS], axis=1), rtol=0.02)


# Derivatives


@pytest.mark.parametrize("kind", ["mass", "charge", "gravity"])
def test_tangents_by_unknowns_are_derivatives_of_the_motion(kind, weighed, positions):
    data = measured(positions[:2], coupling=np.array([1.0, 0.5, 2.0]))
    trajectories = trajectories_of(data, NAMES)
    begins = windows_of(trajectories, 6).begins
    unknowns = unknowns_of(kind, trajectories.graph, weighed.model)
    mover = Rescaled(
        weighed.model, eqx.tree_at(lambda u: u.values, unknowns, jnp.array([0.7, 1.3]))
    )
    starts, count = trajectories.state, jnp.asarray(1, jnp.int32)

    @jax.jit
    def at(values):
        return motion(with_values(mover, values), trajectories, begins, starts, count)

    _, found = eqx.filter_jit(tangents)(mover, trajectories, begins, starts, count, by_theta=False)
    for k, axis in enumerate(1e-5 * np.eye(2)):
        values = mover.unknowns.values
        expected = (at(values + axis) - at(values - axis)) / 2e-5
        np.testing.assert_allclose(
            found[:, :, 12 + k], expected, rtol=0, atol=1e-7 * np.abs(expected).max()
        )


def test_motion_is_that_of_the_masses_and_couplings_themselves(weighed, positions):
    """A frame with masses m and couplings of gravity, and momenta m v, moves as the unknowns
    say."""
    data = measured(positions[:1], coupling=np.ones(3))
    trajectories = trajectories_of(data, NAMES)
    unknowns = unknowns_of("gravity", trajectories.graph, weighed.model)
    unknowns = eqx.tree_at(lambda u: u.values, unknowns, jnp.asarray(MASS[1:]))
    heavy = measured(positions[:1], MASS, coupling=np.prod(MASS[PAIRS], axis=1))
    starts = trajectories.state.reshape(24, 2, 3, 2)
    true = starts.at[:, 1].multiply(MASS[None, :, None])
    begins, count = windows_of(trajectories, 24).begins, jnp.asarray(2, jnp.int32)
    run = eqx.filter_jit(motion)
    a = run(Rescaled(weighed.model, unknowns), trajectories, begins, starts.reshape(24, -1), count)
    b = run(weighed.model, trajectories_of(heavy, NAMES), begins, true.reshape(24, -1), count)
    a, b = (x.reshape(24, 2, 3, 2) for x in (a, b))
    np.testing.assert_allclose(a[:, 0], b[:, 0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.asarray(a[:, 1]) * MASS[:, None], b[:, 1], rtol=1e-9, atol=1e-9)


# Bad input


def test_what_cannot_be_unknown_is_refused(weighed, positions, no_type_checks):
    data = measured(positions)
    with pytest.raises(ValueError, match=r"unknown must be one of .*, got 'masses'"):
        hgn.refine(weighed, data, unknown="masses")
    with pytest.raises(ValueError, match="coupling"):
        hgn.refine(weighed, data, unknown="gravity")
    alike = measured(positions, species=np.zeros(3, int))
    with pytest.raises(ValueError, match="keeps its value, and there is no other"):
        hgn.refine(weighed, alike, unknown="mass")
