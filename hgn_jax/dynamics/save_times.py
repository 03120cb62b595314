"""Output times, counted in steps."""

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .._tree import is_concrete


class Every(NamedTuple):
    """Output times: the start, then `outputs` more, `steps` time steps apart."""

    steps: int
    outputs: int


class Schedule(eqx.Module):
    """Output times, counted in steps: integers are exact, sums of many dt are not."""

    times: Float[Array, " t"]
    dt: Float[Array, ""]
    strides: Int[Array, " t"] | np.ndarray
    """Whole steps from the previous output; the first is 0."""
    parts: Float[Array, " t"]
    """Remaining fraction of a step, in [0, 1), taken as a partial step."""
    back: Bool[Array, ""]
    even: int | None = eqx.field(static=True)
    """The stride of all outputs but the first, if it is the same for all."""
    most: int | None = eqx.field(static=True)
    """Bound on the strides, a power of two so that jit rarely compiles again; None if traced."""

    def first(self, outputs: int) -> "Schedule":
        """The schedule of that many outputs."""
        return dataclasses.replace(
            self,
            times=self.times[:outputs],
            strides=self.strides[:outputs],
            parts=self.parts[:outputs],
        )


def counted(times: ArrayLike | Sequence[float] | Every, dt: ArrayLike, dtype: np.dtype) -> Schedule:
    """Whole steps to each of the times, and the remaining fractions of a step.

    **Raises:** `ValueError` for invalid times or an invalid step; if they are traced, the step is
    NaN instead.
    """
    step = jnp.asarray(dt, dtype)
    if isinstance(times, Every):
        times = Every(operator.index(times.steps), operator.index(times.outputs))
        if times.steps < 1 or times.outputs < 0:
            raise ValueError(f"Every needs at least one step per output, got {times}")
        _check_count(times.steps, times.steps * times.outputs)
        # A product with a whole number rounds once; a sum of steps would drift.
        numbers = jnp.asarray(times.steps * np.arange(times.outputs + 1), dtype)
        strides = np.full(times.outputs + 1, times.steps, np.int32)
        strides[0] = 0
        parts = jnp.zeros(times.outputs + 1, dtype)
        most = 1 << times.steps.bit_length()
        return Schedule(step * numbers, step, strides, parts, jnp.array(False),
                         times.steps, most)  # fmt: skip
    if not is_concrete((times, dt)):
        if is_concrete(times):
            _check_times(np.asarray(times))
        ts = jnp.asarray(times, dtype)
        spacing = jnp.diff(ts)
        sound = (jnp.all(spacing > 0) | jnp.all(spacing < 0)) & (step > 0)
        step = jnp.where(sound, step, jnp.nan)
        steps, fractions = _in_steps(jnp, ts, step, dtype)
        # If times or dt are invalid, the step is NaN, so that the trajectory is not finite.
        traced = jnp.where(sound, jnp.diff(steps, prepend=0).astype(jnp.int32), 1)
        return Schedule(ts, step, traced, fractions, ts[-1] < ts[0], None, None)
    given = np.asarray(times)
    _check_times(given)
    # Times in float32 are no more exact than that, whatever computes with them.
    resolution = given.dtype if np.issubdtype(given.dtype, np.floating) else np.dtype(float)
    whole, parts = _in_steps(np, given.astype(float), float(np.asarray(dt)), resolution)
    counts = np.diff(whole, prepend=0)
    _check_count(counts.max(initial=0), whole[-1])
    strides = counts.astype(np.int32)
    even = set(strides[1:].tolist())
    return Schedule(
        jnp.asarray(given, dtype),
        step,
        strides,
        jnp.asarray(parts, dtype),
        jnp.array(bool(given[-1] < given[0])),
        even.pop() if len(even) == 1 else None,
        1 << int(strides.max(initial=0)).bit_length(),
    )


def _check_count(stride: float | int, total: float | int) -> None:
    """Raises `ValueError` for more steps than the counters hold."""
    if not stride <= np.iinfo(np.int32).max:
        raise ValueError(
            f"{stride:.3g} steps between two outputs, more than {np.iinfo(np.int32).max}: ask for "
            "more output times, or a larger dt"
        )
    if not total <= jnp.iinfo(jnp.result_type(int)).max:
        raise ValueError(
            f"{total:.3g} steps, more than integers of {jnp.result_type(int)} count: set JAX to 64 "
            "bit, or roll out in parts"
        )


def _check_times(given: np.ndarray) -> None:
    if np.iscomplexobj(given):
        raise ValueError("times must be real numbers, got complex ones")
    if given.ndim != 1 or len(given) < 1 or not np.isfinite(given).all():
        raise ValueError("times must be a finite array [t] with at least one entry")
    spacing = np.diff(given)
    if not ((spacing > 0).all() or (spacing < 0).all()):
        raise ValueError("times must be strictly increasing or strictly decreasing")


def _in_steps(np_: Any, times: Any, dt: Any, dtype: np.dtype) -> tuple[Any, Any]:
    """Whole steps from the first time, and the remaining fraction, up to the rounding of times."""
    elapsed = np_.abs(times - times[0]) / dt
    size = np_.maximum(np_.max(np_.abs(times)) / dt, 1)
    rounding = np_.minimum(8 * float(jnp.finfo(dtype).eps) * size, 0.5)  # never a whole step
    whole = np_.floor(elapsed + rounding)
    return whole, np_.where(elapsed - whole > rounding, elapsed - whole, 0)
