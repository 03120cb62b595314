"""Species give pairs their types and bodies their constants."""

import itertools

import chex
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.graphs.selection import picked
from hgn_jax.graphs.species import by_composition

SPECIES = (8, 1, 8, 1, 1)
STIFFNESS = {(1, 1): 1.0, (1, 8): 2.0, (8, 8): 5.0}
ENERGIES = {1: -0.5, 8: 3.0}
ATOMS = hgn.systems.lennard_jones(sigma=0.5, cutoff=3.0)


def pair_type(a, b):
    return sorted(STIFFNESS).index((min(a, b), max(a, b)))


@pytest.fixture(scope="module")
def data():
    """Springs with a different stiffness for every pair of species, made with explicit types."""
    graph = hgn.graphs.fully_connected(5, 2)
    ends = np.stack([graph.senders, graph.receivers], 1)
    kinds = [pair_type(SPECIES[i], SPECIES[j]) for i, j in ends]
    typed = graph._replace(edges={"type": jnp.asarray(kinds)})
    stiffness = jnp.array([STIFFNESS[key] for key in sorted(STIFFNESS)])
    system = hgn.systems.mass_spring("spring", stiffness=stiffness, rest_length=1.0)
    data = hgn.systems.simulate(system, typed, key=jr.key(0), trajectories=60)
    species = jnp.tile(jnp.array(SPECIES), 60)
    return data._replace(nodes=data.nodes | {"species": species}, edges={}), data


def test_pairs_of_species_have_potentials_of_their_own(data):
    by_species, _ = data
    fits = [hgn.fit(d, key=1, terms=[hgn.Kinetic(0), hgn.Pair(32)]) for d in data]
    assert fits[0].residual < 1e-8
    for fit in fits:
        assert fit.model.terms[1].types == 3
    for name in hgn.metrics.relative_error(fits[0].model, by_species).values():
        assert name < 1e-8
    for key, stiffness in STIFFNESS.items():
        r = jnp.linspace(*map(float, fits[0].model.pair_range(pair_type(*key))), 5)
        phi = fits[0].model.pair_energy(r, pair_type(*key))
        force = jax.vmap(jax.grad(lambda x, k=key: fits[0].model.pair_energy(x, pair_type(*k))))(r)
        np.testing.assert_allclose(force, stiffness * (r - 1), atol=1e-6)
        assert phi.shape == (5,)


def test_one_potential_for_all_species_would_be_a_poor_fit(data):
    by_species, _ = data
    nodes = {k: v for k, v in by_species.nodes.items() if k != "species"}
    with pytest.warns(UserWarning, match="pairs do not share one potential"):
        fit = hgn.fit(by_species._replace(nodes=nodes), key=1, terms=[hgn.Kinetic(0), hgn.Pair(32)])
    assert fit.residual > 0.1


def test_every_species_has_a_constant_of_its_own():
    """Molecules of several compositions; the energies of isolated atoms are found."""
    molecules = []
    for k, species in enumerate([(1, 1), (1, 8), (8, 8, 1), (1, 1, 1), (8, 1, 1, 8)]):
        graph = hgn.graphs.fully_connected(len(species), 2)
        some = hgn.systems.simulate(ATOMS, graph, key=jr.key(k), trajectories=20)
        offset = sum(ENERGIES[s] for s in species)
        molecules.append(
            some._replace(
                nodes=some.nodes | {"species": jnp.tile(jnp.array(species), 20)},
                globals={"energy": some.globals["energy"] + offset},
            )
        )
    data = hgn.graphs.batch(molecules)
    fit = hgn.fit(data, key=0, terms=[hgn.External(2)], known=ATOMS)
    assert fit.constant_known
    np.testing.assert_allclose(fit.model.constants, [ENERGIES[1], ENERGIES[8]], rtol=1e-9)
    np.testing.assert_allclose(fit.model(data), data.globals["energy"], rtol=1e-9)


def test_species_that_training_never_saw_are_refused(data):
    by_species, _ = data
    fit = hgn.fit(by_species, key=1, terms=[hgn.Kinetic(0), hgn.Pair(4), hgn.External(4)])
    strange = by_species.nodes["species"].at[3].set(6)
    other = by_species._replace(nodes=by_species.nodes | {"species": strange})
    with pytest.raises(ValueError, match=r"species \[6\] were not in the first data"):
        fit.update(other)


def test_inside_jit_species_are_unknown(data):
    by_species, _ = data
    with pytest.raises(ValueError, match=r'inside jit nodes\["species"\] are unknown'):
        jax.jit(lambda d: hgn.fit(d, key=1, terms=[hgn.Kinetic(0), hgn.Pair(4)]).model)(by_species)


def test_graphs_of_equal_species_come_together():
    """In pieces of a fit, columns of species that a piece does not hold cost nothing."""
    rng = np.random.default_rng(3)
    held = [(14,), (14, 22), (8,), (22, 14, 22), (8, 14), (14, 14)]
    graphs = []
    for species in held:
        graph = hgn.graphs.fully_connected(
            len(species), 3, position=rng.normal(size=(len(species), 3))
        )
        nodes = graph.nodes | {"species": np.array(species)}
        graphs.append(graph._replace(nodes=nodes, globals={"energy": rng.normal(size=1)}))
    data = hgn.graphs.batch(graphs)
    order = by_composition(data)
    assert sorted(order) == list(range(6))
    runs = [set(held[k]) for k in order]
    assert sum(a != b for a, b in itertools.pairwise(runs)) == 3  # four sets of species
    chex.assert_trees_all_equal(picked(data, order), hgn.graphs.batch([graphs[k] for k in order]))
