"""Maximum likelihood over windows of growing length."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .gauss_newton import residuals
from .unknowns import Mover
from .windows import Trajectories, Windows, windows_of

SIZES = (5, 10, 20)
"""Frames of windows before those of whole trajectories."""
ACCEPTED = 1.2
"""Greatest residual over the noise."""
STILL = 1e-3
"""Relative change of the squared residual at which an iteration ends."""
SLACK = 1.02
"""Growth of the squared residual that a step may bring: the ridge may change."""
ITERATIONS = 12
HALVINGS = 6
EXACT = 0.02
"""Greatest error of the integration over the residual, or the noise."""
MOST_SUBSTEPS = 32
LOWEST = 0.1
"""Factor by which one size of windows may lower the noise: a model is fitted by it."""
FELL = 0.5
"""Factor of the noise below which whole trajectories are followed again, more exactly."""

_Point = TypeVar("_Point")
Proposal = Callable[
    [Mover, Float[Array, "f D"], Windows, int],
    tuple[Mover, Float[Array, "f D"]],
]
"""Next model and starts, from the present ones, the windows and the number of sub-steps."""


class Stage(NamedTuple):
    """The best motion over windows of one size."""

    model: Mover
    states: Float[Array, "f D"]
    windows: Windows
    iterations: int
    substeps: int
    squares: Float[np.ndarray, " s"]
    """Sums of squares of residuals over the noise, for each array of the state."""

    @property
    def frames(self) -> int:
        """Frames of the longest window."""
        return self.windows.frame.shape[1]


@dataclasses.dataclass
class Growth:
    """The trajectories, and what a size of windows passes on to the next."""

    trajectories: Trajectories
    noise: Float[np.ndarray, " s"]
    model: Mover
    starts: Float[Array, "f D"]
    substeps: int = 1

    def stages(self, propose: Proposal, sizes: tuple[int, ...] = SIZES) -> Iterator[Stage]:
        """Motions over windows of these sizes, then over whole trajectories; each starts from the
        model and the states of the one before.

        Frames too far apart to be differentiated, such as two end points, take the motion for
        noise. Whole trajectories are repeated until the noise that they leave stands still.
        """
        longest = self.trajectories.longest
        for size in (s for s in sizes if s < longest):
            yield from self._stage(size, propose)
        before = np.full_like(self.noise, np.inf)
        # The consumer lowers the noise between two stages, see `lower_noise`.
        while (self.noise < FELL * before).any():
            before = self.noise
            yield from self._stage(longest, propose)

    def _stage(self, size: int, propose: Proposal) -> Iterator[Stage]:
        stage = self.converged(windows_of(self.trajectories, size), propose)
        yield stage
        # Only once the consumer asks for more: a stage that it refuses passes nothing on.
        self.model, self.starts = stage.model, stage.states

    # A motion that diverges is judged by its residual.
    @np.errstate(over="ignore", invalid="ignore")
    def converged(self, windows: Windows, propose: Proposal) -> Stage:
        """The least residual over these windows: steps that do not lessen it are halved."""
        model, starts = self.model, self.starts
        squares, states = self._resolved(model, starts, windows)
        iterations = 0
        for _ in range(ITERATIONS):
            goal = propose(model, starts, windows, self.substeps)
            before = float(squares.sum())
            for _ in range(HALVINGS):
                squares_there, states_there = self.squares(*goal, windows)
                total = float(squares_there.sum())
                # From a motion that diverged, every finite one is a gain.
                if total <= SLACK * before or (math.isfinite(total) and not math.isfinite(before)):
                    break
                goal = _halfway((model, starts), goal)
            else:  # no fraction of the step helps
                break
            (model, starts), squares, states = goal, squares_there, states_there
            iterations += 1
            squares, states = self._resolved(model, starts, windows)
            if abs(total - before) <= STILL * before:
                break
        return Stage(model, states, windows, iterations, self.substeps, squares)

    @np.errstate(over="ignore", invalid="ignore")
    def lower_noise(self, stage: Stage, spare: float) -> float:
        """Lowers the noise of each array to what this motion leaves, if that is less, and returns
        the residual over the noise that remains. Differences of the states took motion for noise
        then."""
        counts = self.counts()
        # Degrees of freedom, shared out by the number of values.
        expected = counts * spare / max(counts.sum(), 1)
        variance = stage.squares / np.where(expected > 0, expected, 1)
        lower = np.where(expected > 0, np.clip(variance, LOWEST**2, 1), 1)
        self.noise = self.noise * np.sqrt(lower)
        return math.sqrt(float(np.sum(stage.squares / lower)) / max(spare, 1))

    def counts(self) -> Int[np.ndarray, " s"]:
        """Number of measured values of each array of the state."""
        seen, kinds = np.asarray(self.trajectories.seen), np.asarray(self.trajectories.kinds)
        return np.array([seen[:, kinds == k].sum() for k in range(len(self.noise))])

    def rows(self, windows: Windows) -> float:
        """Measured values less the unknowns of the starts."""
        seen = np.asarray(self.trajectories.seen)[np.asarray(windows.frame)]
        seen = (seen & np.asarray(windows.real)[:, :, None]).sum(axis=(1, 2))
        # Windows with fewer values than a start has leave no rows.
        return float(np.maximum(seen - self.trajectories.state.shape[1], 0).sum())

    def squares(
        self, model: Mover, starts: Float[Array, "f D"], windows: Windows
    ) -> tuple[np.ndarray, Float[Array, "f D"]]:
        """Sums of squares of residuals over the noise, for each array of the state, and the
        motion."""
        residual, states = self._residuals(model, starts, windows, self.substeps)
        return self._by_array(residual), states

    def _resolved(
        self, model: Mover, starts: Float[Array, "f D"], windows: Windows
    ) -> tuple[np.ndarray, Float[Array, "f D"]]:
        """Squares of the residuals, with as many sub-steps as make the error of the integration
        small beside them, or beside the noise."""
        residual, states = self._residuals(model, starts, windows, self.substeps)
        while self.substeps < MOST_SUBSTEPS:
            fine, finer = self._residuals(model, starts, windows, 2 * self.substeps)
            size = max(float(np.linalg.norm(fine)), math.sqrt(self.counts().sum()))
            if not float(np.linalg.norm(fine - residual)) > EXACT * size:  # NaN stops it, too
                break
            self.substeps *= 2
            residual, states = fine, finer
        return self._by_array(residual), states

    def _by_array(self, residual: Float[np.ndarray, "f D"]) -> Float[np.ndarray, " s"]:
        """Sums of squares of residuals for each array of the state."""
        kinds, each = np.asarray(self.trajectories.kinds), (residual**2).sum(axis=0)
        return np.array([each[kinds == k].sum() for k in range(len(self.noise))])

    def _residuals(
        self, model: Mover, starts: Float[Array, "f D"], windows: Windows, substeps: int
    ) -> tuple[np.ndarray, Float[Array, "f D"]]:
        noise = jnp.asarray(self.noise, starts.dtype)
        count = jnp.asarray(substeps, jnp.int32)
        residual, states = residuals(model, self.trajectories, windows.begins, starts, noise, count)
        return np.asarray(residual), states


def _halfway(near: _Point, far: _Point) -> _Point:
    """The point between two models and their starts."""

    def mean(a: Any, b: Any) -> Any:
        return (a + b) / 2 if eqx.is_inexact_array(a) else a  # indices agree

    return jax.tree.map(mean, near, far)


def chi(stage: Stage, spare: float) -> float:
    """Root mean square residual over the noise, with that many degrees of freedom left; infinite if
    it is not finite."""
    value = math.sqrt(max(float(stage.squares.sum()), 0) / max(spare, 1))
    return value if math.isfinite(value) else math.inf


def follows(residual: float, frames: int, before: float, frames_before: int) -> bool:
    r"""True if a residual over the noise over windows of that many frames is as small as one
    expects after `before` for shorter windows, infinite for the shortest.

    White noise leaves the same residual at every length. Where the residual exceeds it already,
    errors of neighbouring samples are alike, or there is no noise: differences of the states missed
    these errors. At worst they add up from sample to sample, as a random walk does, and grow with
    the root of the length. Wrong motion departs at least in proportion to the length.
    """
    if before <= ACCEPTED:
        return residual <= ACCEPTED * max(1.0, before)
    return math.isfinite(residual) and (
        math.isinf(before) or residual <= before * math.sqrt(frames / frames_before)
    )
