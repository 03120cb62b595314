"""Pair features and a known potential that fade to zero at a cutoff."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.graphs.geometry import distance

CELL = (4.0, 4.5, 5.0)
CUTOFF = 1.5


def liquid(key, reach=CUTOFF, **edges):
    """Forty bodies in a box, joined up to `reach`."""
    q, p = jr.split(key)
    sites = hgn.graphs.lattice((4, 4, 4)).nodes["position"][:40] * jnp.array([[1.0, 1.1, 1.2]])
    graph = hgn.graphs.radius(sites + 0.1 * jr.normal(q, (40, 3)), reach, cell=CELL)
    graph = graph._replace(nodes=graph.nodes | {"momentum": jr.normal(p, (40, 3))})
    return graph._replace(edges=graph.edges | {k: f(graph) for k, f in edges.items()})


def observed(system, graph):
    velocity, force = system.vector_field(graph)
    return graph._replace(nodes=graph.nodes | {"velocity": velocity, "force": force})


def draw(graph, **settings):
    return hgn.sample([hgn.Pair(8, cutoff=CUTOFF, **settings)], graph, key=jr.key(3))[0]


@pytest.fixture(scope="module")
def graph():
    return liquid(jr.key(0), 2.0)


@pytest.fixture(scope="module")
def truth():
    return hgn.systems.lennard_jones(sigma=0.8, cutoff=CUTOFF)


@pytest.fixture(scope="module")
def fitted(truth):
    data = hgn.graphs.batch([observed(truth, liquid(jr.key(k))) for k in range(4)])
    return hgn.fit(data, key=jr.key(4), terms=[hgn.Kinetic(0), hgn.Pair(64, cutoff=CUTOFF)])


# Pair features


def test_gradient_is_the_derivative_of_the_features(graph):
    ends = graph.senders + graph.receivers
    kinds = {"type": ends % 2, "coupling": 1.0 + ends.astype(float)}
    typed = graph._replace(edges=graph.edges | kinds)
    for case in (graph, typed, hgn.graphs.pad(typed, n_node=44, n_edge=900, n_graph=3)):
        features = hgn.sample([hgn.Pair(6, cutoff=CUTOFF).resolve(case)], case, key=jr.key(1))[0]

        def total(q, case=case, features=features):
            return jnp.sum(features(case._replace(nodes=case.nodes | {"position": q})), axis=0)

        found, none = eqx.filter_jit(features.gradient)(case)
        expected = jnp.moveaxis(jax.jit(jax.jacrev(total))(case.nodes["position"]), 0, 2)
        assert none is None
        np.testing.assert_allclose(found, expected, atol=1e-12 * float(jnp.max(jnp.abs(expected))))


def test_slope_is_the_difference_quotient_of_the_units(graph):
    features = draw(graph)
    r = jnp.concatenate([jnp.linspace(0.6, 1.49, 30), jnp.linspace(1.51, 3, 5)])
    h = 1e-5
    quotient = (features.units_at(r + h) - features.units_at(r - h)) / (2 * h)
    two = hgn.graphs.from_pairs(jnp.zeros((2, 1)), [(0, 1)])
    for i in range(len(r)):
        moved = two.nodes | {"position": jnp.array([[0.0], [r[i]]])}
        slope = features.gradient(two._replace(nodes=moved))[0][1, 0]
        np.testing.assert_allclose(slope, quotient[i], atol=1e-8)


def test_units_are_the_unfaded_units_times_the_envelope(graph):
    features, plain = draw(graph), hgn.sample([hgn.Pair(8)], liquid(jr.key(0)), key=jr.key(3))[0]
    plain = type(plain)(features.layers, features.ranges, None)
    r = jnp.linspace(0.5, 2.5, 50)
    envelope = np.where(r < CUTOFF, (1 - (r / CUTOFF) ** 2) ** 2, 0)
    np.testing.assert_allclose(
        features.units_at(r), envelope[:, None] * plain.units_at(r), rtol=1e-13
    )


def test_energy_and_force_are_continuous_where_an_edge_leaves_the_list(fitted, truth):
    def state(model, r):
        pair = hgn.graphs.from_pairs(jnp.array([[0.0, 0, 0], [r, 0, 0]]), [(0, 1)])
        return float(model(pair)[0]), float(model.vector_field(pair)[1][1, 0])

    for model in (fitted.model, truth):
        inside = [state(model, CUTOFF * (1 - h)) for h in (1e-4, 1e-6)]
        (e4, f4), (e6, f6) = np.abs(inside)
        assert e6 < 2e-4 * e4 + 1e-18  # like the square of the distance to the cutoff
        assert f6 < 2e-2 * f4 + 1e-18
        assert state(model, CUTOFF) == state(model, CUTOFF * 1.1) == (0, 0)


def test_edges_beyond_the_cutoff_change_nothing(fitted, truth):
    short, long = liquid(jr.key(7)), liquid(jr.key(7), 2.0)
    assert len(long.senders) > len(short.senders)
    for model in (fitted.model, truth):
        np.testing.assert_allclose(model(short), model(long), rtol=1e-13)
        for one, other in zip(model.vector_field(short), model.vector_field(long)):
            np.testing.assert_allclose(one, other, atol=1e-12)
    assert fitted.model.out_of_range(short) == fitted.model.out_of_range(long)


def test_edges_beyond_the_cutoff_are_not_drawn_from():
    short, long = (draw(liquid(jr.key(0), reach)) for reach in (CUTOFF, 2.0))
    for a, b in zip(jax.tree.leaves(short), jax.tree.leaves(long)):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert float(long.ranges[0, 1]) <= CUTOFF


def test_pairs_nearer_than_any_in_training_are_out_of_range(graph):
    features = draw(graph)
    near = float(jnp.min(distance(graph)))
    line = jnp.array([[0.0], [0.9 * near], [0.9 * near + 1.8]])
    chain = hgn.graphs.from_pairs(line, [(0, 1), (1, 2)])
    assert features.out_of_range(chain).tolist() == [1]


def test_there_is_a_constant_per_body_and_none_per_pair(fitted, graph):
    n = len(graph.nodes["mass"])
    assert hgn.Basis((draw(graph),)).constants(graph).tolist() == [[n]]
    assert float(fitted.model.pair_energy(jnp.array(2 * CUTOFF))) == 0
    with_energy = graph._replace(globals=graph.globals | {"energy": jnp.ones(1)})
    moving = observed(hgn.systems.lennard_jones(cutoff=CUTOFF), with_energy)
    assert hgn.fit(moving, key=jr.key(0), terms=[hgn.Kinetic(0), hgn.Pair(8, cutoff=CUTOFF)])


def test_a_fit_to_a_smoothed_liquid_extends_to_another_state(fitted, truth):
    fresh = observed(truth, liquid(jr.key(20), 2.0))
    assert float(hgn.metrics.relative_error(fitted.model, fresh)["force"]) < 1e-2
    r = jnp.linspace(0.8, 1.6, 40)
    np.testing.assert_allclose(fitted.model.pair_energy(r), truth.pair_energy(r), atol=1e-2)


def test_the_cutoff_survives_saving(fitted, graph, tmp_path):
    hgn.save(tmp_path / "m.hgn", fitted.model)
    model = hgn.load(tmp_path / "m.hgn")
    assert jax.tree.structure(model) == jax.tree.structure(fitted.model)
    np.testing.assert_array_equal(model(graph), fitted.model(graph))


@pytest.mark.parametrize("cutoff", [0.0, -1.0, float("inf"), float("nan")])
def test_a_cutoff_is_positive_and_finite(cutoff):
    with pytest.raises(ValueError, match="cutoff"):
        hgn.Pair(8, cutoff=cutoff)


# Lennard-Jones


def test_lennard_jones_is_smoothed_between_onset_and_cutoff():
    system = hgn.systems.lennard_jones(epsilon=1.3, sigma=0.9, cutoff=2.5, onset=1.7)
    r = np.linspace(0.8, 3.0, 200)
    plain = 5.2 * ((0.9 / r) ** 12 - (0.9 / r) ** 6)
    a, b, o = 2.5**2, r**2, 1.7**2
    smooth = np.where(r < 1.7, 1, (a - b) ** 2 * (a + 2 * b - 3 * o) / (a - o) ** 3)
    expected = np.where(r < 2.5, plain * smooth, 0)
    np.testing.assert_allclose(system.pair_energy(jnp.asarray(r)), expected, atol=1e-13)
    assert (np.asarray(system.pair_energy(jnp.array([2.5, 2.6, 40.0]))) == 0).all()


def test_the_onset_is_at_four_fifths_of_the_cutoff_unless_given():
    systems = [hgn.systems.lennard_jones(cutoff=2.5, **o) for o in ({}, {"onset": 2.0})]
    r = jnp.linspace(1.5, 2.5, 50)
    np.testing.assert_array_equal(*(s.pair_energy(r) for s in systems))


@pytest.mark.parametrize("end", [2.0, 2.5])
def test_the_smoothed_potential_and_its_slope_are_continuous(end):
    phi = hgn.systems.lennard_jones(cutoff=2.5, onset=2.0).pair_energy
    slope = jax.vmap(jax.grad(phi))
    sides = end + jnp.array([-1e-9, 0.0, 1e-9])
    for values, tolerance in ((phi(sides), 1e-9), (slope(sides), 1e-7)):
        np.testing.assert_allclose(values, values[1], atol=tolerance)


@pytest.mark.parametrize(
    "settings",
    [{"onset": 2.0}, {"cutoff": 2.0, "onset": 2.0}, {"cutoff": 2.0, "onset": 0.0},
     {"cutoff": -1.0}, {"cutoff": float("nan")}],
)  # fmt: skip
def test_onsets_outside_of_the_cutoff_are_refused(settings):
    with pytest.raises(ValueError, match="onset"):
        hgn.systems.lennard_jones(**settings)


def test_a_cutoff_nearer_than_any_pair_is_an_error():
    graph = liquid(jr.key(0))
    nearest = float(jnp.min(distance(graph)))
    with pytest.raises(ValueError, match=f"no pair within the cutoff.*{nearest:.4g}"):
        hgn.sample([hgn.Pair(4, cutoff=0.9 * nearest)], graph, key=jr.key(1))
