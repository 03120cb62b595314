"""Rollout of a system that is divided between the devices of a mesh."""

import dataclasses
from collections.abc import Mapping

import equinox as eqx

from .._progress import Reporter
from .._tree import all_finite
from ..graphs.neighbours import Neighbours
from .checkpoint import RolloutCheckpoint
from .host_loop import stepwise
from .output_file import OutputFile
from .save_times import Schedule
from .slab_checkpoint import SlabCheckpoint
from .slab_motion import divide, gathered
from .state import Run
from .stepper import Motion


def over_mesh(
    motion: Motion,
    spec: Neighbours,
    schedule: Schedule,
    report: Reporter,
    checkpoint: RolloutCheckpoint | None,
    output: OutputFile | None,
    until: Mapping[str, float],
) -> Run:
    """Runs `stepwise` on the devices of `spec.mesh`; the states are those of all bodies.

    `motion` is that of all bodies, whose own neighbours serve to explain a failure alone.

    **Raises:** `ValueError` if slabs are too thin.
    """
    whole = dataclasses.replace(motion, neighbours=None)
    held = None if checkpoint is None else SlabCheckpoint(checkpoint, whole)
    parts = divide(whole, spec)
    run = stepwise(parts, schedule, report, held, output, until, whole.graph)
    end, before, after = (gathered(parts, state) for state in (run.end, run.before, run.after))
    if not bool(all_finite(after.y)):
        before = dataclasses.replace(before, neighbours=_find(motion, before.y))
    return Run(run.outputs, end, run.steps, before, after)


_find = eqx.filter_jit(Motion.find)
