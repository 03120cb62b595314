"""One configuration of atoms as a file or ASE holds it, before its arrays have our names."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from .elements import check_elements, standard_masses


@dataclasses.dataclass(frozen=True)
class AtomsFrame:
    """Atoms, their cell, and all other values under the names that they have in the source."""

    where: str
    """What errors call the frame, such as "si.xyz, frame 3"."""
    species: np.ndarray
    """Atomic numbers `[n]`."""
    position: np.ndarray
    """`[n 3]` (A)."""
    cell: np.ndarray | None
    """Lattice vectors as rows `[3 3]` (A)."""
    periodic: np.ndarray
    """True for axes that repeat, `[3]`."""
    arrays: Mapping[str, Any]
    """Arrays with one entry per atom."""
    info: Mapping[str, Any]
    """Values of the whole frame; strings are converted when they are asked for."""

    def mass(self) -> np.ndarray:
        """Masses `[n]` (u): those of the source, else standard atomic weights."""
        check_elements(self.species, self.where)
        given = self.arrays.get("masses", self.arrays.get("mass"))
        if given is None:
            return standard_masses(self.species, self.where)
        return numbers(given, f"{self.where}: masses", (len(self.species),))

    def momentum(self) -> np.ndarray | None:
        """Momenta `[n 3]` in A, u and eV, as ASE has them: u A over A sqrt(u/eV)."""
        for name in ("momenta", "velocities"):
            if self.arrays.get(name) is not None:
                values = numbers(self.arrays[name], f"{self.where}: {name}", self.position.shape)
                return values if name == "momenta" else values * self.mass()[:, None]
        return None


def numbers(value: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value as finite floats of that shape; a string holds them between blanks or commas.

    **Raises:** `ValueError`, beginning with `name`, for anything else.
    """
    words = value
    if isinstance(value, str):
        words = re.sub(r"[\[\],{}]", " ", value).split()
    try:
        array = np.asarray(words, float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers, got {value!r}"[:200]) from None
    if array.size == math.prod(shape) and (array.ndim == 1 or not shape):
        array = array.reshape(shape)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} is NaN or Inf")
    return array
