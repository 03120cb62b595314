"""H5MD: trajectories in HDF5, appended frame by frame (nongnu.org/h5md, version 1.1).

Frames are `/particles/<trajectory>/<array>/{step,time,value}`; masses, species and the box stand
beside them, `/observables/<name>` holds the energy and other quantities. MDAnalysis, VMD and other
programs read the layout. Momenta, pairs and couplings, which it does not know, have names of ours.
"""

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

from .recording import Recording
from .units import unit_of

SUFFIXES = (".h5", ".hdf5", ".h5md")
CHUNK = 2**14
"""Bytes of a chunk, if a frame is smaller."""


def h5py() -> Any:
    """The module h5py. Raises `ModuleNotFoundError` that says what to install."""
    try:
        return import_module("h5py")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'{error}: pip install "hgn-jax[files]"') from error


@contextmanager
def words_of_hdf5(path: str) -> Iterator[None]:
    """Gives HDF5's errors the number of the system's error in their words, and the path."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), path) from error


class H5MDFile:
    """An H5MD file that grows by frames.

    After `flush` all frames so far can be read, even if the process is killed. Readers do not
    block the writer, nor it them: HDF5's own locks are off.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        units: Mapping[str, str] | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        """Opens the file, or overwrites it if `fresh`. `units` are those of length, time, mass.

        **Raises:** `OSError` if it cannot be opened, or is no HDF5 file.
        """
        self._file = h5py().File(path, "w" if fresh else "r+", locking=False)
        self._units = units
        self._reserved = False
        if "h5md" not in self._file:  # the format demands this group
            about = self._file.create_group("h5md")
            about.attrs["version"] = [1, 1]
            about.create_group("author").attrs["name"] = "unknown"
            creator = about.create_group("creator").attrs
            creator["name"], creator["version"] = "hgn_jax", version("hgn-jax")

    @property
    def frames(self) -> int:
        """Number of frames that all arrays have."""
        return min(map(len, self._growing()), default=0)

    @property
    def note(self) -> str:
        """Text that identifies the run that made the file; "" if there is none."""
        return str(self._file["h5md/creator"].attrs.get("run", ""))

    @note.setter
    def note(self, text: str) -> None:
        self._file["h5md/creator"].attrs["run"] = text

    def append(self, recordings: Sequence[Recording]) -> None:
        """Appends frames to every trajectory; what is constant is written with the first ones.

        **Raises:** `OSError` if the disk has no space for them; the file is then as it was.
        """
        self._reserve(recordings)
        for k, recording in enumerate(recordings):
            name = f"trajectory{k}" if len(recordings) > 1 else "trajectory"
            self._append(name, recording, f"{name}/" if len(recordings) > 1 else "")

    def truncate(self, frames: int) -> None:
        """Drops all frames after the first `frames`."""
        for item in self._growing():
            if len(item) != frames:
                item.resize(frames, axis=0)

    def flush(self) -> None:
        """Hands all frames to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file, without the space that was reserved and is not used."""
        self._file.flush()
        path, size = self._file.filename, self._file.id.get_filesize()
        self._file.close()
        if self._reserved:
            os.truncate(path, size)

    def _reserve(self, recordings: Sequence[Recording]) -> None:
        """Reserves disk space before HDF5 writes: if that fails midway, the file is lost."""
        if not hasattr(os, "posix_fallocate"):
            return
        parts = [p for r in recordings for p in (r.moving, r.observed, r.bodies, r.of_pairs)]
        sizes = [np.asarray(values).nbytes for part in parts for values in part.values()]
        sizes += [16 * r.pairs.size for r in recordings if r.pairs is not None]
        sizes += [_frames(r) * (16 + 8 * 9) for r in recordings]  # steps, times and cells
        # Tables of chunks and headers take less than what is added here.
        size = int(1.05 * sum(sizes)) + (len(sizes) + 4) * (CHUNK + 2**13) + 2**16
        try:
            os.posix_fallocate(self._file.id.get_vfd_handle(), self._file.id.get_filesize(), size)
            self._reserved = True
        except OSError as error:
            # These say that the file system cannot reserve space.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV):
                raise

    def _append(self, name: str, recording: Recording, prefix: str) -> None:
        file = self._file
        particles = f"particles/{name}"
        fresh = particles not in file
        if fresh:
            self._describe(name, recording)
        times = recording.times
        elements = {f"{particles}/{key}": a for key, a in recording.moving.items()}
        count = _frames(recording)
        if recording.cell is not None:
            shape = (count, *np.shape(recording.cell)[-2:])
            elements[f"{particles}/box/edges"] = np.broadcast_to(recording.cell, shape)
        elements |= {f"observables/{prefix}{key}": a for key, a in recording.observed.items()}
        first = next(iter(elements))
        before = len(file[first]["step"]) if first in file else 0
        for path, values in elements.items():
            group = file.require_group(path)
            if path == first:
                self._extend(group, "step", np.arange(before, before + count))
                if times is not None:
                    self._extend(group, "time", np.asarray(times), "time")
            elif "step" not in group:  # hard links, as the format suggests
                group["step"] = file[first]["step"]
                if times is not None:
                    group["time"] = file[first]["time"]
            self._extend(group, "value", values, path.rsplit("/", 1)[1])

    def _describe(self, name: str, recording: Recording) -> None:
        group = self._file.create_group(f"particles/{name}")
        box = group.create_group("box")
        arrays = [*recording.moving.values(), *([] if recording.cell is None else [recording.cell])]
        dimension = arrays[0].shape[-1] if arrays else 3
        box.attrs["dimension"] = dimension
        periodic = "none" if recording.cell is None else "periodic"
        box.attrs["boundary"] = [periodic] * dimension
        for key, values in recording.bodies.items():
            self._state_unit(group.create_dataset(key, data=np.asarray(values)), key)
        if recording.pairs is not None:
            pairs = self._file.create_dataset(f"connectivity/{name}", data=recording.pairs)
            pairs.attrs["particles_group"] = group.ref  # the format's word for what pairs refer to
            for key, values in recording.of_pairs.items():
                self._file.create_dataset(f"parameters/{name}/{key}", data=np.asarray(values))

    def _extend(self, group: Any, key: str, values: np.ndarray, quantity: str = "") -> None:
        values = np.asarray(values)
        if key not in group:
            size = max(1, values[:1].nbytes)
            group.create_dataset(
                key, data=values, maxshape=(None, *values.shape[1:]),
                # HDF5 refuses chunks of length zero.
                chunks=(max(1, CHUNK // size), *(max(1, s) for s in values.shape[1:])),
            )  # fmt: skip
            self._state_unit(group[key], quantity)
            return
        item = group[key]
        before = len(item)
        item.resize(before + len(values), axis=0)
        item[before:] = values

    def _state_unit(self, item: Any, quantity: str) -> None:
        unit = None if self._units is None else unit_of(quantity, self._units)
        if unit is not None:
            item.attrs["unit"] = unit

    def _growing(self) -> list[Any]:
        """All datasets that grow by frames, each once."""
        growing: list[Any] = []

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py().Dataset) and item.maxshape[:1] == (None,):
                growing.append(item)

        self._file.visititems(visit)  # once per dataset, however many links it has
        return growing


def _frames(recording: Recording) -> int:
    return len(next(iter({**recording.moving, **recording.observed}.values())))
