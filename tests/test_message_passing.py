import dataclasses
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import stats

import hgn_jax as hgn
from hgn_jax.features.local_frame import local_coordinates


def bodies(n, d, seed):
    """n bodies in general position, each joined to the next two."""
    rng = np.random.default_rng(seed)
    pairs = {tuple(sorted((i, (i + k) % n))) for i in range(n) for k in (1, 2)}
    pairs = [pair for pair in sorted(pairs) if pair[0] != pair[1]]
    position, momentum = rng.normal(size=(2, n, d)) * 2 + 1
    mass = rng.uniform(0.5, 2, n)
    return hgn.graphs.from_pairs(position, pairs, momentum=momentum, mass=mass)


def joined(one, two):
    """Two graphs as one batch."""
    n = len(one.nodes["mass"])
    return one._replace(
        nodes={k: jnp.concatenate([v, two.nodes[k]]) for k, v in one.nodes.items()},
        senders=jnp.concatenate([one.senders, two.senders + n]),
        receivers=jnp.concatenate([one.receivers, two.receivers + n]),
        n_node=jnp.concatenate([one.n_node, two.n_node]),
        n_edge=jnp.concatenate([one.n_edge, two.n_edge]),
    )


GRAPHS = {d: joined(bodies(5, d, 1), bodies(d + 1, d, 2)) for d in (2, 3)}


def encoder(d, **options):
    return hgn.sample([hgn.MessagePassing(5, hidden=3, **options)], GRAPHS[d], key=jr.key(0))[0]


FEATURES = {d: encoder(d) for d in GRAPHS}
PRINCIPAL = {d: encoder(d, frame="principal") for d in GRAPHS}
READINGS = {
    "plane": FEATURES[2],
    "sender": FEATURES[3],
    "receiver too": encoder(3, sees_receiver=True),
    "messages only": encoder(3, pools_nodes=False),
    "both": encoder(3, sees_receiver=True, pools_nodes=False),
    "principal axes": PRINCIPAL[3],
    "principal axes of the plane": PRINCIPAL[2],
}
each_dimension = pytest.mark.parametrize("d", GRAPHS)


def moved(graphs, **nodes):
    return graphs._replace(nodes=graphs.nodes | nodes)


@eqx.filter_jit
def evaluate(features, graphs):
    """Phi, its gradient, and the gradient by automatic differentiation."""

    def total(q, p):
        return jnp.sum(features(moved(graphs, position=q, momentum=p)), axis=0)

    both = jax.jacrev(total, (0, 1))(graphs.nodes["position"], graphs.nodes["momentum"])
    return features(graphs), features.gradient(graphs), [jnp.moveaxis(a, 0, 2) for a in both]


values = eqx.filter_jit(lambda features, graphs: features(graphs))
gradient_of = eqx.filter_jit(lambda features, graphs: features.gradient(graphs))
local = eqx.filter_jit(
    lambda graphs: local_coordinates(graphs, graphs.nodes["position"], graphs.nodes["momentum"])
)


def rigidly_moved(graphs, orthogonal, translation):
    q, p = (np.asarray(graphs.nodes[k]) for k in ("position", "momentum"))
    position, momentum = q @ orthogonal.T + translation, p @ orthogonal.T
    return moved(graphs, position=jnp.asarray(position), momentum=jnp.asarray(momentum))


def permuted(graph, order):
    """One graph with its bodies renumbered."""
    place = np.argsort(order)
    nodes = {k: v[order] for k, v in graph.nodes.items()}
    senders, receivers = (jnp.asarray(place[x]) for x in (graph.senders, graph.receivers))
    return graph._replace(nodes=nodes, senders=senders, receivers=receivers)


def frame_by_hand(arm):
    """Rows: the nearest body's direction; then that turned by 90 degrees (2-D), or Gram-Schmidt on
    the next nearest."""
    if arm.shape[1] == 2:
        x, y = min(arm, key=np.linalg.norm)
        return np.array([[x, y], [-y, x]]) / np.hypot(x, y)
    axes = []
    for k in np.argsort(np.linalg.norm(arm, axis=1))[: arm.shape[1]]:
        axis = arm[k] - sum((arm[k] @ e * e for e in axes), np.zeros(arm.shape[1]))
        axes.append(axis / np.linalg.norm(axis))
    return np.array(axes)


def frames_by_hand(features, arm):
    if features.frame == "nearest":
        return [frame_by_hand(arm)]
    axes = np.linalg.eigh(arm.T @ arm)[1].T
    return [np.diag(s) @ axes for s in itertools.product((1, -1), repeat=len(axes))]


def encoder_by_hand(features, graph):
    def dense(layer, x):
        c, w, b = (np.asarray(a) for a in (layer.centre, layer.weight, layer.bias))
        return np.tanh((x - c) @ w + b)

    q, p = (np.asarray(graph.nodes[k]) for k in ("position", "momentum"))
    arm = q - q.mean(0)
    in_frames = [(arm @ f.T, p @ f.T) for f in frames_by_hand(features, arm)]
    return np.mean([in_frame_by_hand(features, graph, dense, *x) for x in in_frames], axis=0)


def in_frame_by_hand(features, graph, dense, q, p):
    hidden = [dense(features.node_layer, np.concatenate([a, b])) for a, b in zip(q, p)]
    messages = 0
    for i, j in zip(np.asarray(graph.senders), np.asarray(graph.receivers)):
        edge = dense(features.edge_layer, np.append(q[j] - q[i], np.linalg.norm(q[j] - q[i])))
        ends = [hidden[i], hidden[j]] if features.sees_receiver else [hidden[i]]
        messages = messages + dense(features.message_layer, np.concatenate([*ends, edge]))
    return np.concatenate([np.sum(hidden, axis=0), messages]) if features.pools_nodes else messages


@pytest.mark.parametrize("features", READINGS.values(), ids=READINGS)
def test_every_reading_equals_the_loop_and_has_its_derivative_as_gradient(features):
    graphs = GRAPHS[features.dimension]
    phi, fast, slow = evaluate(features, graphs)
    by_hand = [encoder_by_hand(features, g) for g in hgn.graphs.unbatch(graphs)]
    np.testing.assert_allclose(phi, by_hand, rtol=1e-11, atol=1e-12)
    for given, true in zip(fast, slow):
        np.testing.assert_allclose(given, true, rtol=0, atol=1e-12 * np.max(np.abs(true)))


@pytest.mark.parametrize("name, which", [("position", 0), ("momentum", 1)])
def test_gradient_is_the_slope_of_the_features(name, which):
    graphs = GRAPHS[2]
    given = np.asarray(evaluate(FEATURES[2], graphs)[1][which])
    h, start = 1e-3, np.asarray(graphs.nodes[name])
    for i, k in np.ndindex(start.shape):

        def at(steps, i=i, k=k):
            x = start.copy()
            x[i, k] += steps * h
            return np.sum(values(FEATURES[2], moved(graphs, **{name: jnp.asarray(x)})), axis=0)

        slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)
        np.testing.assert_allclose(given[i, k], slope, rtol=1e-6, atol=1e-8)


def test_gradient_is_the_derivative_with_every_smooth_activation():
    graph = bodies(3, 2, 4)
    (drawn,) = hgn.sample([hgn.MessagePassing(4, hidden=2)], graph, key=jr.key(1))
    names = {"node_layer": "erf", "edge_layer": "sigmoid", "message_layer": "sin"}
    layers = {k: dataclasses.replace(getattr(drawn, k), activation=v) for k, v in names.items()}
    _, fast, slow = evaluate(dataclasses.replace(drawn, **layers), graph)
    for given, true in zip(fast, slow):
        np.testing.assert_allclose(given, true, rtol=0, atol=1e-12 * np.max(np.abs(true)))


@each_dimension
def test_the_frame_is_orthonormal(d):
    x = np.asarray(local(GRAPHS[d]))
    for start, graph in zip((0, 5), hgn.graphs.unbatch(GRAPHS[d])):
        q, p = (np.asarray(graph.nodes[k]) for k in ("position", "momentum"))
        inside = x[start : start + len(q)].reshape(-1, d)
        true = np.stack([q - q.mean(0), p], 1).reshape(-1, d)
        np.testing.assert_allclose(inside @ inside.T, true @ true.T, rtol=1e-11, atol=1e-12)


def test_in_space_the_nearest_bodies_lie_along_the_axes_in_turn():
    q = np.asarray(local(GRAPHS[3]))[:5, :3]
    nearest = q[np.argsort(np.linalg.norm(q, axis=1))[:3]]
    np.testing.assert_allclose(np.triu(nearest, 1), 0, atol=1e-14)
    assert np.all(np.diag(nearest) > 0)


def test_in_the_plane_the_frame_keeps_the_handedness():
    q = np.asarray(GRAPHS[2].nodes["position"])[:5]
    inside = np.asarray(local(GRAPHS[2]))[:5, :2]
    nearest = np.argmin(np.linalg.norm(inside, axis=1))
    np.testing.assert_allclose(inside[nearest], [np.linalg.norm(inside[nearest]), 0], atol=1e-14)
    areas = [np.linalg.det(x[1:3] - x[0]) for x in (q, inside)]
    np.testing.assert_allclose(*areas, rtol=1e-12)


def test_in_the_plane_two_bodies_have_a_complete_frame():
    graph = bodies(2, 2, 5)
    across = np.diff(np.asarray(graph.nodes["position"]), axis=0)[0] @ [[0, 1], [-1, 0]]
    boost = np.outer([1, -1], across)
    one, two = (
        local(g)[:, 2:] for g in (graph, moved(graph, momentum=graph.nodes["momentum"] + boost))
    )
    np.testing.assert_allclose(np.linalg.norm(two - one, axis=1), np.linalg.norm(boost, axis=1))


INVARIANCES = [(3, 2, 1), (4, 2, 1), (5, 3, 1), (5, 3, -1), (3, 3, -1)]


@pytest.mark.parametrize(
    "n, d, mirror, frame",
    [(*case, "nearest") for case in INVARIANCES]
    + [(*case, "principal") for case in [*INVARIANCES, (4, 2, -1)]],
)
def test_features_are_invariant_under_rigid_motion_and_renumbering(n, d, mirror, frame):
    """Reflections are excluded for the nearest nodes in the plane."""
    rng = np.random.default_rng(n)
    graph, features = bodies(n, d, n), (FEATURES if frame == "nearest" else PRINCIPAL)[d]
    rotation = stats.special_ortho_group.rvs(d, random_state=rng)
    orthogonal = rotation @ np.diag([mirror] + [1] * (d - 1))
    changed = rigidly_moved(permuted(graph, rng.permutation(n)), orthogonal, rng.normal(size=d))
    one, two = values(features, graph), values(features, changed)
    np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-11)


def test_in_the_plane_a_mirror_image_has_other_features():
    graph = bodies(5, 2, 3)
    mirrored = rigidly_moved(graph, np.diag([1, -1]), 0)
    assert np.max(np.abs(values(FEATURES[2], graph) - values(FEATURES[2], mirrored))) > 1e-2


def test_momenta_are_seen_in_the_frame_but_not_relative_to_their_mean():
    graph = bodies(5, 3, 3)
    boosted = moved(graph, momentum=graph.nodes["momentum"] + 1)
    one, two = values(FEATURES[3], graph), values(FEATURES[3], boosted)
    assert np.max(np.abs(one - two)) > 1e-2


@pytest.mark.parametrize("frame, least, most", [("nearest", 1e-2, 10), ("principal", 0, 1e-10)])
def test_only_the_frame_of_the_nearest_body_jumps(frame, least, most):
    features = (FEATURES if frame == "nearest" else PRINCIPAL)[2]
    corners = np.array([[1.0, 0.0], [-0.4, 1.1], [-0.6, -1.1]])
    length = np.linalg.norm(corners - corners.mean(0), axis=1)
    assert np.argmin(length) == 0
    momentum = np.array([[1.0, 0.3], [0.2, -1.0], [0.5, 0.5]])

    def at(x):
        sites = corners + np.array([[x, 0.0]] * 1 + [[0.0, 0.0]] * 2)
        graph = hgn.graphs.from_pairs(sites, [(0, 1), (1, 2), (0, 2)], momentum=momentum)
        return np.linalg.norm(sites - sites.mean(0), axis=1), values(features, graph)

    low, high = 0.0, 1.0
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if np.argmin(at(middle)[0]) == 0 else (low, middle)
    assert least <= np.max(np.abs(at(high)[1] - at(low)[1])) < most


@pytest.mark.parametrize("features", [FEATURES[3], PRINCIPAL[3]], ids=["nearest", "principal"])
def test_padding_changes_no_feature_and_has_no_gradient(features):
    graphs = GRAPHS[3]
    padded = hgn.graphs.pad(graphs, n_node=13, n_edge=len(graphs.senders) + 4, n_graph=4)
    want, want_gradient, _ = evaluate(features, graphs)
    phi, gradient = values(features, padded), gradient_of(features, padded)
    np.testing.assert_allclose(phi[:2], want, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(phi[2:], 0)
    for given, true in zip(gradient, want_gradient):
        np.testing.assert_allclose(given[:9], true, rtol=1e-11, atol=1e-12)
        np.testing.assert_array_equal(given[9:], 0)


def test_what_padding_holds_never_influences_sampling():
    graphs = hgn.graphs.pad(GRAPHS[3], n_node=13, n_edge=len(GRAPHS[3].senders) + 4, n_graph=4)
    wild = {k: np.where(np.arange(13)[:, None] < 9, graphs.nodes[k], 1e6)
            for k in ("position", "momentum")}  # fmt: skip
    spec = hgn.MessagePassing(5, hidden=3)
    one, two = (hgn.sample([spec], g, key=jr.key(0)) for g in (graphs, moved(graphs, **wild)))
    assert eqx.tree_equal(one, two)


def test_constants_count_bodies_with_zero_gradient():
    def constants(q, p):
        return jnp.sum(counted(moved(GRAPHS[3], position=q, momentum=p)))

    counted = hgn.Basis((FEATURES[3],)).constants
    np.testing.assert_array_equal(counted(GRAPHS[3]), [[5], [4]])
    nodes = GRAPHS[3].nodes
    for g in jax.grad(constants, (0, 1))(nodes["position"], nodes["momentum"]):
        np.testing.assert_array_equal(g, 0)


def test_node_energies_sum_to_the_features_times_theta():
    phi, theta = values(FEATURES[3], GRAPHS[3]), jnp.arange(1.0, 9.0)
    energy = eqx.filter_jit(FEATURES[3].node_energy)(GRAPHS[3], theta)
    summed = [jnp.sum(energy[:5]), jnp.sum(energy[5:])]
    np.testing.assert_allclose(summed, phi @ theta, rtol=1e-13)


def test_bodies_outside_of_the_trained_box_are_counted():
    features, graphs = FEATURES[3], GRAPHS[3]
    x = np.asarray(local(graphs))
    np.testing.assert_allclose(features.trained_range(), np.stack([x.min(0), x.max(0)], 1), 1e-12)
    np.testing.assert_array_equal(features.out_of_range(graphs), [0, 0])
    wider = moved(graphs, momentum=1.5 * graphs.nodes["momentum"])
    x = np.asarray(local(wider))
    low, high = np.asarray(features.trained_range()).T
    out = np.any((x < low - 1e-12) | (x > high + 1e-12), axis=1)
    assert 0 < out.sum() < 9
    np.testing.assert_array_equal(features.out_of_range(wider), [out[:5].sum(), out[5:].sum()])


def test_types_couplings_and_shifts_are_not_used():
    graph = GRAPHS[3]
    e = len(graph.senders)
    edges = {"type": jnp.ones(e, jnp.int32), "coupling": jnp.full(e, 7.0)}
    more = graph._replace(edges=edges | {"shift": jnp.ones((e, 3), jnp.int32)})
    np.testing.assert_array_equal(values(FEATURES[3], graph), values(FEATURES[3], more))


def test_the_encoder_is_not_separable_and_bound_to_its_dimension():
    assert not FEATURES[3].separable
    assert [FEATURES[d].dimension for d in GRAPHS] == [2, 3]
    for slow in evaluate(FEATURES[3], GRAPHS[3])[2]:
        assert np.max(np.abs(slow)) > 1e-3


def test_a_graph_without_principal_frame_is_refused(no_type_checks):
    square = hgn.graphs.lattice((2, 2))._replace(globals={})
    graphs = hgn.graphs.batch([bodies(4, 2, 1), moved(bodies(4, 2, 2), **square.nodes)])
    spec = hgn.MessagePassing(5, hidden=3, frame="principal")
    with pytest.raises(ValueError, match="graph 1 has two principal axes of equal length"):
        hgn.sample([spec], graphs, key=0)
    with pytest.raises(ValueError, match="frame must be one of"):
        hgn.MessagePassing(frame="pca")


def test_guided_sampling_is_refused():
    with pytest.raises(ValueError, match="guided sampling needs site energies"):
        hgn.MessagePassing(sampling=hgn.SWIM(passes=2))


def test_single_precision_in_gives_single_precision_out():
    graph = jax.tree.map(
        lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, bodies(3, 2, 4)
    )
    (features,) = hgn.sample([hgn.MessagePassing(4, hidden=2)], graph, key=jr.key(0))
    arrays = features, values(features, graph), gradient_of(features, graph)
    leaves = jax.tree.leaves((arrays, hgn.Basis((features,)).constants(graph)))
    assert {a.dtype for a in leaves} == {jnp.dtype(jnp.float32)}
