import itertools

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jraph
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax import graphs as G
from hgn_jax.graphs import geometry
from hgn_jax.graphs.pieces import packs
from hgn_jax.models import differentiated


def directed(graph):
    return list(zip(np.asarray(graph.senders).tolist(), np.asarray(graph.receivers).tolist()))


def pairs_at(sites, condition):
    """All pairs whose distance fulfils the condition, by brute force."""
    sites = np.asarray(sites)
    return {
        (i, j)
        for i, j in itertools.combinations(range(len(sites)), 2)
        if condition(np.linalg.norm(sites[i] - sites[j]))
    }


def assert_pairs(graph, expected):
    both = sorted(set(expected) | {(j, i) for i, j in expected})
    assert sorted(directed(graph)) == both
    assert graph.n_node.tolist() == [len(graph.nodes["mass"])]
    assert graph.n_edge.tolist() == [len(both)]


def to_jax(graphs):
    return jax.tree.map(jnp.asarray, graphs)


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def few(data):
    return G.take(data, np.arange(200) < 6)


@pytest.fixture(scope="module")
def mixed():
    """Three graphs of different size with typed edges, by hand as one batch."""
    mass = jnp.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    position = jr.normal(jr.key(5), (6, 2))
    singles = [
        G.from_pairs(position[:2], [(0, 1)], mass=mass[:2], type=jnp.array([0])),
        G.from_pairs(position[2:5], [(0, 1), (1, 2)], mass=mass[2:5], type=jnp.array([1, 2])),
        G.from_pairs(position[5:], np.zeros((0, 2), int), mass=mass[5:], type=jnp.zeros(0, int)),
    ]
    whole = singles[0]._replace(
        nodes={"position": position, "momentum": jnp.zeros((6, 2)), "mass": mass},
        edges={"type": jnp.array([0, 0, 1, 2, 1, 2])},
        senders=jnp.array([0, 1, 2, 3, 3, 4], jnp.int32),
        receivers=jnp.array([1, 0, 3, 4, 2, 3], jnp.int32),
        n_node=jnp.array([2, 3, 1], jnp.int32),
        n_edge=jnp.array([2, 4, 0], jnp.int32),
    )
    return singles, whole


# Builders


@pytest.mark.parametrize("shape", [(4,), (1,), (3, 4), (2, 2, 2), (3, 1, 2), (2, 2, 2, 2)])
@pytest.mark.parametrize("spacing", [1.0, 0.3])
def test_lattice_joins_exactly_the_pairs_one_spacing_apart(shape, spacing):
    graph = G.lattice(shape, spacing=spacing, mass=2.0)
    sites = np.asarray(graph.nodes["position"])
    grid = {tuple(spacing * np.array(s)) for s in np.ndindex(*shape)}
    assert len(sites) == len(grid) and {tuple(s) for s in sites} == grid
    assert_pairs(graph, pairs_at(sites, lambda r: abs(r - spacing) < 1e-9))
    assert len(graph.senders) == 2 * sum((k - 1) * np.prod(shape) // k for k in shape)
    assert not graph.nodes["momentum"].any()
    assert (graph.nodes["mass"] == 2).all()


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_chain_lies_on_the_first_axis_and_joins_neighbours(n, dimension):
    graph = G.chain(n, dimension=dimension, spacing=0.5)
    expected = np.zeros((n, dimension))
    expected[:, 0] = 0.5 * np.arange(n)
    np.testing.assert_array_equal(graph.nodes["position"], expected)
    assert_pairs(graph, {(i, i + 1) for i in range(n - 1)})


@pytest.mark.parametrize("n", [3, 4, 7])
@pytest.mark.parametrize("dimension", [2, 3])
def test_ring_closes_with_equal_spacing_on_a_circle_about_the_origin(n, dimension):
    graph = G.ring(n, dimension=dimension, spacing=0.7)
    sites = np.asarray(graph.nodes["position"])
    assert_pairs(graph, {tuple(sorted((i, (i + 1) % n))) for i in range(n)})
    np.testing.assert_allclose(geometry.distance(graph), 0.7, rtol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(sites, axis=1), 0.35 / np.sin(np.pi / n), rtol=1e-14)
    np.testing.assert_allclose(sites.mean(axis=0), 0, atol=1e-15)
    assert not sites[:, 2:].any()


@pytest.mark.parametrize(("n", "dimension"), [(2, 2), (5, 1)])
def test_ring_needs_three_bodies_and_two_dimensions(n, dimension):
    with pytest.raises(ValueError, match=f"got {n} and {dimension}"):
        G.ring(n, dimension=dimension)


@pytest.mark.parametrize(("n", "dimension"), [(1, 2), (2, 1), (5, 2), (8, 3), (9, 3), (27, 3)])
def test_fully_connected_joins_every_pair_of_distinct_sites(n, dimension):
    graph = G.fully_connected(n, dimension)
    assert graph.nodes["position"].shape == (n, dimension)
    assert_pairs(graph, pairs_at(graph.nodes["position"], lambda r: r > 0.99))
    assert len(graph.senders) == n * (n - 1)


def test_fully_connected_fills_a_cube_exactly():
    assert float(G.fully_connected(27, 3).nodes["position"].max()) == 2


def test_fully_connected_keeps_given_positions_and_refuses_another_shape(getkey):
    sites = jr.normal(getkey(), (4, 2))
    np.testing.assert_array_equal(G.fully_connected(4, 2, position=sites).nodes["position"], sites)
    with pytest.raises(ValueError, match=r"\(4, 3\).*\(4, 2\)"):
        G.fully_connected(4, 3, position=sites)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("cutoff", [0.01, 0.3, 5.0])
def test_radius_finds_the_pairs_of_an_all_against_all_search(dimension, cutoff, getkey):
    sites = jr.uniform(getkey(), (40, dimension))
    graph = G.radius(sites, cutoff, mass=jnp.arange(1.0, 41.0))
    assert_pairs(graph, pairs_at(sites, lambda r: r < cutoff))
    np.testing.assert_array_equal(graph.nodes["mass"], np.arange(1, 41))


def test_radius_names_the_node_that_is_not_finite():
    with pytest.raises(ValueError, match="node 2 is NaN or Inf"):
        G.radius(jnp.zeros((4, 3)).at[2, 1].set(jnp.nan), 1.0)


def test_radius_refuses_traced_positions():
    with pytest.raises(ValueError, match="concrete"):
        jax.jit(lambda x: G.radius(x, 1.0))(jnp.eye(3))


def test_from_pairs_puts_edge_arrays_on_both_directions():
    graph = G.from_pairs(
        jnp.eye(3),
        [(0, 1), (2, 1)],
        momentum=2 * jnp.eye(3),
        mass=jnp.array([1.0, 2.0, 3.0]),
        coupling=jnp.array([5.0, 7.0]),
        type=jnp.array([1, 0]),
    )
    of_edge = dict(zip(directed(graph), graph.edges["coupling"].tolist()))
    assert of_edge == {(0, 1): 5.0, (1, 0): 5.0, (2, 1): 7.0, (1, 2): 7.0}
    of_edge = dict(zip(directed(graph), graph.edges["type"].tolist()))
    assert of_edge == {(0, 1): 1, (1, 0): 1, (2, 1): 0, (1, 2): 0}
    np.testing.assert_array_equal(graph.nodes["momentum"], 2 * np.eye(3))
    np.testing.assert_array_equal(graph.nodes["mass"], [1, 2, 3])


def test_dtype_of_a_graph_follows_its_positions():
    def dtypes(position):
        graph = G.from_pairs(position, [(0, 1)], momentum=np.ones((2, 2)), mass=np.ones(2))
        return {a.dtype for a in graph.nodes.values()}

    assert dtypes(np.eye(2, dtype=np.float32)) == {jnp.dtype("float32")}
    assert dtypes(np.eye(2, dtype=np.float64)) == {jnp.dtype("float64")}
    assert dtypes(np.eye(2, dtype=int)) == {jnp.dtype("float64")}


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([(0, 1), (1, 4)], r"pair 1 \(1, 4\) .*outside 0\.\.3"),
        ([(0, 1), (2, 3), (-1, 2)], r"pair 2 .*outside 0\.\.3"),
        (np.array([(0, 1), (0, 2**32 + 1)]), r"pair 1 \(0, 4294967297\) .*outside 0\.\.3"),
        ([(0, 1), (2, 2)], "pair 1 joins node 2 to itself"),
        ([(0, 1), (1, 2), (0, 1)], r"\(0, 1\) occurs more than once"),
        ([(0, 1), (3, 2), (2, 3)], r"\(2, 3\) occurs more than once"),
    ],
)
def test_from_pairs_names_the_bad_pair(pairs, words):
    with pytest.raises(ValueError, match=words):
        G.from_pairs(jnp.eye(4), pairs)


def test_from_pairs_names_the_nearest_edge_array():
    with pytest.raises(ValueError, match=r"unknown keys \['couplings'\] \(did you mean 'coupling'"):
        G.from_pairs(jnp.eye(4), [(0, 1)], couplings=np.ones(1))


@pytest.mark.parametrize("position", [np.zeros((0, 2)), np.zeros((3, 0))])
def test_from_pairs_needs_a_body_and_a_dimension(position):
    with pytest.raises(ValueError, match="at least one body and dimension"):
        G.from_pairs(position, [])


def test_from_pairs_refuses_complex_positions():
    with pytest.raises(ValueError, match="position is complex"):
        G.from_pairs(np.eye(2) + 1j, [(0, 1)])


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, -1)])
def test_a_lattice_needs_sites_along_each_axis(shape):
    with pytest.raises(ValueError, match="at least one site along each axis"):
        G.lattice(shape)


@pytest.mark.parametrize(("n", "dimension"), [(4, 0), (0, 2)])
def test_fully_connected_needs_a_body_and_a_dimension(n, dimension):
    with pytest.raises(ValueError, match=f"got {n} and {dimension}"):
        G.fully_connected(n, dimension)


@pytest.mark.parametrize(
    "pairs", [np.array([[0, 2, 1], [1, 3, 2]]), np.array([0, 1]), np.array([[0, 1, 2, 3]])]
)
def test_from_pairs_refuses_pairs_that_are_not_p_by_two(pairs):
    with pytest.raises(ValueError, match="pairs"):
        G.from_pairs(jnp.eye(4), pairs)


def test_node_numbers_beyond_32_bits_are_not_cut_off():
    with pytest.raises(ValueError, match=r"pair 0 \(0, 4294967297\) names a node outside 0\.\.3"):
        G.from_pairs(jnp.eye(4), np.array([[0, 2**32 + 1]]))
    with pytest.raises(ValueError, match=r"pair \(2, 3\) occurs more than once"):
        G.from_pairs(jnp.eye(4), np.array([(2, 3), (3, 2)]))


def test_from_pairs_refuses_node_numbers_that_are_not_integers():
    with pytest.raises(ValueError, match="pairs"):
        G.from_pairs(jnp.eye(4), np.array([[0.5, 1.0]]))


@pytest.mark.parametrize("coupling", [np.ones(3), np.ones(1), np.float64(1.0)])
def test_from_pairs_names_an_edge_array_of_wrong_length(coupling):
    with pytest.raises(ValueError, match=r"'coupling'.*\(2\)"):
        G.from_pairs(jnp.eye(4), [(0, 1), (1, 2)], coupling=coupling)


@pytest.mark.parametrize(
    "arguments",
    [
        {"position": jnp.zeros(4)},
        {"position": jnp.zeros((2, 4, 3))},
        {"position": jnp.eye(4), "momentum": jnp.zeros((3, 4))},
        {"position": jnp.eye(4), "mass": jnp.ones(3)},
    ],
)
def test_from_pairs_refuses_wrong_shapes(arguments):
    with pytest.raises(ValueError, match=r"shape|broadcast"):
        G.from_pairs(pairs=[(0, 1)], **arguments)


# Batches


def test_batch_concatenates_and_renumbers(mixed):
    singles, whole = mixed
    assert_same(G.batch(singles), whole)


def test_batch_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        G.batch([])


@pytest.mark.parametrize("part", ["nodes", "edges", "globals"])
def test_batch_names_the_graph_whose_arrays_differ(cube, part):
    size = {"nodes": 8, "edges": 24, "globals": 1}[part]
    odd = cube._replace(**{part: getattr(cube, part) | {"extra": jnp.zeros(size)}})
    with pytest.raises(ValueError, match=f"graph 2 has {part} .*extra"):
        G.batch([cube, cube, odd])


def test_batch_names_the_graph_of_another_dimension():
    with pytest.raises(ValueError, match="graph 1"):
        G.batch([G.chain(3, dimension=2), G.chain(3, dimension=3)])


def test_unbatch_inverts_batch(mixed):
    singles, whole = mixed
    back = G.unbatch(whole)
    assert len(back) == len(singles)
    for one, other in zip(back, singles):
        assert_same(one, other)


@pytest.mark.parametrize("graphs_", [5, 7])
def test_unbatch_drops_padding(mixed, graphs_):
    singles, whole = mixed
    back = G.unbatch(to_jax(G.pad(whole, n_node=9, n_edge=11, n_graph=graphs_)))
    assert len(back) == len(singles)
    for one, other in zip(back, singles):
        assert_same(one, other)


def test_pad_appends_one_massless_graph_of_self_loops_then_empty_ones(mixed):
    padded = G.pad(mixed[1], n_node=9, n_edge=11, n_graph=6)
    assert padded.n_node.tolist() == [2, 3, 1, 3, 0, 0]
    assert padded.n_edge.tolist() == [2, 4, 0, 5, 0, 0]
    assert not padded.nodes["mass"][6:].any()
    np.testing.assert_array_equal(padded.senders[6:], padded.receivers[6:])
    assert (padded.senders[6:] >= 6).all()
    np.testing.assert_array_equal(padded.nodes["position"][:6], mixed[1].nodes["position"])


def test_pad_returns_jax_arrays(mixed):
    padded = G.pad(mixed[1], n_node=9, n_edge=11, n_graph=5)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(padded))


def test_least_padding_is_one_node_and_two_graphs(mixed):
    padded = G.pad(mixed[1], n_node=7, n_edge=6, n_graph=5)
    assert padded.n_node.tolist() == [2, 3, 1, 1, 0]
    assert padded.n_edge.tolist() == [2, 4, 0, 0, 0]


@pytest.mark.parametrize("short", ["n_node", "n_edge", "n_graph"])
def test_too_little_padding_raises_and_says_what_is_needed(mixed, short):
    least = {"n_node": 7, "n_edge": 6, "n_graph": 5}
    with pytest.raises(ValueError, match="need at least 7, 6, 5"):
        G.pad(mixed[1], **(least | {short: least[short] - 1}))


@eqx.filter_jit
def evaluated(model, graphs):
    return model(graphs), differentiated(model, graphs), model.vector_field(graphs)


def assert_padding_is_neutral(model, plain, padded, tolerance):
    g, n = len(plain.n_node), len(plain.nodes["mass"])
    leaves = (jax.tree.leaves(evaluated(model, graphs)) for graphs in (padded, plain))
    for with_padding, without in zip(*leaves):
        size = g if without.ndim == 1 else n
        np.testing.assert_allclose(with_padding[:size], without, rtol=tolerance, atol=tolerance)
        assert not with_padding[size:].any()


def test_learned_energies_and_gradients_are_unchanged_by_padding(few, fitted):
    padded = to_jax(G.pad(few, n_node=60, n_edge=170, n_graph=9))
    rounding = 1e-15 * max(float(s.cancellation) for s in fitted.solutions)
    assert rounding < 1e-7
    assert_padding_is_neutral(fitted.model, few, padded, rounding)


@pytest.mark.parametrize(
    "system",
    [
        hgn.systems.gravity(),
        hgn.systems.mass_spring("morse", external=lambda x, m: m * x[0] + jnp.sum(x**4) + 1),
    ],
)
def test_known_energies_and_gradients_are_unchanged_by_padding(system, getkey):
    graph = G.fully_connected(5, 2, mass=jnp.arange(1.0, 6.0))
    plain = hgn.systems.simulate(system, graph, key=getkey(), trajectories=3)
    padded = to_jax(G.pad(plain, n_node=20, n_edge=70, n_graph=5))
    assert_padding_is_neutral(system, plain, padded, 1e-13)


def test_a_fit_is_unchanged_by_padding(data, specs, fitted):
    padded = to_jax(G.pad(data, n_node=1700, n_edge=5000, n_graph=210))
    again = hgn.fit(padded, key=jr.key(2), terms=specs)
    assert int(again.rows) == int(fitted.rows) == 2 * 3 * 1600
    for name, range_ in fitted.trained_range.items():
        np.testing.assert_array_equal(again.trained_range[name], range_)
    for one, other in zip(again.model.terms, fitted.model.terms):
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    rates = (evaluated(result.model, data)[2] for result in (again, fitted))
    for a, b in zip(*rates):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * float(jnp.abs(b).max()))


def test_batches_padded_alike_compile_once(data, springs):
    traces = []

    @jax.jit
    def energies(graphs):
        traces.append(1)
        return springs(graphs)

    for count in (3, 5):
        part = G.take(data, np.arange(200) < count)
        padded = G.pad(part, n_node=50, n_edge=130, n_graph=7)
        np.testing.assert_allclose(
            energies(padded)[:count], part.globals["energy"], rtol=1e-13, atol=1e-15
        )
    assert len(traces) == 1


# Snapshots, splits, selections


def test_snapshots_under_jit_are_a_batch_of_single_graphs(getkey):
    graph = G.from_pairs(
        jnp.eye(3), [(0, 1), (1, 2)], mass=jnp.array([1.0, 2.0, 3.0]), type=jnp.array([0, 1])
    )
    graph = graph._replace(globals={"cell": jnp.eye(3)[None]})
    position, momentum = jr.normal(getkey(), (2, 4, 3, 3))
    time = jnp.arange(4.0)
    states = {"position": position, "momentum": momentum, "velocity": 2 * momentum}
    made = jax.jit(lambda s, t: G.snapshots(graph, s, {"time": t}))(states, time)
    singles = [
        jax.tree.map(
            np.asarray,
            graph._replace(
                nodes=graph.nodes | {k: v[i] for k, v in states.items()},
                globals=graph.globals | {"time": time[i : i + 1]},
            ),
        )
        for i in range(4)
    ]
    expected = jraph.batch_np(singles)
    assert made.senders.dtype == graph.senders.dtype
    assert jax.tree.structure(made) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(made), jax.tree.leaves(expected)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("sizes", "shapes"),
    [([60] * 5 + [15], {61}), ([600] + [60] * 9, {601, 61}), ([600] + [60] * 2, {601})],
)
def test_a_smaller_shape_is_used_if_it_saves_more_than_its_compilation(sizes, shapes):
    graphs = [G.fully_connected(n, 2, position=np.zeros((n, 2))) for n in sizes]
    pieces = list(packs(G.batch(graphs), 64))
    assert [int(piece.n_node[0]) for piece in pieces] == sizes
    assert {len(piece.nodes["position"]) for piece in pieces} == shapes


@pytest.fixture(scope="module")
def paths(data):
    """Seven trajectories of three frames."""
    part = G.take(data, np.arange(200) < 21)
    return part._replace(globals=part.globals | {"trajectory": jnp.arange(21) // 3})


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 1), (0.3, 2), (0.5, 4), (0.99, 6)])
def test_split_never_divides_a_trajectory(paths, fraction, count):
    train, test = G.split(paths, fraction, key=jr.key(0))
    a, b = (np.asarray(part.globals["trajectory"]) for part in (train, test))
    assert len(set(b)) == count
    assert not set(a) & set(b) and set(a) | set(b) == set(range(7))
    assert len(a) == 3 * (7 - count) and len(b) == 3 * count
    for part in (train, test):
        hgn.check(part)
        number = np.asarray(part.globals["trajectory"])
        chosen = np.isin(np.asarray(paths.globals["trajectory"]), number)
        np.testing.assert_array_equal(
            part.globals["energy"], np.asarray(paths.globals["energy"])[chosen]
        )


def test_split_leaves_padding_out(paths):
    nodes, edges, graphs = (len(a) for a in (paths.nodes["mass"], paths.senders, paths.n_node))
    padded = G.pad(paths, n_node=nodes + 3, n_edge=edges + 2, n_graph=graphs + 2)
    for seed in range(4):
        for part, whole in zip(*(G.split(d, 0.3, key=jr.key(seed)) for d in (padded, paths))):
            chex.assert_trees_all_equal(part, whole)


def test_split_is_reproducible_and_depends_on_the_key(paths):
    def drawn(seed):
        return frozenset(
            np.asarray(G.split(paths, 0.3, key=jr.key(seed))[1].globals["trajectory"]).tolist()
        )

    assert drawn(3) == drawn(3)
    assert len({drawn(seed) for seed in range(10)}) > 1


@pytest.mark.parametrize("fraction", [0.0, 1.0, 2.0, -1.0, np.nan])
def test_split_needs_a_fraction_between_0_and_1(paths, fraction):
    with pytest.raises(ValueError, match="fraction must be between 0 and 1, got"):
        G.split(paths, fraction, key=jr.key(0))


def test_split_needs_numbered_trajectories_and_a_key_for_several(paths):
    with pytest.raises(ValueError, match="trajectory"):
        G.split(paths._replace(globals={}), 0.5, key=jr.key(0))
    with pytest.raises(ValueError, match="drawn at random from 7 trajectories: give a seed"):
        G.split(paths, 0.5)
    chex.assert_trees_all_equal(G.split(paths, 0.5, key=3), G.split(paths, 0.5, key=jr.key(3)))


@pytest.fixture(scope="module")
def one(data):
    """A single trajectory of forty frames, a second apart."""
    part = G.take(data, np.arange(200) < 40)
    timed = {"trajectory": jnp.full(40, 3), "time": jnp.arange(40.0)}
    return part._replace(globals=part.globals | timed)


@pytest.mark.parametrize(
    ("how", "last", "first"), [({}, 29, 32), ({"gap": 0.2}, 23, 32), ({"gap": 0.0}, 30, 32)]
)
def test_one_trajectory_is_split_by_time_with_a_gap(one, how, last, first):
    train, test = G.split(one, 0.2, **how)
    np.testing.assert_array_equal(train.globals["time"], np.arange(last + 1.0))
    np.testing.assert_array_equal(test.globals["time"], np.arange(first, 40.0))
    hgn.check(train)
    np.testing.assert_array_equal(test.nodes["force"], one.nodes["force"][8 * first :])


def test_one_trajectory_that_cannot_be_split_says_why(one):
    shuffled = one._replace(globals=one.globals | {"time": one.globals["time"][::-1]})
    for data, fraction, gap, words in [
        (one, 0.5, 0.5, "gap must be from 0 to less than 1 - fraction, got 0.5"),
        (one, 0.5, -0.1, "gap must be"),
        (shuffled, 0.5, 0.1, "times of the only trajectory do not increase"),
        (G.take(one, np.arange(40) < 2), 0.5, 0.1, "2 frames are too few to split"),
    ]:
        with pytest.raises(ValueError, match=words):
            G.split(data, fraction, gap=gap)


def test_frame_is_that_of_unbatch(mixed):
    singles, whole = mixed
    for k, single in enumerate(singles):
        chex.assert_trees_all_equal(G.frame(whole, k), single)
        chex.assert_trees_all_equal(G.frame(whole, k - len(singles)), single)
    with pytest.raises(ValueError, match="there is no frame 3: the batch has 3, counted from 0"):
        G.frame(whole, 3)
    with pytest.raises(ValueError, match="the number of a frame must be at least -3"):
        G.frame(whole, -4)


@pytest.mark.parametrize("keep", list(itertools.product([False, True], repeat=3)))
def test_take_keeps_exactly_the_chosen_graphs(mixed, keep):
    singles, whole = mixed
    part = G.take(whole, np.array(keep))
    chosen = [jax.tree.map(np.asarray, g) for g, k in zip(singles, keep) if k]
    assert part.n_node.tolist() == [int(g.n_node[0]) for g in chosen]
    assert part.n_edge.tolist() == [int(g.n_edge[0]) for g in chosen]
    if chosen:
        expected = jraph.batch_np(chosen)
        for name in ("senders", "receivers"):
            np.testing.assert_array_equal(getattr(part, name), getattr(expected, name))
        np.testing.assert_array_equal(part.edges["type"], expected.edges["type"])
        for name, array in expected.nodes.items():
            np.testing.assert_array_equal(part.nodes[name], array)


def test_take_needs_one_entry_per_graph(paths):
    with pytest.raises(ValueError, match=r"\(21,\).*\(3,\)"):
        G.take(paths, np.ones(3, bool))


@pytest.mark.parametrize("keep", [[0, 1, 2], np.arange(21), np.ones(21), list("a" * 21)])
def test_take_refuses_numbers_of_graphs(paths, keep, no_type_checks):
    with pytest.raises(ValueError, match=r"keep must hold booleans, one per graph, got .*np.isin"):
        G.take(paths, keep)


# Geometry


def test_displacement_adds_the_shifted_cell_of_its_own_graph(getkey):
    position, cell = jr.normal(getkey(), (2, 2, 3, 3))
    shift = np.array([[1, 0, -2], [0, 3, 0]])
    graph = G.from_pairs(position[0], [(0, 1), (1, 2)])
    graph = graph._replace(edges={"shift": jnp.concatenate([shift, -shift])})
    both = G.snapshots(graph, {"position": position}, {"cell": cell})
    expected = []
    for x, c in zip(np.asarray(position), np.asarray(cell)):
        there = [x[1] - x[0] + shift[0] @ c, x[2] - x[1] + shift[1] @ c]
        expected += [*there, -there[0], -there[1]]
    np.testing.assert_allclose(geometry.displacement(both), expected, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(
        geometry.distance(both), np.linalg.norm(expected, axis=1), rtol=1e-13
    )


def test_norm_is_exact_and_its_gradient_is_zero_at_the_origin():
    assert float(geometry.norm(jnp.array([3.0, 4.0]))) == 5
    np.testing.assert_array_equal(jax.grad(geometry.norm)(jnp.zeros(3)), 0)
    np.testing.assert_allclose(jax.grad(geometry.norm)(jnp.array([3.0, 4.0])), [0.6, 0.8])


def test_masks_shares_and_counts_leave_padding_and_fixed_bodies_out(mixed):
    _, whole = mixed
    fixed = jnp.array([True, False, False, False, True, False])
    coupling = jnp.array([1.0, 1.0, 2.0, 3.0, 2.0, 3.0])
    whole = whole._replace(
        nodes=whole.nodes | {"fixed": fixed, "momentum": jnp.ones((6, 2))},
        edges={"coupling": coupling},
    )
    padded = to_jax(G.pad(whole, n_node=8, n_edge=9, n_graph=5))
    assert geometry.node_mask(padded).tolist() == [True] * 6 + [False] * 2
    assert geometry.edge_mask(padded).tolist() == [True] * 6 + [False] * 3
    assert geometry.movable(padded).tolist() == [False, True, True, True, False, True] + [False] * 2
    assert geometry.edge_share(padded).tolist() == [0.5, 0.5, 1, 1.5, 1, 1.5, 0, 0, 0]
    assert geometry.bodies(padded).tolist() == [2, 3, 1, 0, 0]
    assert geometry.graph_index(padded).tolist() == [0, 0, 1, 1, 1, 2, 3, 3]
    np.testing.assert_allclose(geometry.velocity_of(padded)[:6, 0], 1 / np.arange(1, 7))
    assert not geometry.velocity_of(padded)[6:].any()
    assert geometry.distance(padded)[6:].tolist() == [1, 1, 1]
