"""A rollout compiled as a whole, for jit, vmap and derivatives."""

import dataclasses
from functools import partial
from typing import TypeVar

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._tree import all_finite, is_concrete
from ..graphs.neighbour_list import NeighbourList
from .save_times import Schedule
from .state import Output, Run, State
from .stepper import Motion

T = TypeVar("T")


def whole(motion: Motion, schedule: Schedule) -> Run:
    """Outputs at all times, and the exact step at which the motion stopped, if it did."""
    run = _intervals(motion, schedule)
    # Only a motion that failed is followed once more, to find the exact step.
    if is_concrete(run) and bool(run.finite):
        return Run(run.outputs, run.end, run.steps, run.end, run.end)
    # Under jit always, but without a step if nothing failed: `failing` is 0 then.
    return _located(motion, run)


class _Intervals(eqx.Module):
    """Outputs at all times, and the last state among them that was finite."""

    outputs: Output
    end: State
    steps: Int[Array, ""]
    """Number of steps until `good`."""
    good: State
    failing: Int[Array, ""]
    """Bound on the steps from `good` until the state is not finite; 0 if it stays finite."""
    finite: Bool[Array, ""]


@eqx.filter_jit
def _intervals(motion: Motion, schedule: Schedule) -> _Intervals:
    start = motion.start()
    first = motion.output(start, schedule.parts[0], motion.graph)
    strides = jnp.asarray(schedule.strides)

    def interval(
        carry: tuple[State, State, Array, Array], output: tuple[Array, Array]
    ) -> tuple[tuple[State, State, Array, Array], Output]:
        state, good, steps, failing = carry
        stride, part = output
        # A static number of steps is differentiable in both modes.
        steps_on = stride if schedule.even is None else schedule.even
        state = motion.advance(state, steps_on, schedule.most)
        fine = all_finite(state.y)
        # A record of the motion, which must not carry derivatives through the scan.
        good = jax.tree.map(lambda new, old: jnp.where(fine, new, old), _constant(state), good)
        failing = jnp.where(fine, failing, jnp.maximum(failing, stride))
        carry = (state, good, jnp.where(fine, steps + stride, steps), failing)
        return carry, motion.output(_timely(motion, state, part), part, motion.graph)

    none = jnp.zeros((), strides.dtype)
    carry, following = jax.lax.scan(
        interval, (start, _constant(start), none, none), (strides[1:], schedule.parts[1:])
    )
    end, good, steps, failing = carry
    outputs = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, following)
    return _Intervals(outputs, end, steps, good, failing, all_finite(end.y))


@eqx.filter_jit
def _located(motion: Motion, run: _Intervals) -> Run:
    # `stop` loops without a bound, which reverse mode cannot pass.
    taken, before, after = _constant(motion).stop(run.good, run.failing)
    return Run(run.outputs, run.end, run.steps + taken, before, after)


def _timely(motion: Motion, state: State, part: Float[Array, ""]) -> State:
    """The state with its list refreshed if a partial step of this length needs it."""
    if motion.neighbours is None:
        return state
    needed = (part > 0) | motion.late(state)

    def enough() -> NeighbourList | None:
        # Under vmap one motion that needs a list takes all others here, which keep theirs.
        return jax.tree.map(
            partial(jnp.where, needed), motion.find(state.y, state.cell), state.neighbours
        )

    # One list for all motions under vmap, or none.
    neighbours = jax.lax.cond(eqxi.unvmap_any(needed), enough, lambda: state.neighbours)
    return dataclasses.replace(state, neighbours=neighbours)


def _constant(tree: T) -> T:
    """The same values, without derivatives."""
    return jax.tree.map(lambda a: jax.lax.stop_gradient(a) if eqx.is_array(a) else a, tree)
