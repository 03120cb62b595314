"""One configuration of atoms, with its arrays under the names of the source."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from .elements import check_elements, standard_masses


@dataclasses.dataclass(frozen=True)
class AtomsFrame:
    """Atoms, their cell, and all other values under their names in the source."""

    where: str
    """Name of the frame in errors, such as "si.xyz, frame 3"."""
    species: np.ndarray
    """Atomic numbers `[n]`."""
    position: np.ndarray
    """Positions `[n 3]` (A)."""
    cell: np.ndarray | None
    """Lattice vectors as rows `[3 3]` (A); None if there is no cell."""
    periodic: np.ndarray
    """True for periodic axes, `[3]`."""
    arrays: Mapping[str, Any]
    """Arrays with one entry per atom."""
    info: Mapping[str, Any]
    """Values of the whole frame; strings are parsed when they are used."""

    def mass(self) -> np.ndarray:
        """Masses `[n]` (u): those of the source, else standard atomic weights."""
        check_elements(self.species, self.where)
        given = self.arrays.get("masses", self.arrays.get("mass"))
        if given is None:
            return standard_masses(self.species, self.where)
        return numbers(given, f"{self.where}: masses", (len(self.species),))

    def momentum(self) -> np.ndarray | None:
        """Momenta `[n 3]` in ASE's unit, sqrt(u eV); None without momenta and velocities."""
        for name in ("momenta", "velocities"):
            if self.arrays.get(name) is not None:
                values = numbers(self.arrays[name], f"{self.where}: {name}", self.position.shape)
                # Velocities in ASE's unit, sqrt(eV / u), make momenta in sqrt(u eV).
                return values if name == "momenta" else values * self.mass()[:, None]
        return None


def numbers(value: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Converts a value to finite floats of that shape. Strings are split at blanks and commas.

    **Raises:** `ValueError`, beginning with `name`, for anything else.
    """
    entries = value
    if isinstance(value, str):
        # Arrays are written in brackets, in braces, or in neither.
        entries = re.sub(r"[\[\],{}]", " ", value).split()
    try:
        array = np.asarray(entries, float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers, got {value!r}"[:200]) from None
    # A flat list holds a matrix row by row.
    if array.size == math.prod(shape) and (array.ndim == 1 or not shape):
        array = array.reshape(shape)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} is NaN or Inf")
    return array
