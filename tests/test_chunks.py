import jax
import jax.numpy as jnp
import jax.random as jr
import jraph
import numpy as np
import pytest

import hgn_jax as hgn

G = hgn.graphs


def snapshots(n, count, *, dimension=2, seed=0):
    """Chains of n bodies with edge types and energies."""
    key = jr.key(seed)
    graph = G.from_pairs(
        jr.normal(key, (n, dimension)),
        [(i, i + 1) for i in range(n - 1)],
        type=jnp.arange(n - 1) % 2,
    )
    q, p, v, f = jr.normal(jr.fold_in(key, 1), (4, count, n, dimension))
    nodes = {"position": q, "momentum": p, "velocity": v, "force": f}
    return G.snapshots(graph, nodes, {"energy": jr.normal(key, (count,))})


@pytest.fixture(scope="module")
def unequal():
    """Eleven graphs of two to five bodies."""
    parts = [snapshots(n, count, seed=n) for n, count in ((2, 3), (5, 3), (3, 4), (4, 1))]
    return G.batch(parts)


def same_values(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def same(a, b):
    same_values(a, b)
    assert [x.dtype for x in jax.tree.leaves(a)] == [x.dtype for x in jax.tree.leaves(b)]


def real_part(piece):
    """The batch without its padding: the last graph with nodes, and what follows."""
    count = int(np.flatnonzero(np.asarray(piece.n_node))[-1])
    return G.take(piece, np.arange(len(piece.n_node)) < count)


@pytest.mark.parametrize("size", [1, 3, 4, 11, 50])
def test_the_pieces_without_padding_are_the_data(unequal, size):
    pieces = list(G.chunks(unequal, size))
    assert len(pieces) == -(-11 // size)
    real = [real_part(p) for p in pieces]
    assert [len(p.n_node) for p in real[:-1]] == [size] * (len(pieces) - 1)
    assert len(real[-1].n_node) == 11 - size * (len(pieces) - 1)
    same(G.batch(real), unequal)


@pytest.mark.parametrize("size", [1, 3, 50])
def test_all_pieces_have_one_shape(unequal, size):
    shapes = [jax.tree.map(lambda a: (a.shape, a.dtype), p) for p in G.chunks(unequal, size)]
    assert all(s == shapes[0] for s in shapes)


def test_the_shape_is_that_of_the_greatest_piece_and_two_graphs_of_padding(unequal):
    # Pieces of three: 6, 15, 9 and 7 bodies, 6, 24, 12 and 10 edges.
    for piece in G.chunks(unequal, 3):
        assert len(piece.n_node) == 5
        assert piece.n_node.sum() == 16 and len(piece.nodes["mass"]) == 16
        assert piece.n_edge.sum() == 24 and len(piece.senders) == 24


@pytest.mark.parametrize("size", [1, 3, 4, 11])
def test_every_piece_is_good_data(unequal, size):
    for piece in G.chunks(unequal, size):
        hgn.check(piece)


def test_bad_values_are_found_in_their_piece(unequal):
    force = np.array(unequal.nodes["force"])
    force[6 + 5 + 2] = np.nan  # the second graph of five bodies: graph 4, node 2
    broken = unequal._replace(nodes=unequal.nodes | {"force": jnp.asarray(force)})
    first, second, *rest = G.chunks(broken, 3)
    for piece in (first, *rest):
        hgn.check(piece)
    with pytest.raises(ValueError, match=r"'force'.* frame 1, node 2 "):
        hgn.check(second)


def test_pieces_are_jax_arrays_of_the_same_types(unequal):
    narrow = jax.tree.map(lambda a: a.astype("float32") if a.dtype == "float64" else a, unequal)
    for piece in G.chunks(narrow, 4):
        for a, b in zip(jax.tree.leaves(piece), jax.tree.leaves(narrow)):
            assert isinstance(a, jax.Array) and a.dtype == b.dtype


def test_numpy_data_give_the_same_pieces_and_are_left_as_they_were(unequal):
    arrays = jax.tree.map(np.array, unequal)
    for a, b in zip(G.chunks(arrays, 4), G.chunks(unequal, 4), strict=True):
        same(a, b)
    same(arrays, jax.tree.map(np.asarray, unequal))


def test_graphs_without_edges_are_pieces_as_well():
    gas = G.batch([G.from_pairs(jr.normal(jr.key(i), (i + 1, 2)), []) for i in range(5)])
    pieces = list(G.chunks(gas, 2))
    assert all(len(p.senders) == 0 for p in pieces)
    same(G.batch([real_part(p) for p in pieces]), gas)


@pytest.mark.parametrize("size", [0, -1])
def test_a_piece_needs_a_graph(unequal, size):
    with pytest.raises(ValueError, match=f"size must be at least 1, got {size}"):
        list(G.chunks(unequal, size))


@pytest.mark.parametrize("size", [3.0, "3", None])
def test_the_size_must_be_an_integer(unequal, size, no_type_checks):
    with pytest.raises(ValueError, match=f"size must be an integer, got {size!r}"):
        list(G.chunks(unequal, size))


# Windows of frames


def trajectories(lengths):
    """Chains of 2, 3, .. bodies with those numbers of frames; the energy counts all frames."""
    parts = []
    for k, length in enumerate(lengths):
        part = snapshots(k + 2, length, seed=k)
        number = {"trajectory": jnp.full(length, 7 - k)}
        parts.append(part._replace(globals=number | {"energy": jnp.zeros(length)}))
    data = G.batch(parts)
    return data._replace(globals=data.globals | {"energy": jnp.arange(1.0 * sum(lengths))})


def frames(pieces):
    """Numbers of the frames of each chunk, without padding."""
    return [
        [int(e) for e in np.concatenate([g.globals["energy"] for g in G.unbatch(piece)])]
        for piece in pieces
    ]


@pytest.mark.parametrize(
    ("size", "window", "expected"),
    [
        (4, 3, [3, 3, 3, 3, 3]),  # one window fits
        (6, 3, [6, 6, 3]),
        (7, 3, [6, 6, 3]),
        (1, 3, [3, 3, 3, 3, 3]),  # a window is never cut
        (100, 3, [15]),
        (4, 1, [4, 4, 4, 3]),
        (6, None, [6, 3, 6]),  # whole trajectories
        (8, None, [6, 3, 6]),
        (9, None, [9, 6]),
        (3, None, [6, 3, 6]),
        (100, None, [15]),
    ],
)
def test_pieces_are_cut_between_windows(size, window, expected):
    data = trajectories((6, 3, 6))
    pieces = list(G.chunks(data, size, window))
    numbers = frames(pieces)
    assert [n for piece in numbers for n in piece] == list(range(15))
    assert [len(piece) for piece in numbers] == expected
    same(G.batch([g for p in pieces for g in G.unbatch(p)]), data)
    shapes = [jax.tree.map(lambda a: (a.shape, a.dtype), p) for p in pieces]
    assert all(s == shapes[0] for s in shapes)
    for piece in pieces:
        hgn.check(piece)


def test_a_trajectory_must_be_a_whole_number_of_windows():
    data = trajectories((6, 4, 6))
    with pytest.raises(ValueError, match="trajectory 6 has 4 frames, which is not a multiple of"):
        list(G.chunks(data, 6, 3))
    # Together a multiple of the window, but the second trajectory begins within one.
    with pytest.raises(ValueError, match="trajectory 7 has 2 frames"):
        list(G.chunks(trajectories((2, 4)), 6, 3))


def test_the_last_window_of_a_trajectory_may_be_shorter_where_that_is_allowed():
    data = trajectories((6, 4, 2, 7))
    pieces = list(G.chunks(data, 5, 3, shorter_last=True))
    assert [len(piece) for piece in frames(pieces)] == [3, 3, 4, 5, 4]
    assert [n for piece in frames(pieces) for n in piece] == list(range(19))


@pytest.mark.parametrize("window", [2.0, "2", 0, -1])
def test_the_window_must_be_a_positive_integer(window, no_type_checks):
    with pytest.raises(ValueError, match="window must be"):
        list(G.chunks(trajectories((4,)), 6, window))


@pytest.mark.parametrize("window", [2, None])
def test_windows_need_numbered_trajectories(unequal, window):
    with pytest.raises(ValueError, match=f"window={window} needs globals..trajectory"):
        list(G.chunks(unequal, 6, window))


def test_windows_of_padded_data_are_those_of_the_data():
    data = trajectories((6, 3, 6))
    padded = G.pad(data, n_node=80, n_edge=100, n_graph=20)
    for a, b in zip(G.chunks(padded, 6, 3), G.chunks(data, 6, 3), strict=True):
        same(a, b)


@pytest.mark.parametrize("size", [1, 3, 12])
def test_padded_data_give_good_pieces_and_lose_nothing(unequal, size):
    """Padding in the data may fill a whole chunk, which `check` would refuse."""
    padded = G.pad(unequal, n_node=50, n_edge=60, n_graph=15)
    pieces = list(G.chunks(padded, size))
    for piece in pieces:
        hgn.check(piece)
    same(G.batch([g for p in pieces for g in G.unbatch(p)]), unequal)


# Padding


@pytest.mark.parametrize(("nodes", "edges", "graphs_"), [(50, 60, 20), (38, 52, 13), (38, 60, 20)])
def test_pad_follows_jraph(unequal, nodes, edges, graphs_):
    assert (len(unequal.nodes["mass"]), len(unequal.senders)) == (37, 52)
    ours = G.pad(unequal, n_node=nodes, n_edge=edges, n_graph=graphs_)
    same_values(ours, jraph.pad_with_graphs(unequal, nodes, edges, graphs_))


def test_pad_follows_jraph_for_booleans_and_matrices():
    graph = snapshots(3, 2)
    graph = graph._replace(
        nodes=graph.nodes | {"fixed": jnp.ones(6, bool)},
        globals=graph.globals | {"cell": jr.normal(jr.key(0), (2, 2, 2))},
    )
    ours = G.pad(graph, n_node=9, n_edge=10, n_graph=5)
    same_values(ours, jraph.pad_with_graphs(graph, 9, 10, 5))
