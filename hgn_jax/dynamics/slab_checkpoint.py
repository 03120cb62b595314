"""Checkpoint of a motion that is divided between devices: of all bodies, for any mesh."""

import dataclasses

import jax.numpy as jnp

from .checkpoint import RolloutCheckpoint
from .host_loop import renewed, started
from .slab_motion import divide, gathered
from .state import Output, State
from .stepper import Motion


class SlabCheckpoint:
    """A `RolloutCheckpoint` that holds the bodies in their own order.

    The number of devices may change from run to run. A run goes on as if it had not been
    interrupted, up to rounding: forces are summed in another order.
    """

    def __init__(self, file: RolloutCheckpoint, whole: Motion) -> None:
        """`whole` is the motion of all bodies, without neighbours."""
        self._file, self._whole = file, whole

    def read(self, motion: Motion) -> tuple[Motion, State | None, list[Output], int]:
        """Returns what `RolloutCheckpoint.read` does, with the bodies divided."""
        _, state, outputs, ahead = self._file.read(self._whole)
        if state is None:
            return motion, None, outputs, ahead
        spec = motion.neighbours
        assert spec is not None
        motion, fresh = started(divide(self._whole, spec, state.y))
        step = jnp.full_like(fresh.step, int(state.step))
        motion, fresh = renewed(motion, dataclasses.replace(fresh, step=step))
        return motion, fresh, outputs, ahead

    def write(
        self, motion: Motion, state: State, outputs: list[Output], ahead: int, end: bool = False
    ) -> None:
        """Writes the state of all bodies, see `RolloutCheckpoint.write`."""
        if self._file.due or end:
            self._file.write(self._whole, gathered(motion, state), outputs, ahead, end)
