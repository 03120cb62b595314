"""Padding is determined by the counts of nodes, so that nodes need neither mass nor momentum."""

import jax
import jax.numpy as jnp
import jax.random as jr
import jraph
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.graphs import geometry
from hgn_jax.graphs.dense_edges import slotted
from hgn_jax.graphs.padding import without_padding

G = hgn.graphs
BODIES = (3, 1, 4)


def bare(n, seed=0):
    """A chain of n nodes with positions and rates alone, as for a gradient flow."""
    x, v = jr.normal(jr.key(seed), (2, n, 2))
    graph = G.from_pairs(x, [(i, i + 1) for i in range(n - 1)])
    return graph._replace(
        nodes={"position": x, "velocity": v},
        globals={"trajectory": jnp.array([seed]), "energy": jnp.array([1.0 + seed])},
    )


@pytest.fixture(scope="module")
def singles():
    return [bare(n, seed) for seed, n in enumerate(BODIES)]


@pytest.fixture(scope="module")
def whole(singles):
    return G.batch(singles)


def equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def masks(graphs):
    return geometry.graph_mask(graphs), geometry.node_mask(graphs), geometry.edge_mask(graphs)


def as_expected(found, graphs, nodes, edges):
    """Asserts the numbers of real graphs, nodes and edges, and of padding."""
    for mask, (real, padding) in zip(found, (graphs, nodes, edges)):
        assert mask.tolist() == [True] * real + [False] * padding


@pytest.mark.parametrize("evaluate", [masks, jax.jit(masks)], ids=["eager", "jit"])
@pytest.mark.parametrize("graphs_", [5, 6, 9])
@pytest.mark.parametrize("edges", [10, 13])
@pytest.mark.parametrize("by", [G.pad, jraph.pad_with_graphs])
def test_masks_know_padding_by_the_counts(whole, graphs_, edges, evaluate, by):
    padded = by(whole, n_node=11, n_edge=edges, n_graph=graphs_)
    as_expected(evaluate(padded), (3, graphs_ - 3), (8, 3), (10, edges - 10))


@pytest.mark.parametrize("evaluate", [masks, jax.jit(masks)], ids=["eager", "jit"])
def test_without_padding_all_is_real(singles, whole, evaluate):
    as_expected(evaluate(whole), (3, 0), (8, 0), (10, 0))
    as_expected(evaluate(singles[1]), (1, 0), (1, 0), (0, 0))
    # A body at rest in the origin, without mass and edges, is no padding if nothing empty follows.
    still = jax.tree.map(jnp.zeros_like, singles[1])._replace(n_node=jnp.array([1]))
    as_expected(evaluate(G.batch([singles[0], still])), (2, 0), (4, 0), (4, 0))


def test_a_mapped_batch_of_padded_graphs_has_its_own_masks(singles):
    same_shape = [G.pad(g, n_node=6, n_edge=8, n_graph=3) for g in singles]
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *same_shape)
    found = jax.vmap(masks)(stacked)
    for k, n in enumerate(BODIES):
        each = [mask[k] for mask in found]
        as_expected(each, (1, 2), (n, 6 - n), (2 * (n - 1), 8 - 2 * (n - 1)))


@pytest.mark.parametrize("padded", [False, True])
def test_edges_in_slots_add_padding_to_what_there_is(whole, padded):
    graphs = G.pad(whole, n_node=11, n_edge=13, n_graph=6) if padded else whole
    for found in (masks(slotted(graphs)), jax.jit(masks)(slotted(graphs))):
        graph, node, edge = found
        assert graph.tolist() == [True] * 3 + [False] * (4 if padded else 1)
        assert node.tolist() == [True] * 8 + [False] * (4 if padded else 1)
        assert int(edge.sum()) == 10
    vectors = np.asarray(geometry.displacement(slotted(graphs)))[np.asarray(edge)]
    plain = np.asarray(geometry.displacement(whole))
    np.testing.assert_array_equal(np.sort(vectors, axis=0), np.sort(plain, axis=0))


def test_movable_needs_no_mass(whole):
    fixed = whole._replace(nodes=whole.nodes | {"fixed": jnp.arange(8) == 2})
    padded = G.pad(fixed, n_node=10, n_edge=10, n_graph=5)
    assert geometry.movable(padded).tolist() == [True] * 2 + [False] + [True] * 5 + [False] * 2
    assert geometry.bodies(padded).tolist() == [3, 1, 4, 0, 0]


def test_jraphs_padding_is_checked_and_left_out(singles, whole):
    padded = jraph.pad_with_graphs(whole, 20, 30, 7)
    equal(without_padding(padded), whole)
    for one, other in zip(G.unbatch(padded), singles, strict=True):
        equal(one, other)


def test_graphs_without_mass_pass_through_every_tool(singles, whole):
    padded = G.pad(whole, n_node=12, n_edge=14, n_graph=7)
    for one, other in zip(G.unbatch(padded), singles, strict=True):
        equal(one, other)
    pieces = list(G.chunks(padded, 2))
    assert [len(p.n_node) for p in pieces] == [4, 4]
    equal(G.batch([g for p in pieces for g in G.unbatch(p)]), whole)
    train, test = G.split(padded, 0.3, key=jr.key(0))
    assert sorted([*train.globals["trajectory"], *test.globals["trajectory"]]) == [0, 1, 2]


def test_a_batch_of_padded_graphs_leaves_their_padding_out(singles, whole):
    padded = [G.pad(g, n_node=7, n_edge=9, n_graph=4) for g in singles]
    equal(G.batch(padded), whole)
    equal(G.batch([G.pad(whole, n_node=12, n_edge=14, n_graph=7), padded[0]]),
          G.batch([*singles, singles[0]]))  # fmt: skip


def test_padding_a_padded_batch_replaces_its_padding(whole):
    once = G.pad(whole, n_node=12, n_edge=14, n_graph=7)
    twice = G.pad(G.pad(whole, n_node=9, n_edge=10, n_graph=5), n_node=12, n_edge=14, n_graph=7)
    equal(twice, once)


@pytest.mark.parametrize("keep", [[1, 0, 1, 1, 1, 1], [1, 0, 1, 0, 0, 0], [1, 0, 1, 0, 1, 1]])
def test_take_leaves_padding_out(singles, whole, keep):
    """Also if `keep` is True for the empty graphs, which would turn real graphs into padding."""
    padded = G.pad(whole, n_node=12, n_edge=14, n_graph=6)
    equal(G.take(padded, np.array(keep, bool)), G.batch([singles[0], singles[2]]))


@pytest.mark.parametrize(
    "tool",
    [
        lambda g: G.batch([g, g]),
        G.unbatch,
        lambda g: list(G.chunks(g, 1)),
        lambda g: G.take(g, np.ones(3, bool)),
        lambda g: G.split(g, 0.5, key=jr.key(0)),
        lambda g: G.pad(g, n_node=20, n_edge=20, n_graph=9),
    ],
    ids=["batch", "unbatch", "chunks", "take", "split", "pad"],
)
def test_a_graph_without_nodes_inside_a_batch_is_named(whole, tool):
    odd = whole._replace(n_node=jnp.array([4, 0, 4]), n_edge=jnp.array([4, 0, 6]))
    with pytest.raises(ValueError, match="graph 1 has no node"):
        tool(odd)


@pytest.mark.parametrize("name", ["n_node", "n_edge", "n_graph"])
@pytest.mark.parametrize("total", [20.0, "20", None])
def test_totals_must_be_integers(whole, name, total, no_type_checks):
    totals = {"n_node": 20, "n_edge": 20, "n_graph": 20} | {name: total}
    with pytest.raises(ValueError, match=f"{name} must be an integer, got {total!r}"):
        G.pad(whole, **totals)
    totals = {"n_node": np.int64(20), "n_edge": np.int32(20), "n_graph": 20}
    assert G.pad(whole, **totals).n_node.sum() == 20


# Counts in any integers, and known when compiling


@pytest.mark.parametrize("names", [("n_edge",), ("n_node", "n_edge", "senders", "receivers")])
@pytest.mark.filterwarnings("error::FutureWarning")
def test_wide_counts_are_taken_as_narrow_ones(names, data, springs):
    wide = data._replace(**{k: getattr(data, k).astype("int64") for k in names})
    np.testing.assert_array_equal(springs(wide), springs(data))
    np.testing.assert_array_equal(geometry.graph_index(wide), geometry.graph_index(data))
    as_expected(masks(G.pad(wide, n_node=1700, n_edge=5000, n_graph=210)),
                (200, 10), (1600, 100), (4800, 200))  # fmt: skip
    terms = (hgn.Kinetic(0), hgn.Pair(4))
    fits = [hgn.fit(graphs, key=jr.key(0), terms=terms) for graphs in (wide, data)]
    for a, b in zip(*(fit.model.vector_field(data) for fit in fits)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * float(jnp.abs(b).max()))


def test_the_graph_of_every_node_is_found_without_a_sum_over_nodes(whole):
    """XLA takes seconds to fold such a sum when the counts are known to the compiler."""
    graphs = G.pad(whole, n_node=5000, n_edge=10, n_graph=9)
    expected = np.repeat(np.arange(9), np.asarray(graphs.n_node))
    np.testing.assert_array_equal(geometry.graph_index(graphs), expected)
    empty_inside = whole._replace(n_node=jnp.array([0, 5, 0, 0, 3]))
    assert geometry.graph_index(empty_inside).tolist() == [1] * 5 + [4] * 3
    for known in (graphs, G.chain(5000)):
        text = str(jax.make_jaxpr(lambda x, g=known: geometry.graph_index(g))(0.0))
        sums = [line for line in text.splitlines() if " cumsum[" in line]
        assert not any("[5000]" in line for line in sums)
