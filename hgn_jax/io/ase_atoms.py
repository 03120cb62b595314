"""ASE's `Atoms` as frames. Only attributes are read, so ASE is not imported."""

from typing import Any

import numpy as np

from .atoms_frame import AtomsFrame

OF_CELL = ("stress", "virial", "dipole")
"""Results of the whole frame, whose length may happen to be the number of atoms."""


def is_atoms(source: object) -> bool:
    """True for ASE's `Atoms`, and objects with the same attributes."""
    return all(hasattr(source, name) for name in ("numbers", "positions", "cell", "pbc", "info"))


def frame_of(atoms: Any, where: str) -> AtomsFrame:
    """Converts one `Atoms`; `where` names it in errors.

    Results of the calculator are read, never computed. Constraints are not applied to them.

    **Raises:** `ValueError` if the results belong to other positions.
    """
    arrays = {
        k: np.asarray(v) for k, v in atoms.arrays.items() if k not in ("numbers", "positions")
    }
    info = dict(atoms.info)
    results = getattr(atoms.calc, "results", None) or {}
    if results and atoms.calc.check_state(atoms):
        raise ValueError(
            f"{where}: the results of its calculator belong to other atoms or positions. Compute "
            "them again, and give every frame a SinglePointCalculator of its own"
        )
    for name, value in results.items():
        of_atoms = name not in OF_CELL and np.ndim(value) and len(value) == len(atoms)
        (arrays if of_atoms else info)[name] = value
    cell = np.array(atoms.cell, float)
    return AtomsFrame(
        where=where,
        species=np.array(atoms.numbers, int),
        position=np.array(atoms.positions, float),
        cell=cell if cell.any() else None,  # zeros are ASE's way to have no cell
        periodic=np.array(atoms.pbc, bool),
        arrays=arrays,
        info=info,
    )
