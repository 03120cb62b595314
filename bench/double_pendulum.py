"""A measured double pendulum, learned from angles and their rates by weak Euler-Lagrange rows.

Momenta are unknown, since the mass matrix is. For a function f that vanishes at both ends of a
window,

    -integral of f' dL/dw = integral of f dL/dq

is linear in the coefficients of the Lagrangian L(q, w). The equations fix L up to a factor, so its
first coefficient is 1. This is no observation of the library: its rows are those of Lagrangians,
whose rollouts need the inverse of the learned mass matrix, while models are Hamiltonians.
"""

from pathlib import Path
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

import hgn_jax as hgn

from .record import Record

GAP, LEAST = 0.015, 25
"""Longest step (s) within a segment, and fewest lines of one."""
TEST = 5
"""Segments at the end of the file that are forecast only."""
WINDOWS = (9, 13, 17, 21, 25)
"""Lengths of windows in frames, up to the shortest segment. The best is chosen by forecasts of each
training segment by the law of all others."""
AHEAD = 25
"""Steps of a forecast: 0.25 s."""
STRIDE, POWER = 2, 3

Table = Float[np.ndarray, "t c"]
Law = Float[np.ndarray, " 4"]


class Lagrangian(hgn.AbstractSiteEnergy):
    """w1^2/2, w2^2/2, w1 w2 cos(q1 - q2), cos q1, cos q2; w stands in the place of momenta."""

    name: ClassVar[str] = "lagrangian"
    sites: ClassVar[Any] = hgn.sites.Phases()

    def phi(self, z: Any, site: Any) -> Any:
        q, w = z[:2], z[2:]
        mixed = w[0] * w[1] * jnp.cos(q[0] - q[1])
        return jnp.concatenate([w**2 / 2, mixed[None], jnp.cos(q)])


def measured(folder: Path) -> Record:
    segments = segments_of(np.loadtxt(folder / "real_double_pend_h_1.txt", comments="%"))
    train, test = segments[:-TEST], segments[-TEST:]
    errors = [left_out_error(train, rows(train, window)) for window in WINDOWS]
    window = WINDOWS[int(np.argmin(errors))]
    blocks = rows(train, window)
    found = law(blocks)
    unseen = np.concatenate(rows(test, window))
    return {
        "train_segments": len(train),
        "test_segments": len(test),
        "frames": sum(map(len, segments)),
        "window": window,
        "law": as_published(found).tolist(),
        "deviation": as_published(deviations(blocks)).tolist(),
        "weak_residual": float(np.linalg.norm(unseen @ [1, *found]) / np.linalg.norm(unseen[:, 0])),
        "forecast_seconds": AHEAD / 100,
        "forecast_error": forecast_error(found, test),
        "left_out_error": min(errors),
        "goal": 0.02,
    }


def segments_of(table: Table) -> list[Table]:
    """Stretches without gaps: time, two angles, two rates."""
    cut = np.flatnonzero((np.diff(table[:, 1]) > GAP) | (np.diff(table[:, 0]) != 0)) + 1
    return [s[:, 1:6] for s in np.split(table, cut) if len(s) >= LEAST]


def rows(segments: list[Table], window: int) -> list[Float[np.ndarray, "r 5"]]:
    """Rows of every segment for the coefficients of L, all of which sum to zero."""
    return [_of_segment(s, window) for s in segments]


def _of_segment(segment: Table, window: int) -> Float[np.ndarray, "r 5"]:
    time = segment[:, 0]
    graph = hgn.graphs.from_pairs(segment[:1, 1:3], [])
    states = {"position": segment[:, None, 1:3], "momentum": segment[:, None, 3:5]}
    graphs = hgn.graphs.snapshots(graph, {k: jnp.asarray(v) for k, v in states.items()}, {})
    by_angle, by_rate = map(np.asarray, Lagrangian().gradient(graphs))
    found = []
    for first in range(0, len(time) - window + 1, STRIDE):
        inside = slice(first, first + window)
        scale = 2 / (time[inside][-1] - time[inside][0])
        s = scale * (time[inside] - time[inside][0]) - 1
        f = (1 - s**2) ** POWER
        slope = -2 * POWER * s * (1 - s**2) ** (POWER - 1) * scale
        # Trapezoids are accurate here: f and its slope vanish at both ends.
        weight = np.gradient(time[inside])[:, None, None]
        row = weight * (
            slope[:, None, None] * by_rate[inside] + f[:, None, None] * by_angle[inside]
        )
        found.append(row.sum(axis=0) / np.sqrt(np.sum(weight[:, 0, 0] * f**2)))
    return np.concatenate(found)


def law(blocks: list[Float[np.ndarray, "r 5"]]) -> Law:
    """Coefficients of L after the first, which is 1, from one solve."""
    matrix = np.concatenate(blocks)
    return np.asarray(np.linalg.lstsq(matrix[:, 1:], -matrix[:, 0], rcond=None)[0])


def without_each(blocks: list[Float[np.ndarray, "r 5"]]) -> list[Law]:
    """The law of all segments but one, for each."""
    return [law(blocks[:k] + blocks[k + 1 :]) for k in range(len(blocks))]


def deviations(blocks: list[Float[np.ndarray, "r 5"]]) -> Law:
    """Standard deviations by the jackknife over segments: neighbouring windows overlap."""
    return np.sqrt((len(blocks) - 1) * np.var(without_each(blocks), axis=0))


def left_out_error(segments: list[Table], blocks: list[Float[np.ndarray, "r 5"]]) -> float:
    """Forecast error of segments by the law of all others."""
    pairs = zip(without_each(blocks), segments)
    errors = [forecast_errors(found, [segment]) for found, segment in pairs]
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def as_published(found: Law) -> Law:
    """Coefficients of 2 H with that of w1^2 being 1: w2^2, w1 w2 cos(q1 - q2), cos q1, cos q2."""
    return found * np.array([1, 2, 2, 2])


def forecast_error(found: Law, segments: list[Table]) -> float:
    """Root mean square of the angles' errors (rad) over forecasts from every fifth frame."""
    return float(np.sqrt(np.mean(forecast_errors(found, segments) ** 2)))


def forecast_errors(found: Law, segments: list[Table]) -> Float[np.ndarray, "t 2"]:
    errors = [np.zeros((0, 2))]
    for segment in segments:
        for first in range(0, len(segment) - AHEAD, 5):
            part = segment[first : first + AHEAD + 1]
            ahead = solve_ivp(
                lambda t, y: motion(found, y),
                (part[0, 0], part[-1, 0]),
                part[0, 1:],
                t_eval=part[:, 0],
                rtol=1e-8,
                atol=1e-8,
            )
            errors.append(ahead.y[:2, 1:].T - part[1:, 1:3])
    return np.concatenate(errors)


def motion(found: Law, state: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 4"]:
    """Rates of angles and rates, from the Euler-Lagrange equations."""
    (a, b), w = state[:2], state[2:]
    second, mixed, upper, lower = found
    cos, sin = np.cos(a - b), np.sin(a - b)
    matrix = np.array([[1, mixed * cos], [mixed * cos, second]])
    right = [
        -mixed * w[1] ** 2 * sin - upper * np.sin(a),
        mixed * w[0] ** 2 * sin - lower * np.sin(b),
    ]
    return np.concatenate([w, np.linalg.solve(matrix, right)])
