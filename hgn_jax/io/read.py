"""`read`: a data set from files and from memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import DTypeLike
from jaxtyping import ArrayLike
from jraph import GraphsTuple

from .._arguments import whole_number
from ..graphs.joining import is_cutoff
from ..graphs.selection import take
from ..graphs.validate import check
from .atoms_data import Labels, data_from
from .sources import frames as frames_of
from .sources import holds_atoms, named, peeked, several, trajectories
from .trajectory_data import Bodies, data_of


def read(
    source: Any,
    *,
    cutoff: float | int | None = None,
    edges: ArrayLike | Sequence[Sequence[Any]] | str | None = None,
    frames: slice | None = None,
    every: int = 1,
    dtype: DTypeLike | None = None,
    energy: str | None = None,
    forces: str | None = None,
    stress: str | None = None,
    stress_unit: str | None = None,
    stress_sign: int | None = None,
    stress_order: str | None = None,
    labels: bool = True,
    columns: Mapping[str, Any] | None = None,
    mass: ArrayLike | Sequence[float | int] | Mapping[str, float | int] | None = None,
    coupling: ArrayLike | Sequence[float | int] | str | None = None,
    type: ArrayLike | Sequence[int] | None = None,
    rates: bool = True,
    order: int = 8,
    units: str | Mapping[str, str] | None = None,
) -> GraphsTuple:
    """Reads a data set: a batch of one graph per frame. Reading runs no code from a file.

    The suffix decides. A file holds either frames of atoms or trajectories of bodies, and each has
    arguments of its own, which the other refuses. Several files make one batch.

    | source | holds |
    |---|---|
    | `.xyz`, `.extxyz` (also `.gz`, `.xz`), ASE's `Atoms`, what ASE reads if installed | atoms |
    | `.npz`; `.h5`, `.hdf5`, `.h5md` (extra `files`); a dict of arrays | trajectories |
    | `.csv`, `.tsv` (also `.gz`, `.xz`) | trajectories |
    | a list or another iterable of these | the same |

    An `.npz` that `hgn.write` made from a data set is read as it was, edges included.

    **For both:**

    - `cutoff`: greatest length of an edge, in the units of the result.
    - `edges`: for trajectories "all", pairs `[p 2]` of body numbers or names, or a cutoff; None for
        the pairs in the file.
    - `frames`: slice of the frames to read, such as `slice(100)`, of each trajectory.
    - `every`: reads only every n-th of these.
    - `dtype`: dtype of floating arrays; None for JAX's default.

    **Frames of atoms** are in eV, A and u; the unit of time is A sqrt(u/eV) = 10.18 fs. They give

    | array | from |
    |---|---|
    | nodes `position`, `species` (atomic numbers) | positions, symbols or numbers |
    | nodes `mass` | masses, else standard atomic weights |
    | nodes `force` (eV/A) | forces, those of constrained atoms too |
    | nodes `momentum`, `velocity` | momenta or velocities in ASE's units, if any is not zero |
    | globals `energy` (eV) | potential energy, plus the kinetic one where there are momenta |
    | globals `stress` (eV/A^3) | stress = dE/dstrain / volume, or a virial |
    | globals `cell`, edges `shift` | lattice and all images within the cutoff |

    If only some frames have a label, the others have zeros and a weight of zero: globals
    `energy_weight` and `stress_weight`, nodes `weight` for forces. The box of a frame that is not
    periodic is dropped. Beside periodic frames it is replaced by one that no pair reaches across,
    and so are vectors of axes that are not periodic. Stress times volume is kept.

    - `energy`, `forces`, `stress`: keys of the labels, one for all frames. If None, common names
        are searched in calculator results, `info` and arrays: `energy`, `REF_energy`,
        `dft_forces`, `virial`, ... (explicit references first, `energy` before `free_energy`).
    - `stress_unit`: "eV/A^3", "GPa" or "kbar".
    - `stress_sign`: 1 if tension is positive, as ASE has it; -1 if pressure is, as VASP prints it.
    - `stress_order`: order of six components: "xx yy zz yz xz xy" is Voigt's, "xx yy zz xy yz zx"
        VASP's. None for all three: as ASE; virials as QUIP (eV, minus dE/dstrain); and
        `vasp_stress_kbar` as VASP prints it.
    - `labels`: False also accepts a source without labels, for example as the start of a rollout.

    **Trajectories** go through `hgn.graphs.from_trajectories`. Numbers are kept as they are, in the
    units of the file, if these go together: lengths over times make velocities, masses times
    accelerations forces.

    - `columns`: names in the file. For arrays `{"position": "x", "times": "t"}`. For a table of one
        row per time `{"time": "t", "sun": ("x1", "y1"), ...}`, or with more than positions
        `{"sun": {"position": ("x1", "y1"), "velocity": ("u1", "v1")}, ...}`. For a table of one row
        per time and body `{"time": "t", "body": "name", "position": ("x", "y")}`. If None, the
        usual names are searched: `time`, `x1`, `y1`, `vx1`, ..., or `time`, `body`, `x`, `y`, `vx`,
        `mass`, `trajectory`, ....
    - `mass`: a number, one per body, or by name; None for the masses in the file.
    - `coupling`: "mass", "charge" or one factor per pair; `type`: one integer per pair.
    - `rates`: True to differentiate what is missing; False keeps states as they were measured.
    - `order`: order of the differences.
    - `units`: converts: "ase" (A, u, 10.18 fs), "si", or `{"length": "nm", "time": "ps", "mass":
        "u"}`. The file must state its units: the attribute `unit` in H5MD, "x1 [mm]" in a table.

    **Raises:** `ValueError` naming file and frame, line or trajectory for anything that cannot be
    read: truncated files, unknown species or suffixes, text among numbers, values that are not
    finite, missing arrays (listing those that the source has), arguments that belong to the other
    kind of file, units that do not go together. `OSError` if a file cannot be opened.
    """
    every = whole_number("every", every, 1)
    start, stop, step = _bounds(frames)
    keep = slice(start, stop, step * every)
    if cutoff is not None and edges is not None:
        raise ValueError("give cutoff= or edges=, which may be a cutoff too, not both")
    # Defaults become None here: `_refuse` takes any other value as given by the user.
    of_atoms = {
        "energy": energy, "forces": forces, "stress": stress, "stress_unit": stress_unit,
        "stress_sign": stress_sign, "stress_order": stress_order,
        "labels": None if labels else labels,
    }  # fmt: skip
    of_bodies = {
        "columns": columns, "mass": mass, "coupling": coupling, "type": type, "units": units,
        "rates": None if rates else rates, "order": None if order == 8 else order,
    }  # fmt: skip
    sources, source = peeked(source)
    if holds_atoms(sources[0]):
        _refuse(of_bodies, "trajectories of bodies", named(sources[0]), "frames of atoms")
        reach = _cutoff_of_atoms(cutoff, edges)
        selected = list(frames_of(source, keep))
        if not selected:
            raise ValueError(f"no frames in {named(source)}")
        options = Labels(energy, forces, stress, stress_unit, stress_sign, stress_order, labels)
        return data_from(selected, cutoff=reach, labels=options, dtype=dtype)
    _refuse(of_atoms, "frames of atoms", named(sources[0]), "trajectories of bodies")
    found = [trajectories(part, columns, keep, k) for k, part in enumerate(several(source))]
    whole = [part for part in found if isinstance(part, GraphsTuple)]
    if whole:
        if len(found) > 1:
            raise ValueError(
                f"{named(sources[0])} is one of several sources, but one of them holds "
                "a whole data set with its edges: read that on its own"
            )
        given = of_bodies | {"edges": edges, "cutoff": cutoff, "dtype": dtype}
        _refuse(given, "trajectories", named(sources[0]), "a whole data set with its edges")
        return _selected(whole[0], keep)
    said = Bodies(cutoff if edges is None else edges, mass, coupling, type, rates, order, units)
    return data_of([r for part in found for r in part], said, dtype)


def _refuse(given: Mapping[str, Any], kind: str, name: str, held: str) -> None:
    if extra := [f"{key}=" for key, value in given.items() if value is not None]:
        raise ValueError(
            f"{', '.join(extra)}: for {kind} only, but {name} holds {held}: leave "
            f"{'it' if len(extra) == 1 else 'them'} out"
        )


def _cutoff_of_atoms(cutoff: Any, edges: Any) -> float:
    reach = cutoff if edges is None else edges
    if not is_cutoff(reach):
        raise ValueError(
            "atoms are joined by a cutoff, the reach of the features (A): give cutoff=5.0"
            + ("" if reach is None else f", got {reach!r}")
        )
    return float(reach)


def _selected(data: GraphsTuple, keep: slice) -> GraphsTuple:
    check(data)
    chosen = np.zeros(len(data.n_node), bool)
    chosen[keep] = True
    if not chosen.any():
        raise ValueError(f"no frames are left of {len(chosen)}: look at frames= and every=")
    return data if chosen.all() else take(data, chosen)


def _bounds(frames: slice | None) -> tuple[int, int | None, int]:
    frames = slice(None) if frames is None else frames
    if not isinstance(frames, slice):
        raise ValueError(f"frames must be a slice, got {frames!r}")
    start, step = frames.start or 0, 1 if frames.step is None else frames.step
    if start < 0 or step < 1 or (frames.stop is not None and frames.stop < 0):
        raise ValueError(f"frames must not count from the end or backwards, got {frames}")
    return start, frames.stop, step
