"""`read`: a data set from files, or from objects of other libraries."""

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
"""Readers by suffix. To add a format, write its reader in a file and add a line here."""


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
    """Reads configurations of atoms as one batch, with edges by a cutoff, in eV, A and u.

    `source` is an extended XYZ file (`.xyz`, `.extxyz`, also compressed as `.gz` or `.xz`),
    ASE's `Atoms`, or an iterable of these. Reading runs no code from a file. Each frame becomes a
    graph:

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
    `energy_weight` and `stress_weight`, nodes `weight` for forces.

    The box of a frame that is not periodic is dropped. Beside periodic frames it is replaced by one
    that no pair reaches across, and so are vectors of axes that are not periodic. Stress times
    volume is kept.

    **Arguments:**

    - `cutoff`: greatest length of an edge (A).
    - `frames`: slice of the frames to read, such as `slice(100)`.
    - `every`: reads only every n-th of these.
    - `energy`, `forces`, `stress`: keys of the labels, one for all frames. If None, common names
        are searched in calculator results, `info` and arrays: `energy`, `REF_energy`,
        `dft_forces`, `virial`, ... (explicit references first, `energy` before `free_energy`).
    - `stress_unit`: "eV/A^3", "GPa" or "kbar".
    - `stress_sign`: 1 if tension is positive, as ASE has it; -1 if pressure is, as VASP prints it.
    - `stress_order`: order of six components: "xx yy zz yz xz xy" is Voigt's, "xx yy zz xy yz zx"
        VASP's. None for all three: as ASE; virials as QUIP (eV, minus dE/dstrain); and
        `vasp_stress_kbar` as VASP prints it.
    - `labels`: False also accepts a source without labels, for example as the start of a rollout.
    - `dtype`: dtype of floating arrays; None for JAX's default.

    **Returns:** a batch of one graph per frame.

    **Raises:** `ValueError` naming file and frame for anything that cannot be read: truncated
    files, unknown species or suffixes, values that are not finite, atoms at the same position,
    cells without volume. `ValueError` listing the keys of the source if it has no labels.
    """
    every = whole_number("every", every, 1)
    start, stop, step = _bounds(frames)
    selected = list(_frames(source, slice(start, stop, step * every)))
    if not selected:
        raise ValueError(f"no frames in {_named(source)}")
    options = Labels(energy, forces, stress, stress_unit, stress_sign, stress_order, labels)
    return data_from(selected, cutoff=float(cutoff), labels=options, dtype=dtype)


def _bounds(frames: slice | None) -> tuple[int, int | None, int]:
    frames = slice(None) if frames is None else frames
    if not isinstance(frames, slice):
        raise ValueError(f"frames must be a slice, got {frames!r}")
    start, step = frames.start or 0, 1 if frames.step is None else frames.step
    if start < 0 or step < 1 or (frames.stop is not None and frames.stop < 0):
        raise ValueError(f"frames must not count from the end or backwards, got {frames}")
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
    """Reader for the suffix of a file; a suffix of compression is ignored."""
    stem, suffix = os.path.splitext(os.fspath(path))
    if suffix.lower() in OPENERS:
        suffix = os.path.splitext(stem)[1]
    if suffix.lower() in READERS:
        return READERS[suffix.lower()]
    raise ValueError(
        f"{os.fspath(path)}: unknown suffix {suffix!r}; known are {', '.join(READERS)}, also "
        f"compressed as {', '.join(OPENERS)}"
    )


def _named(source: Any) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return f"a {type(source).__name__}"
