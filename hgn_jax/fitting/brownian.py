"""Energy, mobility and temperature of Brownian particles, from their tracks."""

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from jraph import GraphsTuple

from .._types import Key
from ..features.base import AbstractTerm
from ..graphs.geometry import movable
from ..graphs.padding import real_counts, without_padding
from ..graphs.pieces import packs
from ..graphs.schema import require
from ..graphs.selection import take
from ..linear.base import AbstractLeastSquares
from ..linear.qr import QR
from ..models.overdamped import Overdamped
from .amplification import amplification
from .arguments import Term
from .fit import fit, solve
from .observations import Derivatives
from .result import Fit
from .series import GAP
from .uncertainty import DeviationScale
from .weights import UniformWeights

PASSES = 2
"""Corrections of the drift: each divides its error by several relaxation times per step."""
BODIES = 200_000
"""Bodies whose drift is computed at once."""
CORRELATED = 0.02
"""Correlation of successive residuals from which positions have noise of their own."""


class Brownian(eqx.Module):
    """The law of Brownian particles. Deviations are standard deviations."""

    fit: Fit
    """Its model moves bodies by the drift, without noise."""
    mobility: float
    mobility_deviation: float
    """Zero if the mobility was given."""
    temperature: float
    """kT (energy)."""
    temperature_deviation: float
    """Zero if the temperature was given."""
    diffusion: float
    r"""$D = \mu\, kT$ (length^2 / time)."""
    diffusion_deviation: float
    correlation: float
    """Correlation of successive residuals: zero if positions are exact."""


def fit_brownian(
    data: GraphsTuple,
    *,
    key: Key | int,
    terms: Sequence[Term],
    mobility: float | None = None,
    temperature: float | None = None,
    solver: AbstractLeastSquares = QR(),
) -> Brownian:
    r"""Learns the energy, and the mobility or the temperature, from tracks of Brownian particles,
    $dq = -\mu \nabla E\, dt + \sqrt{2 \mu\, kT}\, dW$.

    The increments over a step are regressed on the drift at its start. Their mean is
    $\frac{\Delta t}{2} (b(q_0) + E[b(q_1) | q_0]) + O(\Delta t^3)$, so that half of the difference
    $b(q_1) - b(q_0)$, with the drift b of the solve before, is subtracted from the velocities, and
    the solve repeated. Drifts are wrong by about $(\Delta t / \tau)^2 / 12$ for a relaxation time
    $\tau$. The variance of what the mean of both drifts leaves is $2 D \Delta t$ less
    $\Delta t^2 / 12$ times the mean square of $b(q_1) - b(q_0)$ in equilibrium, which is added. D
    is then wrong by about $(\Delta t / \tau)^3 / 24$. Functions that change within a step are found
    less accurately, which the deviations of the fit include, on the average over the data.

    Tracks determine $\mu \nabla E$ and $D = \mu\, kT$. The mobility cannot be told from the scale
    of energies, so either it or the temperature must be given.

    **Arguments:**

    - `data`: consecutive frames of numbered trajectories, as `hgn.graphs.from_trajectories(...,
        rates=False)` gives them. Steps should be shorter than a third of the relaxation time, and
        are left out if longer than three median steps. Errors of the positions must be small
        compared with $\sqrt{2 D \Delta t}$: they are warned of.
    - `key`, `terms`, `solver`: as of `hgn.fit`.
    - `mobility`: $\mu$ (time / mass), alike for all bodies.
    - `temperature`: kT (energy).

    **Raises:** `ValueError` unless one of mobility and temperature is given, positive and finite;
    for data without times or trajectories, or without two successive frames of the same bodies.

    Frishman, Ronceray, Phys. Rev. X 10, 021009 (2020).
    """
    known = {"mobility": mobility, "temperature": temperature}
    given = {name: value for name, value in known.items() if value is not None}
    if len(given) != 1:
        what = "neither" if not given else "both"
        raise ValueError(
            "tracks determine the products mobility * force and mobility * temperature: give one "
            f"of mobility= and temperature=, got {what}"
        )
    for name, value in given.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")
    data = without_padding(data)
    begins, step = _steps(data)
    starts, n_node = take(data, begins), np.asarray(data.n_node)
    first, last = (np.repeat(f, n_node) for f in (begins, np.roll(begins, 1)))  # wraps a False
    per_node = np.repeat(step, np.asarray(starts.n_node))[:, None]
    position = np.asarray(data.nodes["position"])
    velocity = (position[last] - position[first]) / per_node

    def solved(target: np.ndarray, mobility: float, sampled: Any) -> Fit:
        weight = np.sqrt(per_node[:, 0] / np.median(step))  # the noise of velocities is white
        dtype = starts.nodes["position"].dtype
        arrays = {"velocity": jnp.asarray(target, dtype), "weight": jnp.asarray(weight, dtype)}
        frames = starts._replace(nodes=starts.nodes | arrays)
        how: dict[str, Any] = {
            "observations": [Derivatives(UniformWeights())],
            "dynamics": Overdamped(mobility),
            "solver": solver,
            "throw": False,  # most of the motion is noise, which no model explains
        }
        if sampled is None:
            return fit(frames, key=key, terms=terms, **how)
        return solve(sampled, frames, **how)

    scale = 1.0 if mobility is None else mobility
    fitted = solved(velocity, scale, None)
    sampled: tuple[AbstractTerm, ...] = fitted.model.terms
    for _ in range(PASSES):
        drift = _drift(fitted, data)
        change = (drift[last] - drift[first]) / 2
        fitted = solved(velocity - change, scale, sampled)
    drift = _drift(fitted, data)
    mean, difference = (drift[first] + drift[last]) / 2, drift[last] - drift[first]
    # White noise: the variance of a velocity is 2 D over the length of the step.
    residual = (velocity - mean) * np.sqrt(per_node)
    free = np.asarray(movable(starts))
    count = free.sum() * residual.shape[1]
    squares = np.sum(residual[free] ** 2) + np.sum((difference**2 * per_node / 12)[free])
    # The mean square is 2 D, over the freedom that the coefficients leave.
    diffusion = squares / 2 / (count - float(fitted.effective_dof))
    deviation = diffusion * math.sqrt(2 / count)  # of the variance of normal numbers
    correlation = _correlation(residual, begins, starts)
    # The error of a position enters two steps with opposite signs: they are anticorrelated.
    if correlation < -max(CORRELATED, 5 / math.sqrt(count)):
        warnings.warn(
            f"successive steps are correlated by {correlation:.3f}: the positions have errors that "
            "are not small compared with a step, and forces and diffusion are wrong",
            stacklevel=2,
        )
    of_step = np.zeros(len(begins))
    of_step[begins] = np.sqrt(step)
    factor = amplification(fitted, data, of_step)
    if mobility is None:
        assert temperature is not None
        scale = float(diffusion) / temperature
        # The same velocities and drift: only the scale of the energies changes.
        fitted = solved(velocity - change, scale, sampled)
        spread = (deviation / temperature, 0.0)
    else:
        temperature = float(diffusion) / mobility
        spread = (0.0, deviation / mobility)
    dtype = fitted.model.theta[0].dtype
    exact = DeviationScale(jnp.asarray(factor, dtype), jnp.zeros((), dtype))
    fitted = dataclasses.replace(fitted, deviation_scales={"energy": exact, "velocity": exact})
    return Brownian(
        fitted, scale, spread[0], temperature, spread[1], float(diffusion), deviation, correlation
    )


def _steps(data: GraphsTuple) -> tuple[Bool[np.ndarray, " g"], Float[np.ndarray, " s"]]:
    """Frames that another frame of the same trajectory and bodies follows without a gap, and the
    lengths of these steps."""
    require(data, {"globals": ["time", "trajectory"], "nodes": ["position"]}, "fit_brownian()")
    time, number = np.asarray(data.globals["time"]), np.asarray(data.globals["trajectory"])
    follows = np.diff(number) == 0
    step = np.diff(time)
    if (step[follows] <= 0).any():
        frame = int(np.flatnonzero(follows & (step <= 0))[0])
        raise ValueError(f"the time does not increase from frame {frame} to frame {frame + 1}")
    follows &= np.diff(np.asarray(data.n_node)) == 0
    if follows.any():
        follows &= step <= GAP * np.median(step[follows])
    if not follows.any():
        raise ValueError("no two successive frames of a trajectory hold the same bodies")
    return np.append(follows, False), step[follows]


def _drift(found: Fit, data: GraphsTuple) -> Float[np.ndarray, "n d"]:
    """Velocities by the model."""
    drifts = []
    for piece in packs(data, BODIES):
        nodes = int(real_counts(np.asarray(piece.n_node), len(piece.nodes["position"]))[1])
        drifts.append(np.asarray(_velocity(found.model, piece))[:nodes])
    return np.concatenate(drifts)


@eqx.filter_jit
def _velocity(model: Any, graphs: GraphsTuple) -> jax.Array:
    return model.vector_field(graphs)[0]


def _correlation(
    residual: Float[np.ndarray, "n d"], begins: Bool[np.ndarray, " g"], starts: GraphsTuple
) -> float:
    """Correlation of the residuals of successive steps."""
    frame = np.flatnonzero(begins)
    follows = np.diff(frame) == 1
    n_node, free = np.asarray(starts.n_node), np.asarray(movable(starts))
    first = np.repeat(np.append(follows, False), n_node)
    second = np.repeat(np.append(False, follows), n_node)
    kept = free[first] & free[second]
    if not kept.any():
        return 0.0
    a, b = residual[first][kept], residual[second][kept]
    return float(np.sum(a * b) / np.sqrt(np.sum(a**2) * np.sum(b**2)))
