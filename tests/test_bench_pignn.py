import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from bench.hgnn import HGNN, parameters
from bench.physics_informed_gnns import (
    FILES,
    KEYS,
    Motion,
    Square,
    errors,
    geometric_mean,
    problem,
    relative_difference,
    suite_arrays,
)


def test_z_on_hand_computed_arrays():
    a, b = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [-1.0, 0.0]])
    np.testing.assert_allclose(relative_difference(a, b), [1, 1], rtol=1e-15)
    half = relative_difference(np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]]))
    np.testing.assert_allclose(half, [0.5], rtol=1e-15)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_z_of_a_diverged_rollout_is_one_and_of_equal_states_rounding(bad):
    a = np.array([[bad, 0.0], [1.0, 2.0]])
    z = relative_difference(a, np.array([[1.0, 0.0], [1.0, 2.0]]))
    np.testing.assert_array_equal(z, [1, np.finfo(float).eps])


def test_geometric_mean_leaves_the_start_out():
    error = np.array([[1e-16, 1e-8, 1e-4], [1e-16, 1e-6, 1e-2]])
    np.testing.assert_allclose(geometric_mean(error), 1e-5, rtol=1e-12)


def test_errors_of_a_motion_by_hand():
    """Two bodies at distance 2: the spring stores 9; the model's are 10% too fast, and drift."""
    graph = hgn.graphs.from_pairs(jnp.array([[0.0, 0.0], [2.0, 0.0]]), [(0, 1)])
    system = hgn.systems.mass_spring("double_well")
    position = jnp.broadcast_to(graph.nodes["position"], (1, 2, 2, 2))
    p = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
    truth = Motion(position, jnp.stack([p, p])[None], jnp.array([True]))
    wrong = jnp.array([[1.2, 0.0], [-1.0, 0.0]])
    path = Motion(1.1 * position, jnp.stack([p, wrong])[None], jnp.array([True]))
    of = errors(system, graph, path, truth)
    np.testing.assert_allclose(of["position"], [[0.1 / 2.1] * 2], rtol=1e-12)
    np.testing.assert_allclose(of["momentum"][0, 1], 0.2 / 4.2, rtol=1e-12)
    assert of["momentum"][0, 0] == np.finfo(float).eps
    true_energy, energy = 9 + 1, (2.2**2 - 1) ** 2 + 1.44 / 2 + 1 / 2
    expected = (energy - true_energy) / (energy + true_energy)
    np.testing.assert_allclose(of["energy"][0, 1], expected, rtol=1e-12)


def test_starts_are_the_suites(getkey):
    ring = hgn.graphs.ring(5)
    start = Square(ring.nodes["position"])
    q, p = start.offsets(getkey(), (400, 5, 2), jnp.float64)
    q = q + ring.nodes["position"][None]
    assert 0 <= q.min() < 0.01 and 1.99 < q.max() <= 2
    np.testing.assert_allclose(p.sum(axis=1), 0, atol=1e-15)
    # Uniform over 0.1, minus the mean of five.
    np.testing.assert_allclose(p.std(), 0.1 * np.sqrt(0.8 / 12), rtol=0.1)


def write(folder, change=lambda name, arrays: arrays):
    """Files of the suite's form: circles instead of orbits."""
    shapes = {"spring5": (2, 5, 5, 2), "nbody4": (1, 200, 4, 3)}
    for name in FILES:
        shape = shapes[name.split("_")[0]]
        n = shape[2]
        t = 0.1 * np.arange(shape[1])
        angle = t[:, None] + np.arange(n)
        circle = np.zeros(shape)
        circle[..., 0], circle[..., 1] = np.cos(angle), np.sin(angle)
        velocity = np.zeros(shape)
        velocity[..., 0], velocity[..., 1] = -np.sin(angle), np.cos(angle)
        senders = np.arange(n)
        receivers = (senders + 1) % n
        arrays = {
            "position": circle,
            "velocity": velocity,
            "momentum": velocity,
            "acceleration": -circle,
            "mass": np.ones(n),
            "t": t,
            "senders": np.concatenate([senders, receivers]),
            "receivers": np.concatenate([receivers, senders]),
        }
        np.savez(folder / name, **change(name, arrays))
    return folder


def test_the_suites_arrays_are_read_and_gravitys_last_quarter_held_out(tmp_path):
    folder = write(tmp_path)
    springs = problem("springs", folder, True)
    assert len(springs.train.n_node) == 10 and set(springs.tests) == {5}
    np.testing.assert_allclose(springs.train.nodes["force"], -springs.train.nodes["position"])
    gravity = problem("gravity", folder, True)
    assert len(gravity.train.n_node) == 150
    np.testing.assert_allclose(gravity.train.edges["coupling"], 1)
    _, (position, momentum) = gravity.tests[4]
    # The run is cut into 100 pieces of two points.
    held_out = suite_arrays(folder)["nbody4_train.npz"]["position"][0, 150:160:2]
    np.testing.assert_array_equal(position, held_out)
    assert momentum.shape == (5, 4, 3)


def test_a_missing_folder_or_file_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"no folder .*nowhere"):
        suite_arrays(tmp_path / "nowhere")
    with pytest.raises(SystemExit, match=r"no file .*spring5_train.npz"):
        suite_arrays(tmp_path)


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_array_is_named(tmp_path, key):
    def change(name, arrays):
        return {k: a for k, a in arrays.items() if k != key or name != FILES[1]}

    with pytest.raises(SystemExit, match=rf"spring5_test.npz lacks \['{key}'\]"):
        suite_arrays(write(tmp_path, change))


def test_a_file_that_is_none_or_holds_objects_is_named(tmp_path):
    def change(name, arrays):
        return arrays | {"mass": np.array([{}], dtype=object)}

    with pytest.raises(SystemExit, match=r"spring5_train.npz cannot be read: .*pickle"):
        suite_arrays(write(tmp_path, change))
    (tmp_path / FILES[0]).write_bytes(b"no archive")
    with pytest.raises(SystemExit, match=r"spring5_train.npz cannot be read"):
        suite_arrays(tmp_path)


def test_the_suites_network_has_694_parameters(getkey):
    assert parameters(HGNN(5, 2, key=getkey())) == 694


@pytest.fixture
def batch(getkey):
    system = hgn.systems.mass_spring("double_well")
    return hgn.systems.simulate(
        system,
        hgn.graphs.ring(4),
        key=getkey(),
        trajectories=3,
        start=hgn.systems.Uniform(0.3, 1.0),
    )


def test_hgnn_separates_and_does_not_see_order_or_neighbours(getkey, batch):
    model = HGNN(3, 2, key=getkey())
    energy, rates = eqx.filter_jit(model), eqx.filter_jit(model.vector_field)
    graphs = hgn.graphs.unbatch(batch)
    alone = jnp.concatenate([energy(graph) for graph in graphs])
    np.testing.assert_allclose(energy(batch), alone, rtol=1e-12)
    order = jnp.array([2, 0, 3, 1])
    place = jnp.argsort(order)
    permuted = graphs[0]._replace(
        nodes={k: a[order] for k, a in graphs[0].nodes.items()},
        senders=place[graphs[0].senders],
        receivers=place[graphs[0].receivers],
    )
    np.testing.assert_allclose(energy(permuted), energy(graphs[0]), rtol=1e-12)
    faster = batch._replace(nodes=batch.nodes | {"momentum": 2 * batch.nodes["momentum"]})
    assert model.separable
    np.testing.assert_allclose(rates(faster)[1], rates(batch)[1], rtol=1e-12)


def test_hgnn_moves_by_hamiltons_equations(getkey, batch):
    """Against central differences of the energy along a random direction."""
    model = HGNN(3, 2, key=getkey())
    q, p = batch.nodes["position"], batch.nodes["momentum"]
    along = [jr.normal(getkey(), q.shape) for _ in range(2)]

    @eqx.filter_jit
    def energy(step):
        nodes = batch.nodes | {"position": q + step * along[0], "momentum": p + step * along[1]}
        return model(batch._replace(nodes=nodes)).sum()

    velocity, force = eqx.filter_jit(model.vector_field)(batch)
    slope = (energy(jnp.array(1e-5)) - energy(jnp.array(-1e-5))) / 2e-5
    expected = jnp.sum(-force * along[0]) + jnp.sum(velocity * along[1])
    np.testing.assert_allclose(slope, expected, rtol=1e-7, atol=1e-8)
