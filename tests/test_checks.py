import ase
import jax
import jax.numpy as jnp
import jax.random as jr
import jraph
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.graphs.schema import require

FRAMES = 4
# Edges of every frame, in order: three bodies joined to one another, a fourth to the third.
PAIRS = np.array([(0, 1), (1, 2), (2, 0), (2, 3)])
EDGES = [*map(tuple, PAIRS.tolist()), *((b, a) for a, b in PAIRS.tolist())]
SHIFT = np.array([(0, 0), (1, 0), (0, -2), (0, 0)])


@pytest.fixture(scope="module")
def clean():
    """Four frames of four bodies in the plane, with every known array."""
    q, p, v, f = np.asarray(jr.normal(jr.key(3), (4, FRAMES, 4, 2)))
    both = np.concatenate([PAIRS, PAIRS[:, ::-1]])
    offset = 4 * np.arange(FRAMES)[:, None]
    graphs = hgn.graphs.from_pairs(q[0], PAIRS)._replace(
        nodes={
            "position": q, "momentum": p, "velocity": v, "force": f, "mass": np.ones((FRAMES, 4)),
            "weight": np.ones((FRAMES, 4)), "species": np.zeros((FRAMES, 4), int),
            "fixed": np.zeros((FRAMES, 4), bool),
        },
        edges={
            "shift": np.tile(np.concatenate([SHIFT, -SHIFT]), (FRAMES, 1, 1)),
            "coupling": np.tile([1.0, 2, 3, 4], (FRAMES, 2)),
            "type": np.tile([0, 1, 0, 2], (FRAMES, 2)),
        },
        senders=(offset + both[:, 0]).ravel(),
        receivers=(offset + both[:, 1]).ravel(),
        globals={
            "energy": np.zeros(FRAMES), "time": np.arange(4.0), "trajectory": np.arange(4),
            "cell": np.tile(5 * np.eye(2), (FRAMES, 1, 1)), "stress": np.ones((FRAMES, 2, 2)),
        },
        n_node=np.full(FRAMES, 4, np.int32),
        n_edge=np.full(FRAMES, 8, np.int32),
    )  # fmt: skip
    return graphs._replace(
        nodes={k: a.reshape(-1, *a.shape[2:]) for k, a in graphs.nodes.items()},
        edges={k: a.reshape(-1, *a.shape[2:]) for k, a in graphs.edges.items()},
    )


def changed(graphs, part, name, where, value):
    array = np.array(getattr(graphs, part)[name])
    array[where] = value
    return graphs._replace(**{part: getattr(graphs, part) | {name: array}})


def without(graphs, part, name):
    rest = {k: a for k, a in getattr(graphs, part).items() if k != name}
    return graphs._replace(**{part: rest})


def drop_edge(graphs, e):
    n_edge = np.array(graphs.n_edge)
    n_edge[e // 8] -= 1
    return graphs._replace(
        edges={k: np.delete(a, e, axis=0) for k, a in graphs.edges.items()},
        senders=np.delete(graphs.senders, e),
        receivers=np.delete(graphs.receivers, e),
        n_edge=n_edge,
    )


def refused(graphs, words):
    with pytest.raises(ValueError, match=words):
        hgn.check(graphs)


# What passes


def test_clean_batches_pass(clean, data):
    assert hgn.check(clean) is None
    assert hgn.check(jax.tree.map(jnp.asarray, clean)) is None
    assert hgn.check(data) is None


def test_bare_graphs_pass(clean, cube):
    bare = clean._replace(
        nodes={k: clean.nodes[k] for k in ("position", "momentum", "mass")}, edges={}, globals={}
    )
    for graphs in (bare, cube, hgn.graphs.chain(1)):
        assert hgn.check(graphs) is None


@pytest.mark.parametrize(("nodes", "edges", "graphs_"), [(17, 32, 6), (20, 40, 6), (20, 40, 9)])
def test_padding_is_accepted(clean, nodes, edges, graphs_):
    assert hgn.check(hgn.graphs.pad(clean, n_node=nodes, n_edge=edges, n_graph=graphs_)) is None


def test_faults_are_found_in_a_padded_batch(clean):
    padded = hgn.graphs.pad(clean, n_node=20, n_edge=40, n_graph=7)
    refused(changed(padded, "nodes", "mass", 14, 0.0), "frame 3, node 2")
    refused(
        changed(padded, "edges", "coupling", 25, 9.0),
        r"frame 3: .*coupling.*(1 -> 2 and|2 -> 1 and)",
    )


def test_a_massless_graph_between_others_is_not_padding(clean):
    refused(changed(clean, "nodes", "mass", slice(4, 8), 0.0), "frame 1, node 0 .4 in all")


def test_order_of_edges_does_not_matter(clean):
    order = np.concatenate([8 * g + np.random.default_rng(g).permutation(8) for g in range(FRAMES)])
    shuffled = clean._replace(
        edges={k: a[order] for k, a in clean.edges.items()},
        senders=clean.senders[order],
        receivers=clean.receivers[order],
    )
    assert hgn.check(shuffled) is None


def test_two_images_of_one_neighbour_are_two_pairs(clean):
    graph = hgn.graphs.chain(2, dimension=2)
    shift = np.array([(0, 0), (1, 0), (0, 0), (-1, 0)])
    images = graph._replace(
        edges={"shift": shift, "type": np.array([0, 1, 0, 1])},
        senders=np.array([0, 0, 1, 1]),
        receivers=np.array([1, 1, 0, 0]),
        n_edge=np.array([4]),
        globals={"cell": 3 * np.eye(2)[None]},
    )
    assert hgn.check(images) is None


# Keys, shapes, types


def test_positions_alone_are_required(clean):
    words = r'a graph needs nodes\["position"\]. The data hold nodes \[.*\'force\'.*edges.*globals'
    refused(without(clean, "nodes", "position"), words)
    alone = {"position": clean.nodes["position"]}
    assert hgn.check(clean._replace(nodes=alone)) is None


@pytest.mark.parametrize(
    ("part", "name", "near"),
    [("nodes", "velocities", "velocity"), ("edges", "couplings", "coupling"),
     ("globals", "stresses", "stress")],
)  # fmt: skip
def test_the_nearest_known_key_is_suggested(clean, part, name, near):
    odd = clean._replace(**{part: getattr(clean, part) | {name: np.zeros(16)}})
    refused(odd, rf"{part} has unknown keys \['{name}'\] \(did you mean '{near}'\?\)")


def test_what_is_required_is_named_beside_what_there_is(clean):
    held = clean._replace(nodes={"position": clean.nodes["position"], "velocitys": None})
    needed = {"nodes": ["position", "velocity"], "edges": ["type", "kind"]}
    words = (
        r"a fit needs nodes\[.velocity.\] \('velocitys': did you mean 'velocity'\?\), "
        r"edges\[.kind.\]. The data hold nodes \['position', 'velocitys'\]; edges \['coupling'"
    )
    with pytest.raises(ValueError, match=words):
        require(held, needed, "a fit")
    assert require(clean, {"nodes": ["mass"], "edges": ["type"]}, "a fit") is None
    with pytest.raises(ValueError, match="jit needs nodes"):
        jax.jit(lambda g: require(g, {"nodes": ["stress"]}, "jit"))(clean)


@pytest.mark.parametrize("part", ["nodes", "edges", "globals"])
def test_unknown_keys_are_named_beside_the_known_ones(clean, part):
    odd = clean._replace(**{part: getattr(clean, part) | {"forces": np.zeros(16)}})
    known = {"nodes": "force", "edges": "coupling", "globals": "energy"}[part]
    refused(odd, rf"{part} has unknown keys \['forces'\].*; known are .*'{known}'")


@pytest.mark.parametrize(
    "part_and_name",
    [("nodes", k) for k in ("momentum", "velocity", "force", "mass", "weight", "species", "fixed")]
    + [("edges", k) for k in ("shift", "coupling", "type")]
    + [("globals", k) for k in ("energy", "cell", "stress", "time", "trajectory")],
)
def test_arrays_of_wrong_shape_are_named(clean, part_and_name):
    part, name = part_and_name
    array = getattr(clean, part)[name]
    for wrong in (array[:-1], array[..., None]):
        odd = clean._replace(**{part: getattr(clean, part) | {name: wrong}})
        size = ", ".join(map(str, wrong.shape))
        refused(odd, rf"{part}\['{name}'\] must be \[.*got \({size},?\)")


def test_positions_need_two_axes(clean):
    nodes = clean.nodes | {"position": clean.nodes["position"].ravel()}
    refused(clean._replace(nodes=nodes), r"position.* must be \[n d\], got \(32,\)")


@pytest.mark.parametrize(
    ("part", "name"), [("nodes", "species"), ("edges", "type"), ("globals", "trajectory")]
)
def test_labels_must_be_integers(clean, part, name):
    labels = getattr(clean, part)[name].astype(float)
    odd = clean._replace(**{part: getattr(clean, part) | {name: labels}})
    refused(odd, rf"{part}\['{name}'\] must hold integers, got float64")


@pytest.mark.parametrize("dtype", [int, float])
def test_fixed_must_be_boolean(clean, dtype):
    odd = clean._replace(nodes=clean.nodes | {"fixed": clean.nodes["fixed"].astype(dtype)})
    refused(odd, "fixed")


@pytest.mark.parametrize("name", ["senders", "receivers"])
def test_node_numbers_must_be_integers(clean, name):
    refused(clean._replace(**{name: getattr(clean, name).astype(float)}), name)


@pytest.mark.parametrize("part", ["nodes", "edges", "globals"])
@pytest.mark.parametrize("value", [None, np.zeros((16, 2))])
def test_parts_must_be_dicts(clean, part, value):
    refused(clean._replace(**{part: value}), "must be dicts")


@pytest.mark.parametrize("name", ["n_node", "n_edge"])
def test_counts_must_sum_to_the_arrays(clean, name):
    odd = np.array(getattr(clean, name))
    odd[2] += 1
    total = {"n_node": "17 and 32", "n_edge": "16 and 33"}[name]
    words = f"sum to {total}, but there are 16 nodes and 32 edges"
    refused(clean._replace(**{name: odd}), words)


def test_counts_must_not_be_negative(clean):
    refused(clean._replace(n_node=np.array([4, 9, -1, 4])), "n_node")


def test_senders_and_receivers_must_be_as_many(clean):
    refused(clean._replace(receivers=clean.receivers[:-1]), "32 senders but 31 receivers")


@pytest.mark.parametrize(
    ("part", "name", "value", "words"),
    [
        ("nodes", "position", [[0.0, 1.0]] * 16, r"nodes\['position'\] must be an array, got list"),
        ("nodes", "mass", 1.0, r"nodes\['mass'\] must be an array, got float 1.0"),
        ("globals", "time", None, r"globals\['time'\] must be an array, got None"),
    ],
)
def test_what_is_no_array_is_named(clean, part, name, value, words):
    refused(clean._replace(**{part: getattr(clean, part) | {name: value}}), words)


@pytest.mark.parametrize("name", ["senders", "receivers", "n_node", "n_edge"])
def test_counts_and_indices_must_be_arrays_of_one_axis(clean, name):
    refused(clean._replace(**{name: None}), f"{name} must be an array, got None")
    refused(clean._replace(**{name: [4, 4, 4, 4]}), f"{name} must be an array, got list")
    axis = "g" if name.startswith("n_") else "e"
    refused(clean._replace(**{name: np.array(4)}), rf"{name} must be \[{axis}\], got shape \(\)")


@pytest.mark.parametrize("name", ["position", "momentum", "force", "mass", "weight"])
def test_mixed_precisions_are_refused(clean, name):
    odd = clean._replace(nodes=clean.nodes | {name: clean.nodes[name].astype("float32")})
    with pytest.raises(ValueError, match=r"is float(32|64) but nodes\['position'\] is float") as e:
        hgn.check(odd)
    assert name == "position" or f"nodes['{name}'] is float32" in str(e.value)
    all_single = jax.tree.map(lambda a: a.astype("f4") if a.dtype == float else a, clean)
    assert hgn.check(all_single) is None


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
def test_half_precision_is_refused(clean, dtype):
    half = jax.tree.map(lambda a: a.astype(dtype) if a.dtype == float else a, clean)
    refused(half, rf"is {np.dtype(dtype)}, too coarse .* convert it to float32 or float64")


@pytest.mark.parametrize("part_and_name", [("nodes", "position"), ("globals", "time")])
def test_complex_numbers_are_refused(clean, part_and_name):
    part, name = part_and_name
    odd = getattr(clean, part) | {name: getattr(clean, part)[name].astype(complex)}
    refused(clean._replace(**{part: odd}), rf"{part}\['{name}'\] is complex")


# Frames without bodies


def without_frame(graphs, frame):
    """Merges the nodes and edges of a frame into the frame before."""
    n_node, n_edge = np.array(graphs.n_node), np.array(graphs.n_edge)
    for count in (n_node, n_edge):
        count[frame - 1] += count[frame]
        count[frame] = 0
    return graphs._replace(n_node=n_node, n_edge=n_edge)


@pytest.mark.parametrize("frame", [1, 2, 3])
def test_frames_without_bodies_are_named(clean, frame):
    """Also the last frame: without bodies it would turn the frame before into padding."""
    refused(without_frame(clean, frame), f"frame {frame} has no bodies")


def test_a_frame_at_rest_in_the_origin_with_edges_is_no_padding(clean):
    odd = changed(without_frame(clean, 3), "nodes", "position", slice(8, 16), 0.0)
    refused(odd, "frame 3 has no bodies. .* frame 2 before it is not padding as hgn.graphs.pad")


def test_a_batch_of_padding_alone_is_refused():
    graph = hgn.graphs.pad(hgn.graphs.chain(2), n_node=4, n_edge=3, n_graph=3)
    alone = jax.tree.map(lambda a: np.asarray(a)[1:], graph)
    alone = alone._replace(
        nodes={k: np.asarray(v)[2:] for k, v in graph.nodes.items()},
        senders=np.zeros(1, int), receivers=np.zeros(1, int),
    )  # fmt: skip
    refused(alone, "the batch has no bodies")


def test_jraphs_padding_without_an_empty_graph_is_explained(clean):
    padded = jraph.pad_with_graphs(clean, 20, 40, FRAMES + 1)
    refused(padded, "frame 4: edge 0 -> 0 joins a node to itself. Padding needs an empty graph")
    assert hgn.check(jraph.pad_with_graphs(clean, 20, 40, FRAMES + 2)) is None


# Values


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["position", "momentum", "velocity", "force", "mass", "weight"])
def test_node_values_that_are_not_finite_are_located(clean, name, bad):
    # Frames have four nodes each: node 11 is frame 2, node 3.
    where = 11 if clean.nodes[name].ndim == 1 else (11, 1)
    refused(
        changed(clean, "nodes", name, where, bad),
        rf"nodes\['{name}'\] is NaN or Inf in frame 2, node 3 \(1 in all",
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["coupling"])
def test_edge_values_that_are_not_finite_are_located(clean, name, bad):
    edges = clean.edges | {name: clean.edges[name].astype(float)}
    refused(
        changed(clean._replace(edges=edges), "edges", name, 21, bad),
        rf"edges\['{name}'\] is NaN or Inf in frame 2, edge 5",
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["energy", "cell", "time"])
def test_global_values_that_are_not_finite_are_located(clean, name, bad):
    refused(
        changed(clean, "globals", name, 3, bad), rf"globals\['{name}'\] is NaN or Inf in frame 3"
    )


def test_entries_that_are_not_finite_are_counted(clean):
    odd = changed(clean, "nodes", "force", (slice(6, 9), 0), np.nan)
    refused(odd, r"frame 1, node 2 \(3 in all")


def test_nodes_are_counted_from_the_start_of_their_own_graph():
    graphs = [hgn.graphs.chain(n, dimension=2) for n in (3, 1, 5)]
    whole = graphs[0]._replace(
        nodes={k: np.concatenate([g.nodes[k] for g in graphs]) for k in graphs[0].nodes},
        senders=np.concatenate([np.asarray(g.senders) + k for g, k in zip(graphs, (0, 3, 4))]),
        receivers=np.concatenate([np.asarray(g.receivers) + k for g, k in zip(graphs, (0, 3, 4))]),
        n_node=np.array([3, 1, 5]),
        n_edge=np.array([4, 0, 8]),
    )
    assert hgn.check(whole) is None
    refused(changed(whole, "nodes", "momentum", (7, 0), np.nan), "frame 2, node 3 ")
    refused(changed(whole, "nodes", "mass", 3, 0), "frame 1, node 0 ")
    refused(
        changed(whole, "nodes", "position", 5, whole.nodes["position"][4]),
        "frame 2: edge 0 -> 1 has length zero",
    )


@pytest.mark.parametrize("bad", [0.0, -2.5])
def test_masses_that_are_not_positive_are_located(clean, bad):
    refused(
        changed(clean, "nodes", "mass", 11, bad),
        rf"mass.* must be positive; it is {bad} in frame 2, node 3 \(1 in all",
    )


# Edges


@pytest.mark.parametrize("name", ["senders", "receivers"])
@pytest.mark.parametrize("node", [-1, 16, 3, 12])
def test_edges_out_of_their_graph_are_located(clean, name, node):
    """Nodes that do not exist, and nodes of another frame."""
    index = np.array(getattr(clean, name))
    index[18] = node
    refused(clean._replace(**{name: index}), rf"{name} of edge .* node {node}, .*frame 2\)")


@pytest.mark.parametrize("e", range(8))
def test_the_edge_without_its_reverse_is_named(clean, e):
    plain = clean._replace(edges={}, globals={})
    b, a = EDGES[e]
    refused(drop_edge(plain, 16 + e), f"^frame 2: edge {a} -> {b} has no reverse edge$")


@pytest.mark.parametrize("missing", [(0, 1), (3, 7), (6, 4)])
def test_the_edge_without_its_reverse_is_named_in_a_lattice(cube, missing):
    a, b = missing
    keep = ~((np.asarray(cube.senders) == a) & (np.asarray(cube.receivers) == b))
    odd = cube._replace(
        senders=cube.senders[keep], receivers=cube.receivers[keep], n_edge=np.array([23])
    )
    refused(odd, f"^frame 0: edge {b} -> {a} has no reverse edge$")


@pytest.mark.parametrize("e", range(8))
@pytest.mark.parametrize(("name", "value"), [("coupling", -1.0), ("coupling", 9.0), ("type", 7)])
def test_directions_that_differ_are_named(clean, name, value, e):
    a, b = EDGES[e]
    words = rf"^frame 2: edges\['{name}'\] differs between ({a} -> {b} and|{b} -> {a} and)"
    refused(changed(clean, "edges", name, 16 + e, value), words)


@pytest.mark.parametrize("e", range(8))
@pytest.mark.parametrize("shift", [(1, 1), (-3, 0)])
def test_a_shift_without_its_opposite_is_named(clean, shift, e):
    a, b = EDGES[e]
    words = f"^frame 2: edge ({a} -> {b}|{b} -> {a}) has no reverse edge$"
    refused(changed(clean, "edges", "shift", 16 + e, shift), words)


def test_equal_shifts_of_both_directions_are_refused(clean):
    odd = changed(clean, "edges", "shift", slice(20, 24), clean.edges["shift"][16:20])
    refused(odd, "^frame 2: edge (1 -> 2|2 -> 1|2 -> 0|0 -> 2) has no reverse edge$")


def test_shifts_need_a_cell(clean):
    refused(without(clean, "globals", "cell"), r'^edges\["shift"\] requires globals\["cell"\]$')


def test_a_cell_needs_shifts_beside_it(clean):
    refused(without(clean, "edges", "shift"), "edges carry no `shift`: use hgn.graphs.radius")
    alone = clean._replace(
        edges={}, senders=clean.senders[:0], receivers=clean.receivers[:0], n_edge=0 * clean.n_edge
    )
    assert hgn.check(alone) is None


def test_models_refuse_periodic_edges_without_shifts_inside_jit_as_well(clean, springs):
    bare = jax.tree.map(jnp.asarray, without(clean, "edges", "shift"))
    for evaluate in (springs, jax.jit(springs)):
        with pytest.raises(ValueError, match="edges carry no `shift`"):
            evaluate(bare)


def test_shifts_must_be_whole(clean):
    half = clean._replace(edges=clean.edges | {"shift": clean.edges["shift"] / 2})
    refused(half, r"edges\['shift'\] must hold integers, got float64")


def test_singular_cells_are_named(clean):
    refused(changed(clean, "globals", "cell", 2, np.ones((2, 2))), "of frame 2 is singular")
    refused(changed(clean, "globals", "cell", 1, np.zeros((2, 2))), "of frame 1 is singular")


def test_two_joined_bodies_in_one_place_are_named(clean):
    odd = changed(clean, "nodes", "position", 11, clean.nodes["position"][10])
    refused(odd, "frame 2: edge (2 -> 3|3 -> 2) has length zero: two bodies at the same position")


def test_bodies_in_one_place_that_are_not_joined_pass(clean):
    same = changed(clean, "nodes", "position", 11, clean.nodes["position"][8])
    assert hgn.check(same) is None


def test_joined_bodies_whose_images_coincide_are_named(clean):
    position = clean.nodes["position"].copy()
    position[8:12] = [(0.5, 0), (0.5, 1), (4.5, 1), (2, 2)]
    images = clean._replace(nodes=clean.nodes | {"position": position})
    assert hgn.check(images) is None
    # Edge 1 -> 2 has the shift (1, 0): with a cell of -4 it ends where it began.
    odd = changed(images, "globals", "cell", 2, -4 * np.eye(2))
    refused(odd, "frame 2: edge (1 -> 2|2 -> 1) has length zero: two bodies at the same position")


def test_bodies_in_one_place_joined_through_the_boundary_pass(clean):
    same = changed(clean, "nodes", "position", 9, clean.nodes["position"][10])
    assert hgn.check(same) is None


def test_self_loops_are_refused(clean):
    plain = clean._replace(edges={}, globals={})
    senders, receivers = np.array(plain.senders), np.array(plain.receivers)
    senders[[18, 22]] = receivers[[18, 22]] = 9
    refused(
        plain._replace(senders=senders, receivers=receivers),
        "frame 2: edge 1 -> 1 joins a node to itself",
    )


# Where it runs


def test_inside_jit_it_says_so(clean):
    with pytest.raises(ValueError, match="outside of jit"):
        jax.jit(hgn.check)(clean)


def test_a_fit_checks_its_data(data, specs):
    force = data.nodes["force"].at[8 * 2 + 3, 1].set(jnp.nan)
    odd = data._replace(nodes=data.nodes | {"force": force})
    with pytest.raises(ValueError, match="frame 2, node 3"):
        hgn.fit(odd, key=jr.key(0), terms=specs)


def test_a_pair_that_stands_twice_is_named():
    graph = hgn.graphs.chain(3)
    doubled = graph._replace(
        senders=jnp.array([0, 0, 1, 1, 1, 2]),
        receivers=jnp.array([1, 1, 2, 0, 0, 1]),
        n_edge=jnp.array([6]),
    )
    with pytest.raises(ValueError, match=r"^frame 0: duplicate edge 0 -> 1$"):
        hgn.check(doubled)


def test_negative_weights_are_named():
    graph = hgn.graphs.chain(3)
    graph = graph._replace(nodes=graph.nodes | {"weight": jnp.array([1.0, 1.0, -0.5])})
    with pytest.raises(ValueError, match="negative in frame 0, node 2"):
        hgn.check(graph)


def test_massless_data_are_not_taken_for_padding():
    graph = hgn.graphs.chain(3)
    massless = graph._replace(nodes=graph.nodes | {"mass": jnp.zeros(3)})
    with pytest.raises(ValueError, match="must be positive"):
        hgn.check(massless)
    with pytest.raises(ValueError, match="frame 1, node 0"):
        hgn.check(hgn.graphs.batch([graph, massless]))


@pytest.mark.parametrize("part, name, count", [("edges", "type", 4), ("nodes", "species", 3)])
def test_negative_kinds_are_named(part, name, count):
    graph = hgn.graphs.chain(3)
    arrays = getattr(graph, part) | {name: -jnp.ones(count, jnp.int32)}
    with pytest.raises(ValueError, match=f"{name}'.*negative in frame 0"):
        hgn.check(graph._replace(**{part: arrays}))


# What is no graph


class State:
    """Like the states of jax-md."""

    position = momentum = mass = jnp.zeros((4, 3))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([ase.Atoms("Cu")], r"got a list of Atoms: hgn\.read\(atoms, cutoff=5\.0\)"),
        (ase.Atoms("Cu"), r"got Atoms: hgn\.read\(atoms"),
        ("argon.xyz", r"got str: hgn\.read\(path"),
        (State(), r"got State: stack .* hgn\.graphs\.from_trajectories\(times, position, momentum"),
        ([State()], "got a list of State: stack the positions"),
        ([hgn.graphs.chain(2)], r"got a list of GraphsTuple: hgn\.graphs\.batch"),
        (np.zeros((3, 2)), r"got ndarray: see hgn\.read"),
    ],
)
def test_what_is_no_graph_is_told_what_to_call(value, words, no_type_checks):
    for use in (hgn.check, lambda data: hgn.fit(data, key=0)):
        with pytest.raises(ValueError, match=f"data must be a jraph GraphsTuple, {words}"):
            use(value)
    with pytest.raises(ValueError, match=f"the start must be a jraph GraphsTuple, {words}"):
        hgn.rollout(hgn.systems.mass_spring("spring"), value, [0.0, 1.0], dt=0.1)


def test_a_rollout_is_no_data_set(springs, cube, no_type_checks):
    path = hgn.rollout(springs, cube, [0.0, 0.1], dt=0.1)
    with pytest.raises(ValueError, match=r"got Trajectory: hgn\.graphs\.from_trajectories\(path"):
        hgn.fit(path, key=0)
