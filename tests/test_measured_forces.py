"""Friction and drives learned from noisy states, by `hgn.Steps` and `hgn.refine`."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hgn_jax as hgn

NOISE = 0.01
PAIRS = [(0, 1), (1, 2), (0, 2)]
SITES = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])
TIMES = np.arange(31) * 0.2
RANGE = (0.5, 1.5)
NO_PAIRS = np.zeros((0, 2), int)


# The truth: three bodies on springs of stiffness 1


def friction(speed):
    return 0.1 + 0.1 * speed


def dashpot(r):
    return 0.3 * np.exp(-((r - 1) ** 2) / 0.5)


def drive(t):
    return 0.4 * np.sin(2 * t)


def pair_geometry(q):
    i, j = np.array(PAIRS).T
    x = q[..., i, :] - q[..., j, :]
    r = np.linalg.norm(x, axis=-1, keepdims=True)
    return r, x / r


def summed(pulls):
    """Forces of the pairs `[... 3 d]` on the bodies."""
    force = np.zeros_like(pulls)
    for k, (i, j) in enumerate(PAIRS):
        force[..., i, :] += pulls[..., k, :]
        force[..., j, :] -= pulls[..., k, :]
    return force


def spring_forces(q):
    r, u = pair_geometry(q)
    return summed(-(r - 1) * u)


def dashpot_forces(q, v):
    i, j = np.array(PAIRS).T
    r, u = pair_geometry(q)
    opening = np.sum(u * (v[..., i, :] - v[..., j, :]), axis=-1, keepdims=True)
    return summed(-dashpot(r) * opening * u)


def friction_forces(v):
    return -friction(np.linalg.norm(v, axis=-1, keepdims=True)) * v


def drive_forces(t):
    force = np.zeros((*np.shape(t), 3, 2))
    force[..., 0, 0] = drive(t)
    return force


def moved(count, seed):
    """States `[k t 3 2]` of driven, damped motion."""
    rng = np.random.default_rng(seed)

    def rates(t, y):
        q, v = y.reshape(2, 3, 2)
        force = spring_forces(q) + dashpot_forces(q, v) + friction_forces(v) + drive_forces(t)
        return np.concatenate([v.ravel(), force.ravel()])

    states = []
    for _ in range(count):
        q, v = SITES + rng.uniform(-0.2, 0.2, (3, 2)), 0.5 * rng.normal(size=(3, 2))
        start = np.concatenate([q.ravel(), v.ravel()])
        span = (0, TIMES[-1])
        states.append(solve_ivp(rates, span, start, t_eval=TIMES, rtol=1e-9, atol=1e-11).y.T)
    return np.moveaxis(np.reshape(states, (count, len(TIMES), 2, 3, 2)), 2, 0)


def graphs_of(q, v):
    return hgn.graphs.from_trajectories(TIMES, q, velocity=v, mass=1.0, edges=PAIRS, rates=False)


@pytest.fixture(scope="module")
def refined():
    q, v = moved(24, seed=0)
    rng = np.random.default_rng(1)
    spread = np.sqrt(np.mean(np.var(q, axis=(0, 1)))), np.std(v)
    data = graphs_of(*(a + NOISE * s * rng.normal(size=a.shape) for a, s in zip((q, v), spread)))
    terms = [
        hgn.Kinetic(0),
        hgn.Pair(16),
        hgn.Friction(4),
        hgn.PairFriction(8),
        hgn.Drive([0], period=np.pi, units=2),
    ]
    return hgn.refine(hgn.fit(data, key=0, terms=terms, observations=[hgn.Steps(window=8)]), data)


def test_every_part_of_the_force_is_found_from_noisy_states(refined):
    """Each within 1.2e-2 of the truth, in the root mean square over unseen states."""
    assert refined.refinement.accepted == 4
    np.testing.assert_allclose(refined.refinement.residual, 1, atol=0.05)
    q, v = moved(10, seed=2)
    graphs, model = graphs_of(q, v), refined.model
    time = np.broadcast_to(TIMES, q.shape[:2])
    truths = [spring_forces(q), friction_forces(v), dashpot_forces(q, v), drive_forces(time)]
    for k, true in enumerate(truths, start=1):
        columns = model.basis.rates(graphs)[1][k]
        found = np.asarray(columns @ model.theta[k]).reshape(true.shape)
        error = np.linalg.norm(found - true) / np.linalg.norm(true)
        assert error < 1.2e-2, model.terms[k].name


def test_power_of_every_part_is_found_from_noisy_states(refined):
    q, v = moved(10, seed=2)
    time = np.broadcast_to(TIMES, q.shape[:2])
    power = refined.model.power(graphs_of(q, v))
    for name, force in {
        "friction": friction_forces(v),
        "pair friction": dashpot_forces(q, v),
        "drive": drive_forces(time),
    }.items():
        true = np.sum(force * v, axis=(2, 3)).ravel()
        assert np.linalg.norm(power[name] - true) < 2e-2 * np.linalg.norm(true), name


def test_a_driven_and_damped_rollout_follows_unseen_motion(refined):
    q, v = moved(10, seed=2)
    start = hgn.graphs.take(graphs_of(q[0], v[0]), np.arange(len(TIMES)) == 0)
    path = hgn.rollout(refined.model, start, TIMES, dt=0.1, integrator=hgn.GaussLegendre4())
    error = np.asarray(path.position) - q[0]
    assert np.sqrt(np.mean(error**2)) < 2e-3 * np.std(q[0])


# One body on a line


def oscillation(noise):
    """A swinging, slowly damped pendulum, its angle and rate `[t 1 1]`."""
    times = np.arange(300) * 0.17

    def rates(t, y):
        return [y[1], -1.2 * np.sin(y[0]) - 0.02 * y[1]]

    y = solve_ivp(rates, (0, times[-1]), [1.4, 0.0], t_eval=times, rtol=1e-10, atol=1e-12).y
    angle, rate = (y + noise)[..., None, None]
    return hgn.graphs.from_trajectories(
        times, angle, momentum=rate, mass=1.0, edges=NO_PAIRS, rates=False
    )


def test_one_body_whose_errors_are_alike_in_neighbouring_samples():
    """Differences of neighbours take such errors for motion; long windows find the friction."""
    rng = np.random.default_rng(3)
    noise = np.zeros((2, 300))
    for k in range(1, 300):
        noise[:, k] = 0.8 * noise[:, k - 1] + 0.006 * rng.normal(size=2)
    data = oscillation(noise)
    terms = [hgn.Kinetic(0), hgn.External(8), hgn.Friction(0)]
    fit = hgn.refine(hgn.fit(data, key=0, terms=terms, observations=[hgn.Steps(window=10)]), data)
    path = fit.refinement
    assert path.frames.tolist() == [5, 10, 20, 300] and path.accepted == 4
    assert path.residual[0] > 1.2  # not white
    np.testing.assert_allclose(fit.model.theta[2], 0.02, rtol=0.05)
    angles = jnp.linspace(-1.3, 1.3, 27)
    graphs = hgn.graphs.from_trajectories(
        np.arange(27.0), angles[:, None, None], momentum=jnp.zeros((27, 1, 1)), mass=1.0,
        edges=NO_PAIRS, rates=False,
    )  # fmt: skip
    force = fit.model.vector_field(graphs)[1][:, 0]
    np.testing.assert_allclose(force, -1.2 * np.sin(angles), atol=0.015)
