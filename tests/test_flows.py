"""Gradient flows on graphs and classes read from them, against dense NumPy, SciPy and diffrax."""

import math
import warnings

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import hgn_jax as hgn
from hgn_jax.flows import GradientFlow, QuadraticEnergy

PAIRS = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 3), (5, 6)]
NODES = 8
"""The last node is isolated."""


def dense():
    """S of the small graph."""
    a = np.zeros((NODES, NODES))
    for i, j in PAIRS:
        a[i, j] = a[j, i] = 1
    scale = np.where(a.sum(1) > 0, a.sum(1), 1) ** -0.5
    return scale[:, None] * a * scale


def features(channels=3, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(NODES, channels)))


GRAPH = hgn.flows.graph(PAIRS, NODES)


@pytest.mark.parametrize("channels", [1, 5, 70])  # more than the blocks in which it is summed
def test_propagates_as_the_dense_matrix(channels):
    x = features(channels)
    assert np.allclose(hgn.flows.propagate(GRAPH, x), dense() @ x, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("w", "omega", "beta"), [(1.0, None, 0.0), (-4.0, None, 0.5), (2.0, 3.0, 1.0)]
)
def test_the_flow_is_that_of_the_energy(w, omega, beta):
    """The exponential of a dense matrix and diffrax on the energy's gradient agree with it."""
    energy, x = QuadraticEnergy(w, omega, beta), features()
    (found,) = hgn.flows.states(GRAPH, x, [GradientFlow(energy, 0.7)])
    a = w * dense() - (abs(w) if omega is None else omega) * np.eye(NODES)
    block = np.block([[a, beta * np.eye(NODES)], [np.zeros_like(a), np.zeros_like(a)]])
    both = expm(0.7 * block)[:NODES]
    assert np.allclose(found, both[:, :NODES] @ x + both[:, NODES:] @ x, rtol=0, atol=1e-13)

    def rate(t, f, args):
        return -jax.grad(lambda f: energy(GRAPH, f, x))(f)

    moved = diffrax.diffeqsolve(
        diffrax.ODETerm(rate), diffrax.Dopri8(), 0.0, 0.7, 1e-2, x, stepsize_controller=
        diffrax.PIDController(rtol=1e-10, atol=1e-12),
    )  # fmt: skip
    assert np.allclose(found, moved.ys[0], rtol=0, atol=1e-9)


def test_steps_of_euler_are_powers():
    x, s = features(), dense()
    energy = QuadraticEnergy(1.0)
    flows = [GradientFlow(energy, 2.0, steps=2), GradientFlow(energy, 0.6, steps=3)]
    two, three = hgn.flows.states(GRAPH, x, flows)
    assert np.allclose(two, s @ s @ x, rtol=0, atol=1e-13)
    step = np.eye(NODES) + 0.2 * (s - np.eye(NODES))
    assert np.allclose(three, step @ step @ step @ x, rtol=0, atol=1e-13)
    pulled = GradientFlow(QuadraticEnergy(1.0, source=0.5), 0.6, steps=3)
    (found,) = hgn.flows.states(GRAPH, x, [pulled])
    expected = x
    for _ in range(3):
        expected = step @ expected + 0.2 * 0.5 * x
    assert np.allclose(found, expected, rtol=0, atol=1e-13)


def test_a_source_grows_linearly_where_nothing_decays():
    """The greatest eigenvalue of S with decay by |w|, and others so near that it looks the same."""
    flow = GradientFlow(QuadraticEnergy(1.0, source=0.5), 3.0)
    assert np.allclose(flow.response(np.array([1, 1 - 1e-12, 1 - 1e-9])), 2.5, rtol=1e-8)


def test_equilibrium_with_a_source():
    x, energy = features(), QuadraticEnergy(1.0, 1.5, 0.5)
    (rest,) = hgn.flows.states(GRAPH, x, [GradientFlow(energy, math.inf)])
    assert np.allclose(rest, np.linalg.solve(1.5 * np.eye(NODES) - dense(), 0.5 * x), atol=1e-12)
    assert jnp.max(jnp.abs(jax.grad(lambda f: energy(GRAPH, f, x))(rest))) < 1e-12


def test_attraction_smooths_and_repulsion_sharpens():
    """The energy falls along its flow; neighbours become alike, or unlike."""
    x, s = features(), dense()
    for w, sign in ((1.0, 1), (-1.0, -1)):
        energy = QuadraticEnergy(w)
        flows = [GradientFlow(energy, t) for t in (0.0, 0.5, 1.0, 2.0)]
        path = hgn.flows.states(GRAPH, x, flows)
        assert np.allclose(path[0], x, rtol=0, atol=1e-14)
        assert (np.diff([float(energy(GRAPH, f)) for f in path]) < 0).all()
        alike = [float(jnp.sum(f * (s @ f)) / jnp.sum(f[:-1] ** 2)) for f in path]
        assert (np.diff(alike) * sign > 0).all()


def test_energy_is_a_sum_over_edges():
    x = np.asarray(features())[:-1]  # without the isolated node
    graph = hgn.flows.graph(PAIRS, NODES - 1)
    degree = np.bincount(np.array(PAIRS).ravel(), minlength=NODES - 1)
    y = x / np.sqrt(degree)[:, None]
    for w, sign in ((1.5, -1), (-1.5, 1)):
        terms = [np.sum((y[i] + sign * y[j]) ** 2) for i, j in PAIRS]
        assert np.isclose(QuadraticEnergy(w)(graph, jnp.asarray(x)), 1.5 / 2 * np.sum(terms))
    plain, pulled = QuadraticEnergy(1.5), QuadraticEnergy(1.5, source=0.5)
    difference = pulled(graph, jnp.asarray(x)) - plain(graph, jnp.asarray(x))
    assert np.isclose(difference, -0.5 * np.sum(x**2))  # x itself is the source


def test_the_kernel_of_several_flows_is_that_of_their_features_side_by_side():
    both = jnp.stack([features(seed=0), features(seed=1)])
    beside = np.concatenate(both, axis=1)
    assert np.allclose(hgn.flows.linear(both), beside @ beside.T, rtol=0, atol=1e-13)


def test_arc_cosine_is_the_mean_of_random_relu_units():
    x = np.concatenate([np.asarray(features(4)), np.zeros((1, 4))])
    kernel = hgn.flows.arc_cosine(hgn.flows.linear(jnp.asarray(x)))
    units = np.random.default_rng(1).normal(size=(4, 400_000))
    active = np.maximum(x @ units, 0)
    assert np.allclose(kernel, 2 * active @ active.T / units.shape[1], rtol=0, atol=0.05)
    assert np.allclose(np.diag(kernel), np.sum(x**2, axis=1))


def test_a_bias_is_one_more_feature():
    x = np.asarray(features(4))
    size = np.mean(np.sum(x**2, axis=1))
    more = np.concatenate([x, np.full((len(x), 1), np.sqrt(0.3 * size))], axis=1)
    expected = hgn.flows.arc_cosine(hgn.flows.linear(jnp.asarray(more)))
    kernel = hgn.flows.arc_cosine(hgn.flows.linear(jnp.asarray(x)), bias=0.3)
    assert np.allclose(kernel, expected, rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="bias must not be negative, got -1"):
        hgn.flows.arc_cosine(kernel, bias=-1)


def planted(probability_inside, seed=0, n=200):
    """Two classes whose edges stay inside or cross, with weak features; every tenth edge not."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    pairs = rng.integers(0, n, (6 * n, 2))
    inside = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    keep = rng.random(6 * n) < np.where(inside, probability_inside, 1 - probability_inside)
    x = rng.normal(size=(n, 20))
    x[:, 0] += 1.5 * labels - 0.75
    train, validation = rng.permutation(n) < 60, np.zeros(n, bool)
    validation[np.flatnonzero(~train)[:60]] = True
    return hgn.flows.graph(pairs[keep], n), jnp.asarray(x), labels, train, validation


def accuracy(case, flow):
    graph, x, labels, train, validation = case
    kernel = hgn.flows.linear(hgn.flows.states(graph, x, [flow]))
    fit = hgn.flows.classify(kernel, labels, train, validation=validation)
    return fit.accuracy(~train & ~validation)


def test_homophily_wants_attraction_and_heterophily_repulsion():
    alone = GradientFlow(QuadraticEnergy(1.0), 0.0)
    attract, repel = (GradientFlow(QuadraticEnergy(w), 2.0) for w in (1.0, -1.0))
    for inside, good, bad in ((0.9, attract, repel), (0.1, repel, attract)):
        case = planted(inside)
        assert accuracy(case, good) > accuracy(case, alone) + 0.1
        assert accuracy(case, alone) > accuracy(case, bad)


def test_ridge_regression_as_by_numpy():
    _, x, labels, train, validation = planted(0.8)
    kernel = hgn.flows.linear(x)
    fit = hgn.flows.classify(kernel, labels, train, ridge=0.01)
    xs, y = np.asarray(x)[train], np.eye(2)[labels[train]]
    scale = 0.01 * np.mean(np.sum(xs**2, axis=1))
    primal = np.linalg.solve(xs.T @ xs + scale * np.eye(20), xs.T @ (y - y.mean(0)))
    assert np.allclose(fit.scores, np.asarray(x) @ primal + y.mean(0), rtol=0, atol=1e-10)
    chosen = hgn.flows.classify(kernel, labels, train, validation=validation, ridge=(0.01, 1.0))
    each = [
        hgn.flows.classify(kernel, labels, train, ridge=r).accuracy(validation) for r in (0.01, 1.0)
    ]
    assert np.allclose(chosen.validation, each)
    assert chosen.accuracy(validation) == max(each)


def test_isolated_nodes_without_a_state_have_the_scores_of_the_mean():
    """One step of S leaves no features on a node without edges."""
    graph = hgn.flows.graph([(0, 1), (1, 2), (2, 3)], 6)
    step = GradientFlow(QuadraticEnergy(1.0), 1.0, steps=1)
    kernel = hgn.flows.linear(hgn.flows.states(graph, features()[:6], [step]))
    labels, train = np.array([0, 1, 1, 0, -1, 1]), np.array([1, 1, 1, 0, 0, 1], bool)
    scores = hgn.flows.classify(kernel, labels, train, ridge=0.1).scores
    np.testing.assert_allclose(scores[4:], [[0.25, 0.75]] * 2, rtol=0, atol=1e-14)
    assert np.ptp(scores[:4, 0]) > 0.1


def test_the_most_accurate_ridge_is_chosen_and_of_equal_ones_that_of_least_error():
    _, x, labels, train, validation = planted(0.8, seed=2)
    kernel, ridges = hgn.flows.linear(x), (1e-3, 0.1, 1.0)
    fits = [hgn.flows.classify(kernel, labels, train, ridge=r) for r in ridges]
    first, second, third = (fit.accuracy(validation) for fit in fits)
    errors = [np.mean((fit.scores - np.eye(2)[labels])[validation] ** 2) for fit in fits]
    assert first == second > third and errors[0] > errors[1] > errors[2]
    chosen = hgn.flows.classify(kernel, labels, train, validation=validation, ridge=ridges)
    assert chosen.ridge == 0.1 and np.array_equal(chosen.scores, fits[1].scores)


def test_graph_symmetrises_and_drops_loops():
    graph = hgn.flows.graph([(0, 1), (1, 0), (1, 1), (2, 1)], 4)
    assert sorted(zip(graph.senders.tolist(), graph.receivers.tolist())) == [
        (0, 1), (1, 0), (1, 2), (2, 1),
    ]  # fmt: skip


def test_bad_graphs_and_flows():
    with pytest.raises(ValueError, match=r"pair 1 = \(2, 3\) is not between 0 and 2"):
        hgn.flows.graph([(0, 1), (2, 3)], 3)
    flow = GradientFlow(QuadraticEnergy(1.0))
    one_way = GRAPH._replace(senders=jnp.array([0, 1, 2]), receivers=jnp.array([1, 0, 1]))
    with pytest.raises(ValueError, match="edge 2 -> 1 has no reverse edge"):
        hgn.flows.states(one_way, features(), [flow])
    twice = GRAPH._replace(senders=jnp.array([0, 0, 1]), receivers=jnp.array([1, 1, 0]))
    with pytest.raises(ValueError, match="edges occur twice"):
        hgn.flows.states(twice, features(), [flow])
    with pytest.raises(ValueError, match=r"pair 0 = \(-1, 0\) is not between 0 and 2"):
        hgn.flows.graph([(-1, 0)], 3)
    with pytest.raises(ValueError, match=r"x must be \[n c\] with n = 8 nodes, got \[5, 3\]"):
        hgn.flows.states(GRAPH, features()[:5], [flow])
    with pytest.raises(ValueError, match="at least one"):
        hgn.flows.states(GRAPH, features(), [])
    with pytest.raises(ValueError, match="no equilibrium: decay 1 must exceed"):
        GradientFlow(QuadraticEnergy(1.0), math.inf)
    with pytest.raises(ValueError, match="an infinite time cannot be divided"):
        GradientFlow(QuadraticEnergy(1.0, 2.0), math.inf, steps=3)
    with pytest.raises(ValueError, match="steps"):
        GradientFlow(QuadraticEnergy(1.0), 1.0, steps=0)
    with pytest.raises(ValueError, match="time must not be negative"):
        GradientFlow(QuadraticEnergy(1.0), -1.0)
    with pytest.raises(ValueError, match="attraction must be finite"):
        QuadraticEnergy(math.nan)
    with pytest.raises(ValueError, match="overflow"):
        hgn.flows.states(GRAPH, features(), [GradientFlow(QuadraticEnergy(1.0, -800.0))])
    with pytest.raises(ValueError, match="too steep"):
        hgn.flows.states(GRAPH, features(), [GradientFlow(QuadraticEnergy(1.0), 1e5)])


def test_bad_labels_and_masks(no_type_checks):
    with pytest.raises(ValueError, match=r"states must be \[b n c\] or \[n c\], got \[8\]"):
        hgn.flows.linear(jnp.ones(8))
    kernel, labels = hgn.flows.linear(features()), np.array([0, 1, 0, 1, 2, 0, -1, 1])
    train = np.arange(8) < 4

    def fit(**changed):
        given = {"labels": labels, "train": train, "ridge": 0.1} | changed
        return hgn.flows.classify(kernel, given.pop("labels"), given.pop("train"), **given)

    for changed, message in (
        ({"train": np.arange(8) < 7}, "train holds node 6, whose label is unknown"),
        ({"train": np.zeros(8, bool)}, "train holds no node"),
        ({"train": np.arange(4)}, "one boolean for each of the 8 nodes"),
        ({"labels": labels[:4]}, "kernel must be"),
        ({"labels": labels.astype(float)}, "labels must be integers"),
        ({"validation": train}, "node 0 is both in train and in validation"),
        ({"ridge": 0.0}, "ridges must be positive"),
        ({"ridge": math.inf}, "ridges must be positive and finite"),
        ({"ridge": (0.1, 1.0)}, "several ridges need validation"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(**changed)
    unit = features().at[5].set(0) / jnp.linalg.norm(features().at[5].set(0), axis=1)[:, None]
    with pytest.raises(ValueError, match="node 5 with itself is not finite"):
        hgn.flows.classify(hgn.flows.linear(unit), labels, train, ridge=0.1)
    with pytest.raises(ValueError, match="train holds node 0, whose label is unknown"):
        fit(labels=np.full(8, -1))
    with pytest.warns(UserWarning, match=r"no training node has class \[2\]"):
        found = fit()
    assert set(found.classes.tolist()) <= {0, 1}
    with pytest.raises(ValueError, match="nodes holds node 6"):
        found.accuracy(labels < 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(train=np.isin(np.arange(8), [0, 1, 4]))
