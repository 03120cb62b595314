"""A force too steep for the frames: the magnet pendulum of Constrained Hamiltonian Neural Networks,
from the published number of chunks.

Within a tenth of the rod's length the force of the dipoles grows by three orders of magnitude.
Units are as sharp as the force where it is steep. Rates are integrated along the cubic through two
frames, and pairs of frames between which the velocity turns much weigh less; the first cases leave
this out. One solve of `Steps`, without refinement. Validation trajectories choose the number of
units and the power of the weights. The form and the widths of the units were chosen beforehand, by
further validation trajectories.
"""

import itertools
import time
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

import hgn_jax as hgn

from .record import Record
from .rod_motion import TESTS, chunks_of, rollout_error, trajectories
from .rod_systems import System, magnet_pendulum

LOBATTO = np.array([0, 0.5 - 0.05**0.5, 0.5 + 0.05**0.5, 1])
"""Points of a frame's step at which rates are integrated exactly up to degree 5."""
WIDTHS = 0.02, 0.5
"""Least and greatest width of a unit, in lengths of the rod."""
UNITS, POWERS = (600, 1200), (2.0, 4.0)
"""Numbers of units and powers of the weights that are tried."""
CHUNKS, VALIDATIONS = 800, 50
VARIANTS = (False, False), (True, False), (True, True)
"""Pairs of choices: rates between frames or not, weights or not."""

Steps = Float[np.ndarray, "s 2 d"]
"""Positions or velocities of one body before and after each step."""


def errors(between: bool, weighted: bool, quick: bool) -> Record:
    """Errors of rollouts from fresh starts, with the settings that follow the validation
    trajectories best."""
    system, rng = magnet_pendulum(), np.random.default_rng(1)
    count, validations, tests = (40, 4, 4) if quick else (CHUNKS, VALIDATIONS, TESTS)
    q, v = (_pairs(a) for a in chunks_of(trajectories(system, rng, count), rng, 1))
    followed = trajectories(system, rng, validations)
    true = trajectories(system, rng, tests)
    begin, tried = time.perf_counter(), []
    for units, power in itertools.product(
        (20,) if quick else UNITS, POWERS if weighted else (0.0,)
    ):
        fit = fitted(system, q, v, units, power, between)
        found = {"validation": rollout_error(system, fit.model, followed), "units": units}
        tried.append(found | {"power": power, "model": fit.model, "residual": float(fit.residual)})
    best = min(tried, key=lambda found: float(np.nan_to_num(found["validation"], nan=np.inf)))
    seconds = time.perf_counter() - begin
    model = best.pop("model")
    error = rollout_error(system, model, true)
    return {"error": error, **best, "chunks": count, "rollouts": tests, "seconds": seconds}


def _pairs(states: Float[np.ndarray, "k t 1 d"]) -> Steps:
    """Neighbouring frames of all chunks."""
    pairs = np.stack([states[:, :-1, 0], states[:, 1:, 0]], axis=2)
    return pairs.reshape(-1, 2, states.shape[3])


class Wells(hgn.AbstractSiteEnergy):
    r"""$\phi_k(x) = (1 + |x - c_k|^2 / w_k^2)^{-5/2}$ about random centres c, with random widths w,
    and the coordinates themselves."""

    name: ClassVar[str] = "wells"
    sites: ClassVar[Any] = hgn.sites.Positions()
    centre: Float[Array, "K d"]
    width: Float[Array, " K"]

    def phi(self, z: Float[Array, " d"], site: hgn.sites.Site) -> Float[Array, " _"]:
        square = jnp.sum((z[None] - self.centre) ** 2, axis=1) / self.width**2
        return jnp.concatenate([(1 + square) ** -2.5, z])


def wells(
    rng: np.random.Generator,
    units: int,
    q: Steps,
    v: Steps,
) -> Wells:
    """Units with log-uniform widths; centres are one width from the middle of a step, which is
    drawn in proportion to the change of velocity."""
    turn = _turn(v)
    where = q.mean(axis=1)[rng.choice(len(q), units, p=turn / turn.sum())]
    width = np.exp(rng.uniform(*np.log(WIDTHS), units))
    centre = where + width[:, None] * rng.normal(size=where.shape)
    return Wells(centre=jnp.asarray(centre), width=jnp.asarray(width))


def fitted(system: System, q: Steps, v: Steps, units: int, power: float, between: bool) -> hgn.Fit:
    r"""One solve from steps of one body on a rod of length 1, weighted by
    $(1 + |\Delta v| / median)^{-power}$."""
    data = _path(system, q, v, LOBATTO if between else LOBATTO[[0, -1]])
    turn = _turn(v)
    weight = (1 + turn / np.median(turn)) ** -power
    each = np.repeat(weight, len(data.n_node) // len(q))
    return hgn.fit(
        data._replace(nodes=data.nodes | {"weight": jnp.asarray(each)}),
        key=0,
        terms=[wells(np.random.default_rng(0), units, q, v)],
        dynamics=hgn.Constrained(system.rods),
        observations=[hgn.Steps(window=4, order=3)],
        throw=False,
    )


def _turn(v: Steps) -> Float[np.ndarray, " s"]:
    return np.linalg.norm(v[:, 1] - v[:, 0], axis=1)


def _path(system: System, q: Steps, v: Steps, points: Float[np.ndarray, " p"]) -> GraphsTuple:
    """Every step as a trajectory; between the two states, which alone count as measured, stands the
    cubic through both of them."""
    t = points[:, None]
    start, end, before, after = (x[:, None] for x in (q[:, 0], q[:, 1], v[:, 0], v[:, 1]))
    before, after = system.dt * before, system.dt * after
    path = (
        (2 * t**3 - 3 * t**2 + 1) * start
        + (t**3 - 2 * t**2 + t) * before
        + (3 * t**2 - 2 * t**3) * end
        + (t**3 - t**2) * after
    )
    slope = (
        6 * (t**2 - t) * (start - end)
        + (3 * t**2 - 4 * t + 1) * before
        + (3 * t**2 - 2 * t) * after
    ) / system.dt
    path = path / np.linalg.norm(path, axis=2, keepdims=True)
    slope = slope - np.sum(path * slope, axis=2, keepdims=True) * path
    graph = hgn.graphs.from_pairs(q[0, :1], system.edges, mass=system.mass)
    seen = jnp.asarray(np.tile((points == 0) | (points == 1), len(q)))
    return hgn.graphs.snapshots(
        graph,
        {
            "position": jnp.asarray(path.reshape(-1, 1, 3)),
            "momentum": jnp.asarray(system.mass * slope.reshape(-1, 1, 3)),
            "position_measured": seen[:, None],
            "momentum_measured": seen[:, None],
        },
        {
            "time": jnp.asarray(np.tile(system.dt * points, len(q))),
            "trajectory": jnp.asarray(np.repeat(np.arange(len(q), dtype=np.int32), len(points))),
        },
    )
