"""Window and order of `Steps`, settled by the data."""

import dataclasses
import itertools
import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int
from jraph import GraphsTuple

from .._tree import is_concrete
from .._types import Key
from ..graphs.padding import without_padding
from ..graphs.schema import require
from ..graphs.selection import take
from ..models.basis import Basis
from ..models.network import HamiltonianGraphNetwork
from .arguments import Term
from .observations import AbstractObservation, Rows
from .reduction import reduce
from .result import conclude
from .sample import Recipe, given_equations, sampled_equations
from .series import series
from .smooth import followed
from .steps import Steps, measured_arrays, step_rows

WINDOWS = (8, 16, 4)
"""Frames of the windows that are tried; where several follow the states alike, the first is best in
the mean."""
WINDOWS_OF_POSITIONS = (16, 32, 8)
"""The same for positions alone."""
LOW_ORDER = 3
ALIKE = 1.005
"""Ratio of residuals that tells no window from another."""
FOLLOWED = 10
"""Frames over which the learned motion is compared with the states."""
ENOUGH = 2000
"""Frames that are compared, in whole trajectories."""


def settled(how: Recipe, data: GraphsTuple, key: Key | None = None) -> Recipe:
    """The recipe with the window of each `Steps` chosen.

    Of several windows and orders, it is the one whose learned motion, from free starts, follows the
    states best.

    The same terms are solved for each of them, so that nothing but the rows differs. `key` samples
    them, unless they are sampled. Windows stay open where values are unknown, and take their
    defaults: inside jit, for trajectories of different systems, and for bodies with an axis, whose
    starts are not free.

    **Raises:** `ValueError` if times go back within a trajectory.
    """
    steps = [o for o in how.observations if isinstance(o, Steps)]
    if not steps or not is_concrete((data, how, key)):
        return how
    _check_times(data)
    if all(o.window is not None for o in steps) or "axis" in how.dynamics.state:
        return how
    few = _first_trajectories(data)
    terms = how.terms if key is None else sampled_equations(data, key, how).basis.terms
    alone = measured_arrays(data, Basis(())) == ("position",)
    # A dict, not a set: each order once, and the given one first.
    orders = dict.fromkeys((steps[0].order, min(LOW_ORDER, steps[0].order)))
    tried = list(itertools.product(WINDOWS_OF_POSITIONS if alone else WINDOWS, orders))
    scores = [_misfit(how, terms, few, *candidate) for candidate in tried]
    if not math.isfinite(min(scores)):
        return how
    window, order = tried[next(k for k, s in enumerate(scores) if s <= ALIKE * min(scores))]
    chosen = tuple(
        dataclasses.replace(o, window=window, order=order)
        if isinstance(o, Steps) and o.window is None
        else o
        for o in how.observations
    )
    return dataclasses.replace(how, observations=chosen)


class _Candidate(AbstractObservation):
    """Steps whose window and order are arrays: all candidates share one program."""

    window: ClassVar[int | None] = None
    steps: Steps
    frames: Int[Array, ""]
    order: Int[Array, ""]

    def needs(self, basis: Basis) -> dict[str, set[str]]:
        return self.steps.needs(basis)

    def calibrated(self, data: GraphsTuple, basis: Basis) -> "_Candidate":
        return dataclasses.replace(self, steps=self.steps.calibrated(data, basis))

    def rows(self, basis: Basis, graphs: GraphsTuple) -> tuple[Rows, ...]:
        ready = self.steps
        assert ready.noise is not None and ready.longest_step is not None
        along = series(graphs, self.frames, ready.longest_step)
        longest = max(WINDOWS_OF_POSITIONS)  # static, so that all candidates share shapes
        return step_rows(basis, graphs, along, self.order, ready.noise, ready.order, longest)


def _misfit(
    how: Recipe, terms: tuple[Term, ...], data: GraphsTuple, window: int, order: int
) -> float:
    """Residual over the noise of the motion learned with this window and order."""

    def candidate(observation: AbstractObservation) -> AbstractObservation:
        if not isinstance(observation, Steps) or observation.window is not None:
            return observation
        frames, degree = (jnp.asarray(k, jnp.int32) for k in (window, order))
        return _Candidate(observation, frames, degree)

    observations = tuple(map(candidate, how.observations))
    trial = dataclasses.replace(
        how, terms=terms, observations=observations, solver=how.solver_of_one_batch
    )
    try:
        _, misfit = next(followed(_learned(data, trial), data, (FOLLOWED,)))
    except ValueError:  # trajectories of different systems
        return math.inf
    return misfit


@eqx.filter_jit
def _learned(data: GraphsTuple, how: Recipe) -> HamiltonianGraphNetwork:
    equations = given_equations(how.terms, data, how)
    systems = equations.systems(data)
    return conclude(equations, reduce(equations, systems, data, how.solver), how.solver).model


def _first_trajectories(data: GraphsTuple) -> GraphsTuple:
    """Whole trajectories from the first on, until there are enough frames."""
    data = without_padding(data)
    number = np.asarray(data.globals["trajectory"])
    if len(number) <= ENOUGH:
        return data
    ends = np.append(np.flatnonzero(np.diff(number)) + 1, len(number))
    end = int(ends[np.argmax(ends >= min(ENOUGH, ends[-1]))])  # the first that is enough
    return take(data, np.arange(len(number)) < end)


def _check_times(data: GraphsTuple) -> None:
    require(data, {"globals": ["time", "trajectory"]}, "Steps")
    data = without_padding(data)
    time, number = (np.asarray(data.globals[name]) for name in ("time", "trajectory"))
    back = np.flatnonzero((np.diff(number) == 0) & ~(np.diff(time) > 0))
    if len(back):
        k = int(back[0])
        raise ValueError(
            f"times must increase within a trajectory: frame {k + 1} of the data, in trajectory "
            f"{number[k]}, has time {time[k + 1]:.10g} after {time[k]:.10g} ({len(back)} in all). "
            "Trajectories of several data sets need numbers of their own"
        )
