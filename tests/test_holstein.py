"""The adiabatic Holstein model: free energies, densities, and what a fit learns of them."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import hgn_jax as hgn

SYSTEM = hgn.systems.Holstein(hopping=0.9, coupling=1.5, stiffness=0.7, temperature=0.05)
RNG = np.random.default_rng(0)


def states(shape, count, size=0.5):
    q = size * RNG.normal(size=(count, int(np.prod(shape)), 1))
    graph = hgn.graphs.periodic_lattice(shape)
    return hgn.graphs.snapshots(graph, {"position": jnp.asarray(q)}, {})


DATA = states((4, 6), 2)


def by_numpy(q, shape):
    """Free energy and density from eigenvalues, with the chemical potential by Brent's method."""
    number = np.arange(q.size).reshape(shape)
    h = -1.5 * np.diag(q)
    for axis in range(len(shape)):
        other = np.roll(number, -1, axis).ravel()
        h[number.ravel(), other] -= 0.9
        h[other, number.ravel()] -= 0.9
    levels, vectors = np.linalg.eigh(h)
    fill = lambda mu: 1 / (1 + np.exp((levels - mu) / 0.05))  # noqa: E731
    mu = brentq(lambda mu: fill(mu).sum() - q.size / 2, levels[0], levels[-1], xtol=1e-14)
    electrons = mu * q.size / 2 - 0.05 * np.log1p(np.exp((mu - levels) / 0.05)).sum()
    lattice = 0.35 * np.sum(q**2) + 0.75 * np.sum(q)
    return electrons + lattice, vectors**2 @ fill(mu)


def test_free_energies_and_densities_are_those_of_numpy():
    q = np.asarray(DATA.nodes["position"]).reshape(2, 24)
    energies, densities = zip(*(by_numpy(one, (4, 6)) for one in q))
    np.testing.assert_allclose(SYSTEM(DATA), energies, rtol=1e-12)
    np.testing.assert_allclose(SYSTEM.density(DATA), np.concatenate(densities), atol=1e-11)


def test_forces_are_slopes_of_the_free_energy():
    force = SYSTEM.vector_field(DATA)[1][:, 0]
    h, q = 1e-4, DATA.nodes["position"]
    for site in (0, 7, 30):
        moved = [
            jnp.sum(SYSTEM(DATA._replace(nodes=DATA.nodes | {"position": q.at[site].add(s * h)})))
            for s in (1, -1)
        ]
        np.testing.assert_allclose(force[site], (moved[1] - moved[0]) / (2 * h), atol=1e-6)


def test_half_of_the_sites_are_filled_evenly_without_displacements():
    flat = hgn.graphs.periodic_lattice((4, 4))
    np.testing.assert_allclose(SYSTEM.density(flat), 0.5, atol=1e-12)
    np.testing.assert_allclose(jnp.mean(SYSTEM.density(DATA)), 0.5, atol=1e-13)
    # Particles and holes: with -Q on a bipartite lattice, n becomes 1 - n.
    holes = DATA._replace(nodes=DATA.nodes | {"position": -DATA.nodes["position"]})
    np.testing.assert_allclose(SYSTEM.density(holes), 1 - SYSTEM.density(DATA), atol=1e-11)


def test_graphs_of_unequal_size_are_refused():
    sizes = [hgn.graphs.periodic_lattice((k,)) for k in (3, 5)]
    with pytest.raises(Exception, match="equally many sites"):
        SYSTEM(hgn.graphs.batch(sizes))
    with pytest.raises(ValueError, match="one displacement"):
        SYSTEM(hgn.graphs.lattice((3, 3)))
    with pytest.raises(ValueError, match="temperature"):
        hgn.systems.Holstein(temperature=0.0)


def test_the_energy_is_conserved_and_the_kinetic_energy_newtonian():
    start = states((6,), 1)
    path = hgn.rollout(SYSTEM, start, [0.0, 1.0, 2.0], dt=0.01)
    np.testing.assert_allclose(path.energy, path.energy[0], atol=1e-5)
    assert np.ptp(path.position[:, 0, 0]) > 1e-2


def test_walks_learn_densities_of_other_lattices_and_the_evidence_names_the_coupling(tmp_path):
    """At a temperature for which walks of 24 steps suffice."""
    warm = hgn.systems.Holstein(hopping=0.9, coupling=1.5, temperature=0.3)

    def solved(shape):
        data = states(shape, 2, 0.3)
        wave = (-1.0) ** np.add.outer(*map(np.arange, shape))
        q = data.nodes["position"] + 0.6 * np.tile(wave.reshape(-1, 1), (2, 1))
        data = data._replace(nodes=data.nodes | {"position": q})
        return data._replace(nodes=data.nodes | {"force": warm.vector_field(data)[1]})

    train, test, true = solved((8, 8)), solved((8, 10)), 1.5 / 0.9
    fits = {
        w: hgn.fit(train, key=0, terms=[hgn.Walks(24, w)], observations=[hgn.Forces()], throw=False)
        for w in (1.2, 1.4, true, 1.9, 2.2)
    }
    best = max(fits, key=lambda w: float(fits[w].solutions[0].evidence))
    assert best == true
    error = (fits[best].model.vector_field(test)[1] - test.nodes["force"]) / 1.5
    # The chemical potential depends on the whole lattice, so that some error remains.
    assert jnp.sqrt(jnp.mean(error**2)) < 0.04 * jnp.std(warm.density(test))
    fits[best].save(tmp_path / "walks.npz")
    loaded = hgn.load(tmp_path / "walks.npz")
    found = fits[best].model.gradient(test).position
    np.testing.assert_array_equal(loaded.gradient(test).position, found)
