"""`write`: rollouts and data sets as files that other programs read."""

import errno
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jraph import GraphsTuple

from . import atomic, extxyz, h5md
from .atoms_out import frames_of_data, frames_of_recording
from .compressed import OPENERS, bare_suffix, opener_of
from .extxyz_write import write_extxyz
from .npz import data_arrays, trajectory_arrays
from .recording import HasRecordings, recordings_of
from .units import check_names

Source: TypeAlias = Any
"""A `GraphsTuple`, or what has recordings."""
Writer = Callable[[Path, Source, Mapping[str, str] | None, str], None]
"""Writes a source to an empty file. Gets the units, and the name that the file will have."""


def write(
    path: str | os.PathLike[str],
    source: Source,
    *,
    units: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a rollout or a data set; the suffix decides. `hgn.read` reads the file.

    - `.npz`: a data set whole; of a rollout `times`, `position`, `momentum`, `energy`,
        `observed/...`, `mass`, `edges`, and what else its bodies have. Bit for bit.
    - `.h5`, `.hdf5`, `.h5md` (extra `files`): H5MD, one group of particles per trajectory. Bit for
        bit.
    - `.xyz`, `.extxyz`, also `.gz`, `.xz`: extended XYZ as ASE writes it, with `energy` without its
        kinetic part. Bodies that are no elements are X; a plane lies at z = 0.

    The file is complete, or not there at all. Large rollouts are better written while they run:
    `rollout(..., output="run.h5")`.

    **Arguments:**

    - `source`: the result of a rollout, or a batch of graphs.
    - `units`: the units that the numbers are in, to be stated in H5MD, such as
        `{"length": "nm", "time": "ps", "mass": "u"}`. Nothing is converted.
    - `overwrite`: True to replace an existing file.

    **Raises:** `ValueError` for an unknown suffix, or a source that the format cannot hold;
    `FileExistsError`; `OSError` naming the path if it cannot be written.
    """
    if isinstance(path, GraphsTuple | HasRecordings):
        raise ValueError('the path comes first: hgn.write("run.h5", path)')
    if not isinstance(source, GraphsTuple | HasRecordings):
        raise ValueError(
            f"expected the result of a rollout, or a batch of graphs, got a {type(source).__name__}"
        )
    suffix, given = bare_suffix(path), os.path.splitext(os.fspath(path))[1].lower()
    if suffix not in WRITERS or (given in OPENERS and WRITERS[suffix] is not _xyz):
        raise ValueError(
            f"{os.fspath(path)}: unknown suffix {given!r}; known are {', '.join(WRITERS)}"
        )
    if units is not None:
        if WRITERS[suffix] is not _h5md:
            raise ValueError(f"units= are stated in H5MD, but {suffix} has no place for them")
        check_names(units)
    if not overwrite and os.path.lexists(path):  # true for broken links, too
        raise FileExistsError(
            errno.EEXIST, "exists: give another path, or overwrite=True", os.fspath(path)
        )
    with atomic.through(path) as temporary:
        WRITERS[suffix](temporary, source, units, os.fspath(path))


def _npz(file: Path, source: Source, units: object, name: str) -> None:
    if isinstance(source, GraphsTuple):
        arrays = data_arrays(source)
    else:
        arrays = trajectory_arrays(source.recordings())
    with open(file, "r+b") as opened:  # given a path, savez would append a suffix
        np.savez(opened, **arrays)  # type: ignore[arg-type]


def _h5md(file: Path, source: Source, units: Mapping[str, str] | None, name: str) -> None:
    data = isinstance(source, GraphsTuple)
    recordings = recordings_of(source) if data else source.recordings()
    with h5md.words_of_hdf5(name):
        opened = h5md.H5MDFile(file, units, fresh=True)
        try:
            opened.append(recordings)
        finally:
            opened.close()


def _xyz(file: Path, source: Source, units: object, name: str) -> None:
    opener = opener_of(name)  # not of `file`, whose suffix is temporary
    with opener(file, "wb") as raw, io.TextIOWrapper(raw, "utf-8") as text:
        if isinstance(source, GraphsTuple):
            write_extxyz(text, frames_of_data(source))
            return
        recordings = source.recordings()
        if len(recordings) > 1:
            raise ValueError(
                f"extended XYZ holds one trajectory, but {len(recordings)} graphs were rolled out "
                "together: write .h5 or .npz"
            )
        write_extxyz(text, frames_of_recording(recordings[0]))


WRITERS: dict[str, Writer] = {
    ".npz": _npz,
    **dict.fromkeys(h5md.SUFFIXES, _h5md),
    **dict.fromkeys(extxyz.SUFFIXES, _xyz),
}
"""Writers by suffix. To add a format, write its writer in a file and add a line here."""
