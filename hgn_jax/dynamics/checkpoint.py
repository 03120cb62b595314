"""Checkpoint of a rollout: a folder with its outputs, and the state to resume from."""

import dataclasses
import os
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..graphs.neighbours import Neighbours
from ..io import array_file
from ..io.checkpoint import Checkpoint, numbered
from .save_times import Schedule
from .state import Output, State
from .stepper import Motion

STATE = array_file.Format("hgn-jax rollout", 1)
OUTPUTS = array_file.Format("hgn-jax rollout outputs", 1)


@runtime_checkable
class Resumable(Protocol):
    """Reads and writes the state of a rollout, and its outputs."""

    def read(self, motion: Motion) -> tuple[Motion, State | None, list[Output], int]: ...

    def write(
        self, motion: Motion, state: State, outputs: list[Output], ahead: int, end: bool = False
    ) -> None: ...


class RolloutCheckpoint:
    """A folder with the state in one file and outputs in several.

    The state is written after the outputs before it, so an interruption at any moment loses
    little.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        motion: Motion,
        schedule: Schedule,
        divided: bool = False,
    ) -> None:
        """`divided` is True if the bodies are divided between devices."""
        self.folder = numbered(path)
        numbers = {"division between devices": 1} if divided else {}
        file = self.folder / "state.hgn"
        self._run = Checkpoint(self.folder, file, STATE, call_of(motion), **numbers)
        self._times = {"strides": np.asarray(schedule.strides), "parts": np.asarray(schedule.parts)}
        self._kept = 0

    @property
    def due(self) -> bool:
        """True if the last write was long enough ago."""
        return self._run.due

    def __enter__(self) -> "RolloutCheckpoint":
        with self._run.writing("at the start"):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._run.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._run.__exit__(*error)

    def read(self, motion: Motion) -> tuple[Motion, State | None, list[Output], int]:
        """The motion with the capacity of its neighbour list, its state, its outputs so far, and
        the number of steps from the last output to the state.

        **Raises:** `ValueError` if the folder holds another rollout, or damaged files.
        """
        saved = self._run.read()
        if saved is None:
            return motion, None, [], 0
        header, arrays = saved
        count, ahead = int(header["outputs"]), int(header["ahead"])
        self._check_times({name: arrays.pop(name) for name in self._times}, count, ahead)
        if header["sizes"] is not None:
            slots, run, grid = header["sizes"]
            spec = motion.neighbours
            assert spec is not None and spec.sizes is not None
            sizes = spec.sizes._replace(slots=slots, run=run, grid=tuple(grid))
            motion = with_neighbours(motion, Neighbours(spec.cutoff, spec.skin, sizes))
        steps = int(self._times["strides"][:count].sum()) + ahead
        arrays["step"] = jnp.asarray(steps, jnp.result_type(int))  # not in the file, see `write`
        # Shapes alone: nothing is computed to learn the form of the state.
        state = self._filled(eqx.filter_eval_shape(Motion.start, motion), arrays)
        part = jnp.zeros((), motion.dt.dtype)
        shape = eqx.filter_eval_shape(Motion.output, motion, state, part, motion.graph)
        outputs: list[Output] = []
        while len(outputs) < count:
            file = self._file(len(outputs))
            if not file.exists():
                raise ValueError(
                    f"{file} is missing, and the rollout cannot be resumed without it: restore "
                    "it, give another path, or remove the folder"
                )
            _, stacked = array_file.read(file, OUTPUTS)
            rows = len(next(iter(stacked.values())))
            shapes = jax.tree.map(
                lambda s, n=rows: jax.ShapeDtypeStruct((n, *s.shape), s.dtype), shape
            )
            portion = jax.tree.map(np.asarray, self._filled(shapes, stacked))
            outputs += [jax.tree.map(lambda a, k=k: np.asarray(a[k]), portion) for k in range(rows)]
        self._kept = count
        return motion, state, outputs[:count], ahead

    def write(
        self, motion: Motion, state: State, outputs: list[Output], ahead: int, end: bool = False
    ) -> None:
        """Writes new outputs and the state, which is `ahead` steps after the last output.

        Does nothing if the last write was too recent.

        **Raises:** `OSError` naming the folder; what was written before remains.
        """
        if not (self.due or end):
            return
        sizes = None if motion.neighbours is None else motion.neighbours.sizes
        content: dict[str, Any] = {
            "outputs": len(outputs), "ahead": ahead,
            "sizes": None if sizes is None else [sizes.slots, sizes.run, list(sizes.grid)],
        }  # fmt: skip
        with self._run.writing(f"after {len(outputs)} outputs"):
            if outputs[self._kept :]:
                stacked = jax.tree.map(lambda *values: np.stack(values), *outputs[self._kept :])
                file = self._file(self._kept)
                array_file.write(file, OUTPUTS, {}, array_file.named(stacked))
            arrays = array_file.named(eqx.filter(state, eqx.is_array))
            del arrays["step"]  # of 64 bit by JAX's setting alone; it follows from the outputs
            self._run.write(content, arrays | self._times)
        self._kept = len(outputs)

    def _check_times(self, held: dict[str, Any], count: int, ahead: int) -> None:
        """Raises `ValueError` unless the state is before the next requested time."""
        strides = self._times["strides"]
        same = all(np.array_equal(held[k][:count], v[:count]) for k, v in self._times.items())
        remaining = strides[count] if count < len(strides) else 0  # no time follows the last
        if count > len(strides) or not same or ahead > remaining:
            self._run.refuse("other times, and it is beyond the first of them that differs")

    def _filled(self, shape: Any, arrays: dict[str, Any]) -> Any:
        """The tree of shapes, with these arrays in place of its shapes."""
        shapes, settings = eqx.partition(shape, lambda x: isinstance(x, jax.ShapeDtypeStruct))
        try:
            return eqx.combine(array_file.filled(shapes, arrays), settings)
        except ValueError:
            self._run.refuse("of another release")

    def _file(self, first: int) -> Path:
        return self.folder / f"outputs-{first:09d}.hgn"


def call_of(motion: Motion) -> Motion:
    """The motion by which a call is known: without the capacity of its neighbour list."""
    spec = motion.neighbours
    return motion if spec is None else with_neighbours(motion, Neighbours(spec.cutoff, spec.skin))


def with_neighbours(motion: Motion, neighbours: Neighbours) -> Motion:
    """The motion with another capacity of its neighbour list."""
    return dataclasses.replace(motion, neighbours=neighbours)
