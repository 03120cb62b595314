"""`read`: a data set from files or objects of other libraries, by suffix or type."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jax.typing import DTypeLike
from jraph import GraphsTuple

from .._arguments import whole_number
from .ase_atoms import frame_of, is_atoms
from .atoms_data import Labels, data_from
from .atoms_frame import AtomsFrame
from .extxyz import OPENERS, SUFFIXES, read_extxyz

Reader = Callable[[str | os.PathLike[str], slice], Iterator[AtomsFrame]]
"""Yields the frames of a file that a slice picks."""
READERS: dict[str, Reader] = dict.fromkeys(SUFFIXES, read_extxyz)
"""Readers by suffix: another format is a file of its own and a line here."""


def read(
    source: Any,
    *,
    cutoff: float | int,
    frames: slice | None = None,
    every: int = 1,
    energy: str | None = None,
    forces: str | None = None,
    stress: str | None = None,
    stress_unit: str | None = None,
    stress_sign: int | None = None,
    stress_order: str | None = None,
    labels: bool = True,
    dtype: DTypeLike | None = None,
) -> GraphsTuple:
    """Reads configurations of atoms as one batch, joined by a cutoff, in eV, A and u.

    `source` is an extended XYZ file (`.xyz`, `.extxyz`, also packed as `.gz` or `.xz`), ASE's
    `Atoms`, or an iterable of these. Nothing in a file is run as code. Each frame becomes a graph:

    | array | from |
    |---|---|
    | nodes `position`, `species` (atomic numbers) | positions, symbols or numbers |
    | nodes `mass` | masses, else standard atomic weights |
    | nodes `force` (eV/A) | forces, those of constrained atoms too |
    | nodes `momentum`, `velocity` | momenta or velocities in ASE's units, if any is not zero |
    | globals `energy` (eV) | potential energy, plus the kinetic one where there are momenta |
    | globals `stress` (eV/A^3) | stress = dE/dstrain / volume, or a virial |
    | globals `cell`, edges `shift` | lattice and all images within the cutoff |

    The unit of time that goes with eV, A and u is A sqrt(u/eV) = 10.18 fs.

    If only some frames have a label, the others have zeros and a weight of zero: globals
    `energy_weight` and `stress_weight`, nodes `weight` for forces. Frames without any period lose
    their box; beside periodic frames they get one that no pair reaches across, as axes without
    period do (stress times volume stays).

    **Arguments:**

    - `cutoff`: greatest length of an edge (A).
    - `frames`, `every`: which frames to read, such as `slice(100)`, and every how many of these.
    - `energy`, `forces`, `stress`: keys of the labels. If None, names in common use are looked for
        in calculator results, `info` and arrays: `energy`, `REF_energy`, `dft_forces`, `virial`,
        ... (explicit references first, `energy` before `free_energy`). One key serves all frames.
    - `stress_unit`: "eV/A^3", "GPa" or "kbar".
    - `stress_sign`: 1 if tension is positive, as ASE has it; -1 if pressure is, as VASP prints it.
    - `stress_order`: order of six components: "xx yy zz yz xz xy" is Voigt's, "xx yy zz xy yz zx"
        VASP's. None for all three: as ASE; virials as QUIP (eV, minus dE/dstrain); and
        `vasp_stress_kbar` as VASP prints it.
    - `labels`: False accepts a source without any label, to start a rollout from, say.
    - `dtype`: of floating arrays; None for JAX's default.

    **Raises:** `ValueError` naming file and frame for anything that cannot be read: truncated
    files, unknown species or suffixes, values that are not finite, atoms in one place, cells
    without volume; and if there is nothing to learn from, listing the keys that there are.
    """
    every = whole_number("every", every, 1)
    start, stop, step = _bounds(frames)
    found = list(_frames(source, slice(start, stop, step * every)))
    if not found:
        raise ValueError(f"no frames in {_named(source)}")
    how = Labels(energy, forces, stress, stress_unit, stress_sign, stress_order, labels)
    return data_from(found, cutoff=float(cutoff), labels=how, dtype=dtype)


def _bounds(frames: slice | None) -> tuple[int, int | None, int]:
    frames = slice(None) if frames is None else frames
    if not isinstance(frames, slice):
        raise ValueError(f"frames must be a slice, got {frames!r}")
    start, step = frames.start or 0, 1 if frames.step is None else frames.step
    if start < 0 or step < 1 or (frames.stop is not None and frames.stop < 0):
        raise ValueError(f"frames counts from the start and forwards, got {frames}")
    return start, frames.stop, step


def _frames(source: Any, keep: slice) -> Iterator[AtomsFrame]:
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
            yield from _frames(source, slice(None))
        else:
            raise _not_a_source(source)


def _not_a_source(source: Any) -> ValueError:
    return ValueError(
        f"expected a path, an ase.Atoms, or several of these, got a {type(source).__name__}"
    )


def _reader(path: str | os.PathLike[str]) -> Reader:
    """The reader for the file's suffix, without that of a packed file."""
    stem, suffix = os.path.splitext(os.fspath(path))
    packed = suffix.lower() in OPENERS
    if packed:
        suffix = os.path.splitext(stem)[1]
    if suffix.lower() in READERS:
        return READERS[suffix.lower()]
    raise ValueError(
        f"{os.fspath(path)}: unknown suffix {suffix!r}; known are {', '.join(READERS)}, also "
        f"packed as {', '.join(OPENERS)}"
    )


def _named(source: Any) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return f"a {type(source).__name__}"
