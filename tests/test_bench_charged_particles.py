"""The benchmark of five charges: its generator, its scheme and its derivatives are right."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hgn_jax as hgn
from bench import charged_particles as bench
from bench import two_frames


@pytest.fixture(scope="module")
def data():
    return bench.trajectories_of(20, seed=5)


def test_the_generator_follows_coulombs_law(data):
    """SciPy moves from frame 30 to 31: semi-implicit Euler is of order one, velocities are half a
    step early."""
    apart = data.position[:, :, bench.SENDERS] - data.position[:, :, bench.RECEIVERS]
    nearest = np.linalg.norm(apart, axis=-1).min(axis=(0, 2))
    k = int(np.argmax(nearest))
    charge = data.charge[k]

    def rates(t, y):
        x, v = y.reshape(2, 5, 3)
        d = x[:, None] - x[None]
        r = np.linalg.norm(d, axis=-1) + np.eye(5)
        force = np.einsum("ij,ijk->ik", np.outer(charge, charge) / r**3, d)
        return np.concatenate([v, force]).ravel()

    x, v = data.position[bench.FIRST, k], data.velocity[bench.FIRST, k]
    v = v + bench.STEP / 2 * rates(0, np.stack([x, v]).ravel()).reshape(2, 5, 3)[1]
    found = solve_ivp(rates, (0, 0.1), np.stack([x, v]).ravel(), rtol=1e-11, atol=1e-11)
    moved = found.y[:, -1].reshape(2, 5, 3)[0]
    np.testing.assert_allclose(data.position[bench.FIRST + 1, k], moved, atol=1e-6)


def test_the_true_law_by_the_generators_scheme_has_no_error(data):
    found = bench.errors(lambda square: -0.5 * square**-1.5, bench.STEP, data)
    assert found["mean_without"] < 1e-20 and found["median"] < 1e-24
    assert found["close_encounters"] == np.mean(data.nearest < 0.3)


def test_derivatives_of_the_last_frame_are_those_of_differences(data, monkeypatch):
    """One frame instead of ten, which is exact all the same."""
    monkeypatch.setattr(two_frames, "LAST", bench.FIRST + 1)
    (term,) = hgn.sample([hgn.Pair(6)], two_frames._ends(data), key=jr.key(0))
    theta = 0.1 * jr.normal(jr.key(1), (6,))
    product = data.charge[:, bench.SENDERS] * data.charge[:, bench.RECEIVERS]
    start = [
        jnp.asarray(a) for a in (data.position[bench.FIRST], data.velocity[bench.FIRST], product)
    ]
    _, slopes = two_frames._moved(term, theta, *start)
    step = 1e-5 * jnp.eye(6)[2]
    ahead, behind = (two_frames._moved(term, theta + s, *start)[0] for s in (step, -step))
    np.testing.assert_allclose(slopes[..., 2], (ahead - behind) / 2e-5, atol=1e-7)


def test_a_table_of_a_slope_is_the_slope():
    graph = hgn.graphs.from_pairs(jnp.zeros((2, 3)).at[1, 0].set(2.0), [(0, 1)])
    (term,) = hgn.sample([hgn.Pair(8)], graph, key=jr.key(0))
    theta = jr.normal(jr.key(1), (8,))
    model = hgn.HamiltonianGraphNetwork(hgn.Basis((term,)), (theta,), jnp.zeros(1))
    square = jnp.array([0.01, 0.5, 4.0, 100.0])
    exact = jax.jit(lambda s: term.slopes(s, 0) @ theta)(square)
    np.testing.assert_allclose(bench.tabulated(model)(square), exact, rtol=1e-5)


def test_the_training_forces_are_those_of_coulombs_law():
    """The better half of them by the benchmark's own weights; the middle of a step is where they
    are taken."""
    data = bench._training(20)
    q, ends = np.asarray(data.nodes["position"]), (data.senders, data.receivers)
    apart = q[np.asarray(ends[1])] - q[np.asarray(ends[0])]
    pull = np.asarray(data.edges["coupling"]) / np.linalg.norm(apart, axis=1) ** 3
    force = np.zeros_like(q)
    np.add.at(force, np.asarray(ends[1]), pull[:, None] * apart)
    weight = np.asarray(data.nodes["weight"])
    good = weight > np.median(weight)
    error = np.linalg.norm(np.asarray(data.nodes["force"]) - force, axis=1)
    assert error[good].max() < 1e-5 * np.median(np.linalg.norm(force, axis=1))
    assert len(q) == 20 * 41 * 5
