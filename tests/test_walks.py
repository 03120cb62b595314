"""Closed walks, against the eigenvalues of hopping matrices by NumPy."""

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from term_checks import assert_slopes

import hgn_jax as hgn
from hgn_jax.features.walks import BLOCK
from hgn_jax.graphs.dense_edges import SlottedGraphs, slotted

LENGTH, W = 7, 1.3
RNG = np.random.default_rng(0)


def network(n, seed):
    """Random graph with hoppings of both signs."""
    rng = np.random.default_rng(seed)
    ring = [(i, (i + 1) % n) for i in range(n)]
    chords = {tuple(sorted(pair)) for pair in rng.integers(0, n, (n, 2)) if abs(np.diff(pair)) > 1}
    chords.discard((0, n - 1))
    pairs = np.array([*ring, *chords])
    hops = rng.normal(size=len(pairs))
    return hgn.graphs.from_pairs(rng.normal(size=(n, 1)), pairs, coupling=hops)


def matrix(graph):
    n = len(graph.nodes["position"])
    hops = np.zeros((n, n))
    hops[np.asarray(graph.receivers), np.asarray(graph.senders)] = graph.edges["coupling"]
    return hops


GRAPHS = [network(9, 1), network(BLOCK + 20, 2)]
BATCH = hgn.graphs.pad(hgn.graphs.batch(GRAPHS), n_node=120, n_edge=500, n_graph=5)
SMALL = hgn.graphs.batch(GRAPHS[:1])


@pytest.fixture(scope="module")
def term():
    (found,) = hgn.sample([hgn.Walks(LENGTH, W)], BATCH, key=0)
    return found


def test_columns_are_traces_of_chebyshev_polynomials(term):
    """tr T_k(H) is the sum of cos(k arccos(eigenvalue)); sizes differ, and exceed a block."""
    assert term.scale > 0 and len(GRAPHS[1].nodes["position"]) > BLOCK
    for graph, found in zip(GRAPHS, term(BATCH)):
        onsite = W * (np.asarray(graph.nodes["position"])[:, 0] - float(term.centre))
        levels = np.linalg.eigvalsh((matrix(graph) + np.diag(onsite)) / float(term.scale))
        assert np.abs(levels).max() <= 1
        angles = np.arange(1, LENGTH + 1)[:, None] * np.arccos(levels)[None]
        np.testing.assert_allclose(found, np.cos(angles).sum(axis=1), rtol=0, atol=1e-12)
    assert not np.any(term(BATCH)[2:])


def test_lengths_even_and_odd_share_their_columns(term):
    for length in (1, 2, LENGTH - 1):
        (short,) = hgn.sample([hgn.Walks(length, W)], BATCH, key=0)
        np.testing.assert_allclose(short(BATCH), term(BATCH)[:, :length], rtol=0, atol=1e-13)


def test_slopes_are_derivatives(term):
    assert_slopes(term, SMALL, jr.normal(jr.key(3), (LENGTH,)))


def test_slopes_of_a_padded_batch_are_those_of_its_graphs(term):
    own = jnp.concatenate([term.gradient(graph).position for graph in GRAPHS])
    found = term.gradient(BATCH).position
    np.testing.assert_allclose(found[: len(own)], own, rtol=0, atol=1e-13)
    assert not np.any(found[len(own) :])
    dense = slotted(GRAPHS[0])  # as rollouts lay out their edges
    assert isinstance(dense, SlottedGraphs)
    np.testing.assert_allclose(term.gradient(dense).position[:9], own[:9], rtol=0, atol=1e-13)


def test_a_lattice_has_its_symmetry_and_energies_are_extensive():
    q = RNG.normal(size=(8, 8))
    graph = hgn.graphs.periodic_lattice((8, 8), displacement=q)
    (walks,) = hgn.sample([hgn.Walks(LENGTH, W)], graph, key=0)
    own = walks(graph)
    for turned in (np.rot90(q), q.T, np.roll(q, (3, 1), (0, 1))):
        other = walks(hgn.graphs.periodic_lattice((8, 8), displacement=turned))
        np.testing.assert_allclose(other, own, rtol=0, atol=1e-12)
    # Walks of seven steps do not go around eight sites, so that none is lost.
    twice = hgn.graphs.periodic_lattice((8, 16), displacement=np.tile(q, (1, 2)))
    np.testing.assert_allclose(walks(twice), 2 * own, rtol=0, atol=1e-12)


@pytest.mark.parametrize("x64", [True, False])
def test_polynomials_of_the_hopping_matrix_are_learned_to_rounding(x64):
    """E = tr H^4: the force is -4 w (H^3)_ii."""
    dtype = jnp.float64 if x64 else jnp.float32
    graph = hgn.graphs.periodic_lattice((6,))
    hops = np.zeros((6, 6))
    hops[np.asarray(graph.receivers), np.asarray(graph.senders)] = 1
    q = RNG.normal(size=(2, 12, 6))
    h = hops + W * np.eye(6) * q[..., None]
    force = -4 * W * np.einsum("...ii->...i", np.linalg.matrix_power(h, 3))
    train, test = (
        hgn.graphs.snapshots(
            graph,
            {"position": jnp.asarray(a[..., None]), "force": jnp.asarray(f[..., None])},
            {},
        )
        for a, f in zip(q, force)
    )
    train, test = (
        jax.tree.map(lambda a: a.astype(dtype) if a.dtype == jnp.float64 else a, d)
        for d in (train, test)
    )
    with pytest.warns(UserWarning, match="float32") if not x64 else nullcontext():
        fit = hgn.fit(
            train, key=0, terms=[hgn.Walks(4, W)], observations=[hgn.Forces()], throw=False
        )
    error = jnp.abs(fit.model.vector_field(test)[1] - test.nodes["force"]).max()
    assert error < (1e-10 if x64 else 1e-3) * jnp.abs(test.nodes["force"]).max()


def test_long_walks_have_groups_of_their_own(term):
    assert term.groups(LENGTH) == (1, 1, 2, 3)
    assert term.groups(64) == (1, 1, 2, 4, 8, 16, 32)
    assert len(term.labels(4)) == 4 and term.labels(4)[-1] == "walks up to 7"


def test_displacements_beyond_those_of_training_are_counted(term):
    far = SMALL._replace(nodes=SMALL.nodes | {"position": SMALL.nodes["position"].at[2].set(9.0)})
    assert term.out_of_range(SMALL)[0] == 0 and term.out_of_range(far)[0] == 1


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: hgn.Walks(0), "length must be at least 1"),
        (lambda: hgn.Walks(coupling=0.0), "coupling must be one finite number, not 0"),
        (lambda: hgn.Walks(coupling=np.nan), "coupling"),
        (lambda: hgn.sample([hgn.Walks()], hgn.graphs.lattice((3, 3)), key=0), "one displacement"),
        (
            lambda: hgn.sample(
                [hgn.Walks()],
                hgn.graphs.from_pairs(jnp.zeros((3, 1)), np.zeros((0, 2), int)),
                key=0,
            ),
            "needs edges",
        ),
    ],
)
def test_bad_input_is_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
