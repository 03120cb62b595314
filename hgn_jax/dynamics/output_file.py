"""H5MD file to which a rollout writes its outputs while it runs."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
from jraph import GraphsTuple

from ..io.atomic import check_folder
from ..io.compressed import bare_suffix
from ..io.digest import digest
from ..io.file_lock import FileLock
from ..io.h5md import SUFFIXES, H5MDFile, h5py, words_of_hdf5
from ..io.pace import Pace
from ..io.recording import of_motion
from .checkpoint import call_of
from .save_times import Schedule
from .state import Output
from .stepper import Motion

SHARE = 0.02
"""Greatest fraction of the run time spent on writing, except at the end."""


class OutputFile:
    """The file, locked in a `with` statement: a second run is refused.

    Outputs are appended as often as costs 2% of the time, and can be read from then on, even if the
    process is killed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        graph: GraphsTuple,
        motion: Motion,
        schedule: Schedule,
        resumes: bool,
    ) -> None:
        """`graph` is the start without padding; `resumes` is True if there is a checkpoint.

        **Raises:** `ValueError` for another suffix; `ModuleNotFoundError` without h5py.
        """
        if bare_suffix(path) not in SUFFIXES:
            raise ValueError(
                f"{os.fspath(path)}: output must end in {', '.join(SUFFIXES)}; hgn.write "
                "writes other formats after the rollout"
            )
        h5py()  # fail before the run, not after it
        self.path = os.fspath(path)
        self._graph, self._resumes = graph, resumes
        self._times = np.asarray(schedule.times)
        self._keeps_edges = motion.neighbours is None
        self._call = digest(call_of(motion))
        self._file: H5MDFile | None = None
        self._lock = FileLock(Path(path), path, "output")
        self._kept = 0
        self._pace = Pace()

    def __enter__(self) -> "OutputFile":
        """Locks the file, and creates it, or opens that of the same call.

        **Raises:** `RuntimeError` if another run is writing it; `FileExistsError`; `OSError` naming
        the path.
        """
        check_folder(self.path)
        with self._guarded():
            self._lock.lock()
        try:
            self._file = self._opened()
            self._kept = self._file.frames
        except BaseException:  # also KeyboardInterrupt: no lock may stay
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._file is not None:
                self._close(self._file, failing=kind is not None)
                if not self._kept:  # a run without outputs leaves no file
                    os.unlink(self.path)
        finally:
            self._lock.release()

    def _close(self, file: H5MDFile, failing: bool) -> None:
        try:
            with self._guarded():
                file.close()
        except (OSError, RuntimeError):
            if not failing:  # after a failed write HDF5 fails to close, too: the first error counts
                raise

    def write(self, outputs: list[Output], end: bool = False) -> None:
        """Appends the outputs that the file does not hold, unless the last time was too recent.

        **Raises:** `OSError` naming the path; what was written before remains.
        """
        if len(outputs) == self._kept or not (self._pace.due(SHARE) or end):
            return
        with self._pace.writing():
            self._append(outputs)

    def _append(self, outputs: list[Output]) -> None:
        assert self._file is not None
        fresh = outputs[self._kept :]
        stacked = jax.tree.map(lambda *values: np.stack(values), *fresh)
        # Outputs hold padding, the start does not.
        n, g = len(self._graph.nodes["position"]), self._graph.n_node.shape[0]
        recordings = of_motion(
            self._graph,
            self._times[self._kept : len(outputs)],
            {name: values[:, :n] for name, values in stacked.state.items()},
            {
                name: values[:, :g]
                for name, values in (("energy", stacked.energy), *stacked.observed.items())
            },
            None if stacked.cell is None else stacked.cell[:, :g],
            self._keeps_edges,
        )
        with self._guarded():
            self._file.append(recordings)
            self._file.flush()
        self._kept = len(outputs)

    def resume(self, outputs: list[Output]) -> None:
        """Drops frames after those of the checkpoint; missing ones follow with the next write."""
        assert self._file is not None
        self._kept = min(self._kept, len(outputs))
        with self._guarded():
            self._file.truncate(self._kept)

    def _opened(self) -> H5MDFile:
        if not os.path.lexists(self.path):  # a dangling link is in the way, too
            return self._new()
        if self._resumes:
            try:
                file = H5MDFile(self.path)
                if file.note == self._call:
                    return file
                file.close()
            except (OSError, KeyError, RuntimeError):
                pass  # damaged, or not ours
        raise FileExistsError(
            errno.EEXIST,
            "exists, and is not the output of this call with its checkpoint: give another path, or "
            "remove it",
            self.path,
        )

    def _new(self) -> H5MDFile:
        with self._guarded():
            file = H5MDFile(self.path, fresh=True)
            file.note = self._call
            file.flush()
        return file

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Names the path in an `OSError`, and says what remains."""
        try:
            with words_of_hdf5(self.path):
                yield
        except OSError as error:
            if error.errno is None:
                raise
            raise OSError(
                error.errno,
                f"{error.strerror}; the first {self._kept} outputs are in the file",
                self.path,
            ) from error
