"""Labels of frames (energies, forces, stresses): their keys, units and sign conventions."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from .atoms_frame import AtomsFrame, numbers

_PREFIXES = ("ref_{}", "{}_ref", "dft_{}", "{}_dft", "qm_{}", "{}")


def _names(*bases: str) -> tuple[str, ...]:
    return tuple(prefix.format(base) for prefix in _PREFIXES for base in bases)


ENERGY = _names("energy", "free_energy", "total_energy", "potential_energy", "totenergy")
FORCES = _names("forces", "force")
STRESS = (*_names("stress", "virial", "virials"), "vasp_stress_kbar")
"""Keys of labels in order of preference, in lower case and with _ for -."""

GPA = 1 / 160.21766208
"""eV/A^3."""
UNITS = {"eV/A^3": 1.0, "GPa": GPA, "kbar": GPA / 10}
"""Units of stress (eV/A^3)."""
ORDER = "xx yy zz yz xz xy"
"""Voigt's order of the components, as in ASE."""


class StressFormat(NamedTuple):
    """How a source writes stresses: sign * value * unit is the stress, or the virial (in eV)."""

    unit: str
    sign: int
    order: str
    virial: bool = False

    def matrix(self, value: object, name: str) -> np.ndarray:
        """Converts six or nine components to a symmetric `[3 3]` in eV/A^3 (eV for a virial).

        **Raises:** `ValueError`, beginning with `name`, unless it has six or nine finite numbers.
        """
        size = len(value.split()) if isinstance(value, str) else np.size(value)  # type: ignore
        if size == 6:
            six = numbers(value, name, (6,))
            indices = [["xyz".index(axis) for axis in pair] for pair in self.order.split()]
            full = np.zeros((3, 3))
            for (i, j), component in zip(indices, six):
                full[i, j] = full[j, i] = component
        else:
            full = numbers(value, name, (3, 3))
        return self.sign * UNITS[self.unit] * (full + full.T) / 2


def stress_format(key: str, unit: str | None, sign: int | None, order: str | None) -> StressFormat:
    """Format of the stresses under `key`; arguments that are not None override the default.

    The default is ASE's format. Virials have the sign of QUIP, minus dE/dstrain. Stresses under
    "vasp_stress_kbar" are as VASP prints them: kbar, pressure positive, order xx yy zz xy yz zx.

    **Raises:** `ValueError` for an unknown unit, sign or order.
    """
    virial = "virial" in key.lower()
    default = StressFormat("eV/A^3", -1 if virial else 1, ORDER, virial)
    if plain(key) == "vasp_stress_kbar":
        default = StressFormat("kbar", -1, "xx yy zz xy yz xz")
    chosen = StressFormat(
        default.unit if unit is None else unit,
        default.sign if sign is None else sign,
        default.order if order is None else order.replace("zx", "xz"),  # VASP's spelling
        virial,
    )
    if chosen.unit not in UNITS:
        raise ValueError(f"stress_unit must be one of {sorted(UNITS)}, got {unit!r}")
    if chosen.sign not in (1, -1):
        raise ValueError(f"stress_sign must be 1 (as ASE) or -1 (pressure positive), got {sign!r}")
    if sorted(chosen.order.split()) != sorted(ORDER.split()):
        raise ValueError(f"stress_order must hold each of {ORDER!r} once, got {order!r}")
    return chosen


def plain(key: str) -> str:
    """The key in lower case, with _ for -."""
    return key.lower().replace("-", "_")


def find_key(
    frames: Sequence[AtomsFrame], part: str, given: str | None, usual: Iterable[str]
) -> str | None:
    """Key of a label in `part` ("info" or "arrays"): the given one, else the first usual one.

    **Raises:** `ValueError` if no frame has the given key.
    """
    keys: dict[str, str] = {}
    for frame in frames:
        for key, value in getattr(frame, part).items():
            if value is not None and isinstance(key, str):
                # A given key must match exactly, a usual one in any spelling.
                keys.setdefault(key if given is not None else plain(key), key)
    if given is None:
        return next((keys[name] for name in usual if name in keys), None)
    if given not in keys:
        raise ValueError(f"no frame has the key {given!r}. {keys_held(frames)}")
    return given


def keys_held(frames: Sequence[AtomsFrame]) -> str:
    """Sentence that lists all keys of the frames, for errors."""
    info = sorted({str(key) for frame in frames for key in frame.info})
    arrays = sorted({str(key) for frame in frames for key in frame.arrays})
    return f"Frames hold the keys {info}, and for each atom {arrays}"
