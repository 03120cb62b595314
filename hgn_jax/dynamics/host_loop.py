"""Rollout driven from Python: progress, checkpoints, and re-allocation when the neighbour list
overflows."""

import dataclasses
import time
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool
from jraph import GraphsTuple

from .._progress import Reporter
from ..graphs.cell import Cell
from ..graphs.geometry import count
from ..graphs.slab_list import SlabList
from .bounds import exceeded
from .checkpoint import Resumable, with_neighbours
from .output_file import OutputFile
from .programs import compiled
from .save_times import Schedule
from .slab_motion import enlarged, padded_to
from .state import Found, Output, Run, State
from .stepper import Motion

SECONDS = 1.0
"""Longest time between two inspections of the state."""


def stepwise(
    motion: Motion,
    schedule: Schedule,
    report: Reporter,
    checkpoint: Resumable | None,
    output: OutputFile | None,
    until: Mapping[str, float],
    whole: GraphsTuple,
) -> Run:
    """Outputs at all times, and the step at which the motion stopped, if it did: later outputs are
    NaN. The last output is the first with an observable above its bound in `until`. `whole` is the
    graph of all bodies."""
    strides, parts = np.asarray(schedule.strides), np.asarray(schedule.parts)
    begin = motion.graph
    state: State | None = None
    outputs: list[Output] = []
    ahead = 0
    if checkpoint is not None:
        motion, state, outputs, ahead = checkpoint.read(motion)
    if output is not None:
        output.resume(outputs)
    steps = int(strides[: len(outputs)].sum()) + ahead
    report.compiling(steps)
    if state is None:
        motion, state = started(motion)
    pace, late = 1, bool(_late(motion, state))
    ended = bool(outputs and exceeded(whole, outputs[-1].observed, until))
    for number in range(len(outputs), len(strides)):
        if ended:
            strides = strides[:number]
            break
        remaining, ahead = int(strides[number]) - ahead, 0
        while remaining:
            now, start = min(remaining, pace), time.perf_counter()
            # An array, so that every pace runs the same program.
            after, look = _advance(motion, state, jnp.asarray(now, jnp.int32))
            complete, sound, late = np.asarray(look)  # one transfer from the device
            seconds = time.perf_counter() - start
            if not complete and _spans(motion, state.cell):
                # Finish with the old capacity first: another width sums in another order, and a
                # resumed run must be bitwise identical.
                # `stop` counts the failing step, too.
                good = int(_stop(motion, state, jnp.asarray(now, jnp.int32))[0]) - 1
                state, _ = _advance(motion, state, jnp.asarray(good, jnp.int32))
                remaining, steps = remaining - good, steps + good
                motion = _with_room(motion, after.neighbours, state)
                state = _in_room(motion, state)
                continue
            if not sound:
                taken, before, after = _stop(motion, state, jnp.asarray(now, jnp.int32))
                if output is not None:
                    output.write(outputs, end=True)
                return _run(outputs, before, steps + int(taken), before, after, len(strides))
            state, remaining, steps = after, remaining - now, steps + now
            # The number of steps follows the speed: inspections come about once a second.
            if seconds > SECONDS:
                pace = max(1, now // 2)
            elif now == pace:
                pace *= 2
            report(steps)
            if checkpoint is not None and remaining:
                checkpoint.write(motion, state, outputs, int(strides[number]) - remaining)
        part, output_state = jnp.asarray(parts[number], motion.dt.dtype), state
        # The chain keeps its own list: outputs must not change the trajectory.
        if parts[number] > 0 or late:
            motion, output_state = renewed(motion, output_state)
            state = _in_room(motion, state)
        outputs.append(jax.tree.map(np.asarray, _output(motion, output_state, part, begin)))
        ended = bool(exceeded(whole, outputs[-1].observed, until))
        if checkpoint is not None:
            last = ended or number == len(strides) - 1
            checkpoint.write(motion, state, outputs, 0, end=last)
        if output is not None:
            output.write(outputs)
    if output is not None:
        output.write(outputs, end=True)
    report(steps, end=True)
    return _run(outputs, state, steps, state, state, len(strides))


def _run(
    outputs: list[Output], end: State, steps: int, before: State, after: State, total: int
) -> Run:
    """The run, with NaN for the outputs that were not reached."""

    def stacked(*values: np.ndarray) -> Array:
        reached = np.stack(values)
        fill = False if reached.dtype == bool else np.nan  # booleans have no NaN
        missing = np.full((total - len(outputs), *reached.shape[1:]), fill, reached.dtype)
        return jnp.asarray(np.concatenate([reached, missing]))

    return Run(jax.tree.map(stacked, *outputs), end, jnp.asarray(steps), before, after)


@compiled
def _advance(motion: Motion, state: State, steps: Array) -> tuple[State, Bool[Array, " 3"]]:
    """The state after `steps` steps; whether its list had enough capacity, whether the state is
    finite, and whether it is late."""
    after = motion.advance(state, steps)
    complete = jnp.array(True) if after.neighbours is None else after.neighbours.complete
    return after, jnp.stack([complete, motion.finite(after.y), motion.late(after)])


_start = compiled(Motion.start)
_renew = compiled(Motion.renewed)
_late = compiled(Motion.late)
_output = compiled(Motion.output)
_stop = compiled(Motion.stop)


def started(motion: Motion) -> tuple[Motion, State]:
    """The motion with enough capacity for its first state, and that state."""
    while not _complete(state := _start(motion)) and _spans(motion, state.cell):
        motion = _with_room(motion, state.neighbours, state)
    return motion, state


def renewed(motion: Motion, state: State) -> tuple[Motion, State]:
    """The motion with enough capacity for a state, and the state with a new list."""
    while not _complete(fresh := _renew(motion, state)) and _spans(motion, state.cell):
        motion = _with_room(motion, fresh.neighbours, state)
        state = _in_room(motion, state)
    return motion, fresh


def _complete(state: State) -> bool:
    found = state.neighbours
    return found is None or bool(_same(found.complete))


def _same(value: Array) -> int:
    """A number that is the same on all devices, of which this process may see a part."""
    return int(np.asarray(value.addressable_data(0)).ravel()[0])


def _with_room(motion: Motion, found: Found | None, state: State) -> Motion:
    """The motion with capacity for the neighbours that were found, and some to spare; and with a
    new grid for a cell that became too small for the old one."""
    assert found is not None and motion.neighbours is not None
    slots, run = _same(found.slots), _same(found.run)
    if isinstance(found, SlabList):
        needs = tuple(_same(need) for need in found.needs)
        return enlarged(motion, motion.neighbours.with_room(slots, run, found.total, needs))
    larger = motion.neighbours.with_room(slots, run, count(motion.graph))
    if state.cell is not None:
        # The last body is padding.
        larger = larger.with_grid(
            np.asarray(state.y[0])[:-1], Cell(np.asarray(state.cell, float)[0])
        )
    return with_neighbours(motion, larger)


def _spans(motion: Motion, cell: Array | None) -> bool:
    """True unless the cell has become too small for nearest images."""
    if cell is None or motion.neighbours is None:
        return True
    return bool(motion.neighbours.spans(Cell(np.asarray(cell)[0])))


def _in_room(motion: Motion, state: State) -> State:
    """The same state, its list padded to the capacity that the motion is compiled for."""
    found, spec = state.neighbours, motion.neighbours
    if found is None:
        return state
    assert spec is not None and spec.sizes is not None
    if isinstance(found, SlabList):
        shapes = eqx.filter_eval_shape(_start, motion)
        if jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, state):
            return state
        return _renew(motion, padded_to(shapes, state))
    wider = found.with_room(spec.sizes.slots)
    return dataclasses.replace(state, neighbours=wider)
