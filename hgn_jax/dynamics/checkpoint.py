"""A rollout as a folder: outputs as they come, and the state to go on from."""

import dataclasses
import os
import time
from pathlib import Path as Folder
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..fitting.checkpoint import SHARE
from ..graphs.neighbour_list import Neighbours
from ..io import array_file
from ..io.digest import digest
from .save_times import Schedule
from .stepper import Motion, Output, State

STATE = array_file.Format("hgn-jax rollout", 1)
OUTPUTS = array_file.Format("hgn-jax rollout outputs", 1)


class Journal:
    """Writes as often as takes 5% of the time. A file is complete or absent, and the state is
    written after the outputs that it follows: an interruption at any moment loses little."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        motion: Motion,
        schedule: Schedule,
        resume: bool,
    ) -> None:
        self.folder = Folder(folder)
        self._state = self.folder / "state.hgn"
        if self.folder.exists() and not resume:
            raise FileExistsError(
                f"{self.folder} exists: give resume=True to go on with the rollout in it, or "
                "another folder"
            )
        spec = motion.neighbours
        self._plain = None if spec is None else Neighbours(spec.cutoff, spec.skin)
        self._motion = digest(dataclasses.replace(motion, neighbours=self._plain))
        self._strides, self._parts = map(np.asarray, (schedule.strides, schedule.parts))
        self._kept = 0
        self._written, self._cost = time.perf_counter(), 0.0
        self.folder.mkdir(parents=True, exist_ok=True)

    def read(self, motion: Motion) -> tuple[Motion, State | None, list[Output], int]:
        """The motion with the room for neighbours that it had, its state, its outputs so far, and
        how many steps the state is ahead of the last of them.

        **Raises:** `ValueError` if the folder holds another rollout, or damaged files.
        """
        if not self._state.exists():
            return motion, None, [], 0
        header, (strides, parts, *leaves) = array_file.read(self._state, STATE)
        count, ahead = int(header["outputs"]), int(header["ahead"])
        if (
            header["motion"] != self._motion
            or count > len(self._strides)
            or not np.array_equal(strides[:count], self._strides[:count])
            or not np.array_equal(parts[:count], self._parts[:count])
            or ahead > (0 if count == len(self._strides) else self._strides[count])
        ):
            raise ValueError(
                f"{self.folder}: holds another rollout (other model, start, step, times, solver or "
                "observables): give another folder"
            )
        if header["sizes"] is not None:
            slots, run, grid = header["sizes"]
            spec = motion.neighbours
            assert spec is not None and spec.sizes is not None
            sizes = spec.sizes._replace(slots=slots, run=run, grid=tuple(grid))
            motion = with_neighbours(motion, Neighbours(spec.cutoff, spec.skin, sizes))
        found = eqx.filter_eval_shape(Motion.find, motion, motion.begin())
        state = _filled(eqx.filter_eval_shape(Motion.start, motion, found), leaves)
        part = jnp.zeros((), motion.dt.dtype)
        shape = eqx.filter_eval_shape(Motion.output, motion, state, part, motion.graph)
        outputs: list[Output] = []
        while len(outputs) < count:
            file = self._file(len(outputs))
            if not file.exists():
                raise ValueError(f"{file} is missing: the rollout cannot go on from this folder")
            _, stacked = array_file.read(file, OUTPUTS)
            new = [np.asarray(a) for a in stacked]
            outputs += [_filled(shape, [np.asarray(a[k]) for a in new]) for k in range(len(new[0]))]
        self._kept = count
        return motion, state, outputs[:count], ahead

    def write(
        self, motion: Motion, state: State, outputs: list[Output], ahead: int, end: bool = False
    ) -> None:
        """The outputs since the last time, and the state, so many steps ahead of the last of them;
        not too often.

        **Raises:** `OSError` naming the folder; what was written before remains.
        """
        start = time.perf_counter()
        if self._cost > SHARE * (start - self._written) and not end:
            return
        new = [jax.tree.leaves(o) for o in outputs[self._kept :]]
        sizes = None if motion.neighbours is None else motion.neighbours.sizes
        content: dict[str, Any] = {
            "motion": self._motion, "outputs": len(outputs), "ahead": ahead,
            "sizes": None if sizes is None else [sizes.slots, sizes.run, list(sizes.grid)],
        }  # fmt: skip
        try:
            if new:
                arrays = [np.stack(column) for column in zip(*new)]
                array_file.write(self._file(self._kept), OUTPUTS, {}, arrays)
            leaves = jax.tree.leaves(eqx.filter(state, eqx.is_array))
            array_file.write(self._state, STATE, content, [self._strides, self._parts, *leaves])
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot write the rollout after {len(outputs)} outputs ({error.strerror}); the "
                f"first {self._kept} remain. Make room, and go on with resume=True",
                os.fspath(self.folder),
            ) from error
        self._kept = len(outputs)
        self._written = time.perf_counter()
        self._cost = self._written - start

    def _file(self, first: int) -> Folder:
        return self.folder / f"outputs-{first:09d}.hgn"


def with_neighbours(motion: Motion, neighbours: Neighbours) -> Motion:
    """The motion with that room for neighbours."""
    return dataclasses.replace(motion, neighbours=neighbours)


def _filled(shape: Any, leaves: list[Any]) -> Any:
    """The tree of shapes with these arrays in the place of its arrays."""
    arrays, rest = eqx.partition(shape, lambda x: isinstance(x, jax.ShapeDtypeStruct))
    return eqx.combine(jax.tree.unflatten(jax.tree.structure(arrays), leaves), rest)
