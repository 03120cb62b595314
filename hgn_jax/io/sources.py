"""Sources of data: which hold frames of atoms, which trajectories, and their readers by suffix."""

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from jraph import GraphsTuple

from . import ase_files, extxyz, h5md
from .ase_atoms import frame_of, is_atoms
from .atoms_frame import AtomsFrame
from .compressed import OPENERS, bare_suffix
from .h5md_read import read_h5md
from .npz import from_arrays, read_npz
from .recording import Recording
from .table import SUFFIXES as TABLES
from .table_by_times import read_table

Reader = Callable[[str | os.PathLike[str], slice], Iterator[AtomsFrame]]
"""Yields the frames of atoms of a file that a slice picks."""
TrajectoryReader = Callable[
    [str | os.PathLike[str], Mapping[str, Any] | None, slice], list[Recording] | GraphsTuple
]
"""Returns the trajectories of a file, with the frames that a slice picks; or a whole data set."""
READERS: dict[str, Reader] = dict.fromkeys(extxyz.SUFFIXES, extxyz.read_extxyz)
TRAJECTORIES: dict[str, TrajectoryReader] = {
    ".npz": read_npz,
    **dict.fromkeys(h5md.SUFFIXES, read_h5md),
    **dict.fromkeys(TABLES, read_table),
}
"""Readers by suffix. To add a format, write its reader in a file and add a line here."""
COMPRESSED = (*extxyz.SUFFIXES, *TABLES)
"""Suffixes that may be followed by .gz or .xz."""


def peeked(source: Any) -> tuple[list[Any], Any]:
    """The first member of the source in a list, and the source with all of its members."""
    # First, since `Atoms`, strings and dicts can be iterated, too.
    if isinstance(source, str | os.PathLike | Mapping) or is_atoms(source):
        return [source], source
    if isinstance(source, np.ndarray) or not isinstance(source, Iterable):
        raise _not_a_source(source)
    members = iter(source)
    first = list(itertools.islice(members, 1))
    if not first:
        raise ValueError(f"no frames in {named(source)}")
    return first, itertools.chain(first, members)  # a generator cannot be read twice


def holds_atoms(source: Any) -> bool:
    """True for frames of atoms, False for trajectories.

    **Raises:** `ValueError` for what is neither, such as a file of an unknown suffix.
    """
    if isinstance(source, str | os.PathLike):
        if bare_suffix(source) in TRAJECTORIES:
            return False
        _reader(source)  # an unknown suffix may be one of ASE's
        return True
    if is_atoms(source) or isinstance(source, Mapping):
        return is_atoms(source)
    raise _not_a_source(source)


def several(source: Any) -> Iterable[Any]:
    """The members of a source of trajectories."""
    return [source] if isinstance(source, str | os.PathLike | Mapping) else source


def trajectories(
    source: Any, columns: Mapping[str, Any] | None, keep: slice, number: int
) -> list[Recording] | GraphsTuple:
    """Trajectories of one member, or a whole data set."""
    if isinstance(source, Mapping):
        return from_arrays(f"source {number}", source, columns, keep)
    if holds_atoms(source):
        raise ValueError(f"{named(source)} holds frames of atoms: read it on its own")
    suffix = bare_suffix(source)
    if suffix not in COMPRESSED and os.path.splitext(os.fspath(source))[1].lower() in OPENERS:
        raise ValueError(f"{os.fspath(source)}: {suffix} files are read uncompressed: unpack it")
    return TRAJECTORIES[suffix](source, columns, keep)


def frames(source: Any, keep: slice) -> Iterator[AtomsFrame]:
    """Frames of atoms that `keep` picks, of all members together."""
    if isinstance(source, str | os.PathLike):
        yield from _reader(source)(source, keep)
    elif is_atoms(source):
        yield from [frame_of(source, "frame 0")][keep]
    elif isinstance(source, Iterable):
        yield from itertools.islice(_members(source), keep.start, keep.stop, keep.step)
    else:
        raise _not_a_source(source)


def _members(sources: Iterable[Any]) -> Iterator[AtomsFrame]:
    for k, source in enumerate(sources):
        if is_atoms(source):
            yield frame_of(source, f"frame {k}")
        elif isinstance(source, str | os.PathLike):
            if not holds_atoms(source):
                raise ValueError(f"{named(source)} holds trajectories: read it on its own")
            yield from frames(source, slice(None))
        else:
            raise _not_a_source(source)


def _not_a_source(source: Any) -> ValueError:
    if isinstance(source, np.ndarray):
        return ValueError(
            'expected arrays by name, {"times": [t], "position": [t n d], ...}, got one array; '
            "hgn.graphs.from_frames joins the bodies of single frames"
        )
    return ValueError(
        "expected a path, an ase.Atoms, a dict of arrays, or several of these, got a "
        f"{type(source).__name__}"
    )


def _reader(path: str | os.PathLike[str]) -> Reader:
    """Reader of atoms for a file, by its suffix or by what ASE takes it for."""
    if bare_suffix(path) in READERS:
        return READERS[bare_suffix(path)]
    format = ase_files.format_of(path)
    if format is not None:
        return functools.partial(ase_files.read_with_ase, format)
    raise ValueError(
        f"{os.fspath(path)}: unknown suffix {bare_suffix(path)!r}; known are "
        f"{', '.join((*READERS, *TRAJECTORIES))}, compressed as {', '.join(OPENERS)} where they "
        'are text, and with ASE installed (pip install "hgn-jax[ase]") its formats'
    )


def named(source: Any) -> str:
    """Name of a source in errors."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return f"a {type(source).__name__}"
