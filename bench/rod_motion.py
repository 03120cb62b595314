"""Motion of bodies on rods: true trajectories, chunks of them, rollouts and their errors."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from jraph import GraphsTuple

import hgn_jax as hgn

from .rod_systems import System, Truth

FRAMES, CHUNK, TESTS = 100, 5, 100
TRUTH_STEPS, STEPS = 20, 10
"""Integrator steps per frame of the data, and of rollouts."""

States = tuple[Float[np.ndarray, "k t n d"], Float[np.ndarray, "k t n d"]]
"""Positions and velocities."""


def trajectories(system: System, rng: np.random.Generator, count: int) -> States:
    """True motion from fresh starts."""
    q, v = system.starts(rng, count)
    return rolled(system, Truth(system.potential, system.rods), q, v, TRUTH_STEPS)


def rolled(
    system: System, model: hgn.AbstractModel, q: np.ndarray, v: np.ndarray, steps: int
) -> States:
    """Positions and velocities of rollouts side by side."""
    times = system.dt * np.arange(FRAMES)
    start = states(system, np.zeros(1), q[:, None], v[:, None])
    # A learned law that fails is an error to report.
    path = hgn.rollout(
        model, start, times, dt=system.dt / steps, integrator=hgn.Rattle(), throw=False
    )
    shape = FRAMES, len(q), *q.shape[1:]
    position, momentum = (
        np.asarray(a).reshape(shape).swapaxes(0, 1) for a in (path.position, path.momentum)
    )
    return position, momentum / system.mass[:, None]


def states(system: System, times: np.ndarray, q: np.ndarray, v: np.ndarray) -> GraphsTuple:
    """Graphs of states `[k t n d]`, numbered by trajectory."""
    graph = hgn.graphs.from_pairs(q[0, 0], system.edges, mass=system.mass)
    k, t = q.shape[:2]
    return hgn.graphs.snapshots(
        graph,
        {
            "position": jnp.asarray(q.reshape(-1, *q.shape[2:])),
            "momentum": jnp.asarray((system.mass[:, None] * v).reshape(-1, *q.shape[2:])),
        },
        {
            "time": jnp.asarray(np.tile(times, k)),
            "trajectory": jnp.asarray(np.repeat(np.arange(k, dtype=np.int32), t)),
        },
    )


def chunks_of(motion: States, rng: np.random.Generator, each: int) -> States:
    """Chunks at random times of every trajectory."""
    which = np.repeat(np.arange(len(motion[0])), each)
    first = CHUNK * rng.integers(0, FRAMES // CHUNK, len(which))
    q, v = (a[which[:, None], first[:, None] + np.arange(CHUNK)] for a in motion)
    return q, v


def rollout_error(system: System, model: hgn.AbstractModel, true: States) -> float:
    """CHNN's |a - b| / |a + b| of positions and velocities, at least 1e-8: the geometric mean over
    frames and starts."""
    found = rolled(system, model, true[0][:, 0], true[1][:, 0], STEPS)
    a, b = (np.concatenate(s, axis=-1).reshape(*s[0].shape[:2], -1) for s in (found, true))
    error = np.linalg.norm(a - b, axis=2) / np.linalg.norm(a + b, axis=2)
    return geometric_mean(np.maximum(error, 1e-8))


def geometric_mean(x: np.ndarray) -> float:
    return float(np.exp(np.mean(np.log(x))))
