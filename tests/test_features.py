import dataclasses
import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jraph import GraphsTuple
from scipy import special

import hgn_jax as hgn
from hgn_jax.features import Dense
from hgn_jax.graphs.geometry import displacement, distance, norm

SIGMA = {"tanh": np.tanh, "erf": special.erf, "sigmoid": special.expit, "sin": np.sin}


class Case(NamedTuple):
    """A graph as data sets hold it, and as plain lists of bodies and pairs to loop over."""

    graphs: GraphsTuple
    bodies: list  # (graph, position, momentum, mass)
    pairs: list  # (graph, distance, type, coupling), each pair once


def make_case(sizes, d, seed, *, rich=False):
    """Random bodies near a lattice, about half of all pairs joined.

    With `rich` there are types, couplings, fixed bodies, a skew cell with shifts, a body joined
    to its own image, and padding.
    """
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    graph = np.repeat(np.arange(len(sizes)), sizes)
    place = np.concatenate([rng.permutation(3**d)[:size] for size in sizes])
    position = np.stack(np.unravel_index(place, (3,) * d), 1) + rng.uniform(-0.3, 0.3, (n, d))
    momentum, mass = rng.normal(size=(n, d)), rng.uniform(0.5, 3.0, n)
    cell = 4 * np.eye(d) + rng.uniform(-0.5, 0.5, (len(sizes), d, d))
    links = []
    for g, end in enumerate(np.cumsum(sizes)):
        nodes = range(end - sizes[g], end)
        inside = [(i, j) for i in nodes for j in nodes if i < j]
        for i, j in [inside[k] for k in rng.permutation(len(inside))[: len(inside) // 2 + 1]]:
            links.append((g, i, j, rng.integers(-1, 2, d) * rich, rng.integers(2), rng.normal()))
        if rich:
            links.append((g, end - 1, end - 1, np.eye(d, dtype=int)[0], 1, 0.7))
    pairs = []
    for g, i, j, shift, kind, coupling in links:
        r = np.linalg.norm(position[j] - position[i] + shift @ cell[g])
        pairs.append((g, r, kind, coupling) if rich else (g, r, 0, 1.0))
    both = [(g, i, j, s, k, c) for g, i, j, s, k, c in links]
    both += [(g, j, i, -s, k, c) for g, i, j, s, k, c in links]
    both.sort(key=lambda link: link[0])
    number, senders, receivers, shift, kind, coupling = (np.array(a) for a in zip(*both))
    graphs = GraphsTuple(
        nodes={"position": jnp.asarray(position), "momentum": jnp.asarray(momentum)}
        | {"mass": jnp.asarray(mass)}
        | ({"fixed": jnp.asarray(rng.permutation(n) < 2)} if rich else {}),
        edges={"shift": jnp.asarray(shift), "type": jnp.asarray(kind, jnp.int32)}
        | {"coupling": jnp.asarray(coupling)}
        if rich
        else {},
        senders=jnp.asarray(senders),
        receivers=jnp.asarray(receivers),
        globals={"cell": jnp.asarray(cell)} if rich else {},
        n_node=jnp.asarray(sizes),
        n_edge=jnp.asarray(np.bincount(number)),
    )
    hgn.check(graphs)
    if rich:
        graphs = hgn.graphs.pad(graphs, n_node=n + 3, n_edge=len(both) + 4, n_graph=len(sizes) + 2)
        graphs = jax.tree.map(jnp.asarray, graphs)
    return Case(graphs, list(zip(graph, position, momentum, mass)), pairs)


RICH_NAME = "types, couplings, fixed, cell, padding"
CASES = {
    "one graph": make_case([5], 3, 0),
    "plane": make_case([4, 3], 2, 1),
    RICH_NAME: make_case([4, 5], 3, 2, rich=True),
}
SWIM = hgn.SWIM()
SPECS = {
    "kinetic": hgn.Kinetic(4, SWIM),
    "pair": hgn.Pair(6, SWIM),
    "external": hgn.External(2, SWIM),
}
PLAIN, PLANE, RICH = CASES.values()

each_case = pytest.mark.parametrize("case", ["plane", RICH_NAME])
each_name = pytest.mark.parametrize("name", SPECS)


@functools.cache
def features_of(case):
    drawn = hgn.sample(list(SPECS.values()), CASES[case].graphs, key=jr.key(0))
    return dict(zip(SPECS, drawn))


def draw(spec, graphs):
    return hgn.sample([spec], graphs, key=jr.key(0))[0]


def moved(graphs, **nodes):
    return graphs._replace(nodes=graphs.nodes | nodes)


def automatic_gradient(features, graphs):
    """d(sum of Phi over graphs)/d(q, p), [n d K] each."""

    def total(q, p):
        return jnp.sum(features(moved(graphs, position=q, momentum=p)), axis=0)

    both = jax.jacrev(total, (0, 1))(graphs.nodes["position"], graphs.nodes["momentum"])
    return [jnp.moveaxis(a, 0, 2) for a in both]


@eqx.filter_jit
def evaluate(features, graphs):
    """Phi, its gradient, and the gradient by automatic differentiation."""
    return features(graphs), features.gradient(graphs), automatic_gradient(features, graphs)


values = eqx.filter_jit(lambda features, graphs: features(graphs))
gradient_of = eqx.filter_jit(lambda features, graphs: features.gradient(graphs))


def facts(name, case):
    features, graphs = features_of(case)[name], CASES[case].graphs
    return evaluate(features, graphs)


def assert_same_gradient(fast, slow):
    for given, true in zip(fast, slow):
        size = np.max(np.abs(true))
        if given is None:
            assert size == 0
        else:
            np.testing.assert_allclose(given, true, atol=1e-12 * size, rtol=0)


def dense(layer, x):
    x = np.atleast_1d(x)
    return SIGMA[layer.activation]((x - np.asarray(layer.centre)) @ np.asarray(layer.weight)
                                   + np.asarray(layer.bias))  # fmt: skip


def kinetic_by_hand(features, case):
    phi = np.zeros((len(case.graphs.n_node), features.layer.bias.size + 1))
    for g, _, p, m in case.bodies:
        square = p @ p / m**2
        phi[g, :-1] += m * (dense(features.layer, square) - dense(features.layer, 0.0))
        phi[g, -1] += p @ p / (2 * m)
    return phi


def external_by_hand(features, case):
    phi = 0
    for g, q, _, m in case.bodies:
        inputs = [*q, q]  # each coordinate alone, then all of them
        alike = [dense(layer, x) for layer, x in zip(features.alike, inputs)]
        by_mass = [m * dense(layer, x) for layer, x in zip(features.by_mass, inputs)]
        row = np.concatenate([*alike, *by_mass, m * q])
        phi = phi + np.where(np.arange(len(case.graphs.n_node))[:, None] == g, row, 0)
    return phi


def pair_by_hand(features, case):
    half = features.layers[0][0].bias.size
    phi = np.zeros((len(case.graphs.n_node), 2 * half * len(features.layers)))
    for g, r, kind, coupling in case.pairs:
        near, far = features.layers[kind]
        start = 2 * half * kind
        phi[g, start : start + half] += coupling * dense(near, r)
        phi[g, start + half : start + 2 * half] += coupling * dense(far, np.log(r))
    return phi


BY_HAND = {"kinetic": kinetic_by_hand, "external": external_by_hand, "pair": pair_by_hand}


@each_name
@each_case
def test_features_equal_a_loop_over_bodies_and_pairs(name, case):
    by_hand = BY_HAND[name](features_of(case)[name], CASES[case])
    np.testing.assert_allclose(facts(name, case)[0], by_hand, rtol=1e-12, atol=1e-13)


@each_name
@each_case
def test_gradient_is_the_derivative_of_the_features(name, case):
    _, fast, slow = facts(name, case)
    assert_same_gradient(fast, slow)


@each_name
def test_separable_features_have_one_of_the_two_derivatives(name):
    sizes = [float(np.max(np.abs(j))) for j in facts(name, RICH_NAME)[2]]
    assert features_of(RICH_NAME)[name].separable
    assert min(sizes) == 0 and max(sizes) > 0


def with_activation(features, name):
    def change(part):
        return dataclasses.replace(part, activation=name) if is_layer(part) else part

    def is_layer(part):
        return isinstance(part, Dense)

    return jax.tree.map(change, features, is_leaf=is_layer)


@each_name
def test_every_smooth_activation_is_used_and_differentiated(name):
    drawn = features_of("one graph")[name]
    several = [with_activation(drawn, sigma) for sigma in SIGMA]
    together = eqx.filter_jit(lambda many, graphs: [evaluate(f, graphs) for f in many])
    for features, (phi, fast, slow) in zip(several, together(several, PLAIN.graphs)):
        by_hand = BY_HAND[name](features, PLAIN)
        np.testing.assert_allclose(phi, by_hand, rtol=1e-12, atol=1e-13)
        assert_same_gradient(fast, slow)


def test_kinetic_features_and_their_gradient_vanish_at_rest():
    features = features_of("one graph")["kinetic"]
    rest = moved(PLAIN.graphs, momentum=jnp.zeros_like(PLAIN.graphs.nodes["momentum"]))
    np.testing.assert_array_equal(values(features, rest), 0)
    np.testing.assert_array_equal(gradient_of(features, rest)[1], 0)


@pytest.mark.parametrize("units", [0, 4])
def test_the_last_kinetic_column_is_newtons_and_its_derivative_the_velocity(units):
    q, p, m = (np.asarray(PLAIN.graphs.nodes[k]) for k in ("position", "momentum", "mass"))
    features = draw(hgn.Kinetic(units), PLAIN.graphs)
    phi, (by_q, by_p) = values(features, PLAIN.graphs), gradient_of(features, PLAIN.graphs)
    assert phi.shape == (1, units + 1)
    np.testing.assert_allclose(phi[0, -1], np.sum(p**2 / m[:, None]) / 2, rtol=1e-14)
    assert by_q is None and by_p.shape == (*q.shape, units + 1)
    np.testing.assert_allclose(by_p[:, :, -1], p / m[:, None], rtol=1e-14)


def test_equal_velocities_give_kinetic_features_in_proportion_to_the_mass():
    features = features_of("one graph")["kinetic"]
    nodes = PLAIN.graphs.nodes
    heavy = moved(PLAIN.graphs, mass=3 * nodes["mass"], momentum=3 * nodes["momentum"])
    once, thrice = (values(features, graphs) for graphs in (PLAIN.graphs, heavy))
    np.testing.assert_allclose(thrice, 3 * once, rtol=1e-12)


@pytest.mark.parametrize("name", ["kinetic", "pair"])
def test_two_far_copies_in_one_graph_have_twice_the_features_and_constants(name):
    graphs, features = PLAIN.graphs, features_of("one graph")[name]
    far = moved(graphs, position=graphs.nodes["position"] + 1000)
    two = hgn.graphs.batch([graphs, far])
    two = two._replace(n_node=two.n_node.sum(keepdims=True), n_edge=two.n_edge.sum(keepdims=True))
    once = values(features, graphs)
    np.testing.assert_allclose(values(features, two), 2 * once, rtol=1e-9, atol=1e-11)
    constants = hgn.Basis((features,)).constants
    np.testing.assert_array_equal(constants(two), 2 * constants(graphs))


@each_name
def test_a_batch_has_the_features_of_its_graphs(name):
    features = features_of("plane")[name]
    apart = [values(features, g) for g in hgn.graphs.unbatch(PLANE.graphs)]
    together = facts(name, "plane")[0]
    np.testing.assert_allclose(together, np.concatenate(apart), rtol=1e-12, atol=1e-13)


def test_constants_count_couplings_by_type_or_bodies_and_nothing_for_padding():
    counts = np.zeros((4, 2))
    for g, _, kind, coupling in RICH.pairs:
        counts[g, kind] += coupling
    features = features_of(RICH_NAME)
    pair, external, kinetic = (
        hgn.Basis((features[name],)).constants(RICH.graphs)
        for name in ("pair", "external", "kinetic")
    )
    np.testing.assert_allclose(pair, counts, rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(external, [[4], [5], [0], [0]])
    assert kinetic.shape == (4, 0)


def test_the_pair_constant_is_the_number_of_pairs():
    count = hgn.Basis((features_of("one graph")["pair"],)).constants(PLAIN.graphs)
    np.testing.assert_array_equal(count, [[len(PLAIN.pairs)]])


@each_name
def test_constants_have_zero_gradient(name):
    features, nodes = features_of(RICH_NAME)[name], RICH.graphs.nodes

    def total(q, p):
        constants = hgn.Basis((features,)).constants
        return jnp.sum(constants(moved(RICH.graphs, position=q, momentum=p)))

    for g in jax.grad(total, (0, 1))(nodes["position"], nodes["momentum"]):
        np.testing.assert_array_equal(g, 0)


@each_name
def test_node_energies_sum_to_the_features_times_theta(name):
    phi = facts(name, RICH_NAME)[0]
    theta = jnp.asarray(np.random.default_rng(3).normal(size=phi.shape[1]))
    energy = np.asarray(features_of(RICH_NAME)[name].node_energy(RICH.graphs, theta))
    graph = np.repeat(np.arange(len(phi)), RICH.graphs.n_node)
    summed = np.bincount(graph, energy, minlength=len(phi))
    np.testing.assert_allclose(summed, phi @ theta, rtol=1e-12, atol=1e-12)


def test_either_end_of_a_pair_has_half_of_its_energy():
    graph = hgn.graphs.from_pairs(np.array([[0.0, 0.0], [1.0, 1.0], [5.0, 0.0]]), [(0, 1)])
    features, theta = features_of("one graph")["pair"], jnp.arange(1.0, 7.0)
    energy = features.node_energy(graph, theta)
    half = features.units_at(jnp.sqrt(jnp.array([2.0]))) @ theta / 2
    np.testing.assert_allclose(energy, [half[0], half[0], 0], rtol=1e-13)


@each_name
def test_padding_changes_no_feature_and_has_no_gradient(name):
    graphs, features = PLANE.graphs, features_of("plane")[name]
    padded = hgn.graphs.pad(graphs, n_node=10, n_edge=len(graphs.senders) + 3, n_graph=4)
    want, want_gradient, _ = facts(name, "plane")
    phi, gradient = values(features, padded), gradient_of(features, padded)
    np.testing.assert_allclose(phi[:2], want, rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(phi[2:], 0)
    for given, true in zip(gradient, want_gradient):
        if true is not None:
            np.testing.assert_allclose(given[:7], true, rtol=1e-12, atol=1e-13)
            np.testing.assert_array_equal(given[7:], 0)


@each_name
def test_padded_graphs_need_no_jit(name):
    padded = hgn.graphs.pad(PLANE.graphs, n_node=10, n_edge=30, n_graph=4)
    phi = features_of("plane")[name](padded)
    np.testing.assert_allclose(phi[:2], facts(name, "plane")[0], rtol=1e-13, atol=1e-14)


def sample_all(graphs):
    return hgn.sample(list(SPECS.values()), graphs, key=jr.key(0))  # as features_of


def test_what_padding_holds_never_influences_sampling():
    nodes = RICH.graphs.nodes
    padding = (nodes["mass"] == 0)[:, None]
    wild = {k: jnp.where(padding, 1e6, nodes[k]) for k in ("position", "momentum")}
    assert eqx.tree_equal(sample_all(RICH.graphs), sample_all(moved(RICH.graphs, **wild)))


def test_fixed_bodies_never_influence_the_sampling_of_motion_and_place():
    nodes = RICH.graphs.nodes
    fixed = nodes["fixed"][:, None]
    wild = {k: jnp.where(fixed, 1e6, nodes[k]) for k in ("position", "momentum")}
    one, two = (sample_all(graphs) for graphs in (RICH.graphs, moved(RICH.graphs, **wild)))
    assert eqx.tree_equal(one[0], two[0])
    assert eqx.tree_equal(one[2], two[2])
    assert not eqx.tree_equal(one[1], two[1])


@each_name
@each_case
def test_the_sampled_data_are_in_range(name, case):
    count = features_of(case)[name].out_of_range(CASES[case].graphs)
    np.testing.assert_array_equal(count, np.zeros(len(CASES[case].graphs.n_node)))


def test_trained_ranges_are_least_and_greatest_distance_by_type_speed_and_position():
    nodes = RICH.graphs.nodes
    free = np.asarray((nodes["mass"] > 0) & ~nodes["fixed"])
    q, p, m = (np.asarray(nodes[k])[free] for k in ("position", "momentum", "mass"))
    speed = np.linalg.norm(p, axis=1) / m
    distances = [[r for _, r, kind, _ in RICH.pairs if kind == t] for t in (0, 1)]
    expected = {
        "pair": [[min(r), max(r)] for r in distances],
        "kinetic": [speed.min(), speed.max()],
        "external": np.stack([q.min(0), q.max(0)], 1),
    }
    for name, value in expected.items():
        got = features_of(RICH_NAME)[name].trained_range()
        np.testing.assert_allclose(got, value, rtol=1e-13)


def test_pairs_out_of_range_are_counted_once_each():
    features = features_of("one graph")["pair"]
    graph = make_case([6, 8], 3, 11)
    low, high = np.asarray(features.trained_range())[0]
    expected = np.zeros(2)
    for g, r, *_ in graph.pairs:
        expected[g] += not low <= r <= high
    assert 0 < expected.sum() < len(graph.pairs)
    np.testing.assert_array_equal(features.out_of_range(graph.graphs), expected)


def test_speeds_beyond_the_trained_ones_are_counted_but_not_those_nearer_to_rest():
    features = features_of("one graph")["kinetic"]
    low, high = np.asarray(features.trained_range())
    speeds = np.array([0.5 * low, 1.01 * low, 0.99 * high, 1.01 * high, 9 * high])
    momentum = speeds[:, None] * np.asarray(PLAIN.graphs.nodes["mass"])[:, None] * [[0.6, 0, 0.8]]
    count = features.out_of_range(moved(PLAIN.graphs, momentum=jnp.asarray(momentum)))
    np.testing.assert_array_equal(count, [2])


def test_bodies_outside_of_the_box_are_counted():
    features = features_of("one graph")["external"]
    low, high = np.asarray(features.trained_range()).T
    rows = np.stack([low, high, high + 1e-3 * np.eye(3)[1], low - 1, (low + high) / 2])
    count = features.out_of_range(moved(PLAIN.graphs, position=jnp.asarray(rows)))
    np.testing.assert_array_equal(count, [2])


def test_a_type_that_training_never_saw_is_out_of_range():
    pairs = [(0, 1), (1, 2), (0, 2)]
    sites = PLAIN.graphs.nodes["position"][:3]
    training = hgn.graphs.from_pairs(sites, pairs, type=np.array([0, 2, 0]))
    features = draw(hgn.Pair(2), training)
    for kind in (1, 3):
        graph = hgn.graphs.from_pairs(sites, pairs, type=np.array([kind, 2, kind]))
        np.testing.assert_array_equal(features.out_of_range(graph), [2])


def test_a_gap_in_the_types_does_not_spoil_a_fit():
    nodes = PLAIN.graphs.nodes
    pairs = [(i, j) for i in range(5) for j in range(i)]
    kinds = np.where(np.arange(10) < 5, 0, 2)
    graph = hgn.graphs.from_pairs(nodes["position"], pairs, type=kinds)
    graph = moved(graph, force=nodes["momentum"] - jnp.mean(nodes["momentum"], 0, keepdims=True))
    forces = (hgn.Forces(),)
    fit = hgn.fit(
        graph,
        key=jr.key(0),
        terms=[hgn.Pair(2)],
        observations=forces,
        throw=False,
    )
    assert all(np.isfinite(theta).all() for theta in fit.model.theta)
    assert fit.result == hgn.RESULTS.successful


def test_pair_reads_the_number_of_types_from_the_data():
    assert len(features_of(RICH_NAME)["pair"].layers) == 2
    assert facts("pair", RICH_NAME)[0].shape == (4, 12)
    assert hgn.Pair(6).resolve(PLAIN.graphs).types is None
    assert hgn.Pair(6, types=4).resolve(RICH.graphs).types == 4


def test_inside_jit_pair_asks_for_the_number_of_types():
    def sample(graphs, types):
        return hgn.sample([hgn.Pair(6, types=types)], graphs, key=jr.key(0))[0]

    with pytest.raises(ValueError, match=r"Pair\(types=\.\.\.\)"):
        eqx.filter_jit(sample)(RICH.graphs, None)
    features = eqx.filter_eval_shape(sample, RICH.graphs, 2)
    assert [layer.weight.shape for pair in features.layers for layer in pair] == [(1, 3)] * 4


def test_a_body_moved_by_a_cell_vector_with_its_shifts_has_the_same_features():
    graphs, features = RICH.graphs, features_of(RICH_NAME)["pair"]
    cell = np.asarray(graphs.globals["cell"])[0]
    position = np.array(graphs.nodes["position"])
    position[1] += cell[2]
    shift = np.array(graphs.edges["shift"])
    shift[np.asarray(graphs.receivers) == 1, 2] -= 1
    shift[np.asarray(graphs.senders) == 1, 2] += 1
    wrapped = moved(graphs, position=jnp.asarray(position))
    wrapped = wrapped._replace(edges=graphs.edges | {"shift": jnp.asarray(shift)})
    want, (want_gradient, _), _ = facts("pair", RICH_NAME)
    phi, (gradient, _) = values(features, wrapped), gradient_of(features, wrapped)
    np.testing.assert_allclose(phi, want, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-11, atol=1e-12)


def test_guided_kinetic_units_see_the_energy_per_mass():
    nodes = PLAIN.graphs.nodes
    spec = hgn.Kinetic(8, hgn.SWIM(passes=2))
    first = features_of("one graph")["kinetic"]
    theta = jnp.asarray(np.random.default_rng(5).normal(size=5))
    factor = jnp.array([1.0, 5.0, 0.1, 30.0, 2.0])
    momentum = nodes["momentum"] * factor[:, None]
    heavy = moved(PLAIN.graphs, mass=nodes["mass"] * factor, momentum=momentum)
    second = eqx.filter_jit(lambda graphs: spec.sample(jr.key(1), graphs, (first, theta)))
    one, two = second(PLAIN.graphs), second(heavy)
    np.testing.assert_allclose(one.layer.weight, two.layer.weight, rtol=1e-12)
    np.testing.assert_allclose(one.layer.bias, two.layer.bias, rtol=1e-12)


def test_guided_pair_units_stand_where_the_first_energy_is_steep():
    r = jnp.concatenate([jnp.linspace(1, 2, 50), jnp.linspace(2, 3, 50)])
    sites = jnp.stack([jnp.zeros(200), 100 * jnp.arange(200.0)], 1)
    sites = sites.at[1::2].set(sites[::2] + jnp.stack([r, jnp.zeros(100)], 1))
    graph = hgn.graphs.from_pairs(sites, [(i, i + 1) for i in range(0, 200, 2)])
    spec = hgn.Pair(32, hgn.SWIM(floor=0.01, passes=2))
    step = features_of("one graph")["pair"]
    layers = eqx.tree_at(  # one unit, a step at r = 2.5
        lambda layer: (layer.weight, layer.bias, layer.centre),
        step.layers[0][0],
        (jnp.full((1, 3), 1e4), jnp.zeros(3), jnp.array([2.5])),
    )
    step = eqx.tree_at(lambda f: f.layers, step, ((layers, step.layers[0][1]),))
    theta = jnp.where(jnp.arange(6) == 0, 1.0, 0.0)
    second = eqx.filter_jit(lambda first: spec.sample(jr.key(0), graph, (first, theta)))
    near, far = second(step).layers[0]
    for layer, place in ((near, 2.5), (far, np.log(2.5))):
        s = np.log(3) / 2 / np.abs(layer.weight[0])
        middle = np.asarray(layer.centre - layer.bias / layer.weight[0])
        assert np.all((middle - s < place) & (place < middle + s))


@pytest.mark.parametrize("units", [-2, 0, 1, 7])
def test_pair_units_must_be_even_and_positive(units):
    with pytest.raises(ValueError, match=f"units must be even and at least 2, got {units}"):
        hgn.Pair(units)


def test_single_precision_in_gives_single_precision_out():
    def single(tree):
        floating = eqx.is_inexact_array
        return jax.tree.map(lambda a: a.astype(jnp.float32) if floating(a) else a, tree)

    graphs = single(RICH.graphs)
    for name, features in zip(SPECS, sample_all(graphs)):
        phi = values(features, graphs)
        constants = hgn.Basis((features,)).constants(graphs)
        arrays = features, phi, gradient_of(features, graphs), constants
        assert {a.dtype for a in jax.tree.leaves(arrays)} == {jnp.dtype(jnp.float32)}
        expected = facts(name, RICH_NAME)[0]
        got = values(single(features_of(RICH_NAME)[name]), graphs)
        scale = np.max(np.abs(expected))
        np.testing.assert_allclose(got, expected, atol=1e-5 * scale)


def test_norm_is_the_length_and_its_gradient_zero_at_the_origin():
    np.testing.assert_allclose(norm(jnp.array([[3.0, 4.0], [0.0, 0.0]])), [5, 0], rtol=1e-15)
    np.testing.assert_array_equal(jax.grad(norm)(jnp.zeros(3)), 0)
    np.testing.assert_allclose(jax.grad(norm)(jnp.array([3.0, -4.0])), [0.6, -0.8], rtol=1e-15)


def test_edges_point_from_sender_to_receiver_through_the_cell():
    graphs = RICH.graphs
    q, cell = (np.asarray(a) for a in (graphs.nodes["position"], graphs.globals["cell"]))
    graph = np.repeat(np.arange(4), graphs.n_node)
    edges = zip(*(np.asarray(a) for a in (graphs.senders, graphs.receivers, graphs.edges["shift"])))
    expected = np.array([q[r] - q[s] + shift @ cell[graph[s]] for s, r, shift in edges])
    real = np.asarray(graphs.nodes["mass"][graphs.senders] > 0)
    np.testing.assert_allclose(displacement(graphs), expected, atol=1e-14)
    lengths = np.where(real, np.linalg.norm(expected, axis=1), 1)
    np.testing.assert_allclose(distance(graphs), lengths, rtol=1e-14)
