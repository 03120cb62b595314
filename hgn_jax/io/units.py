"""Units of files: stated beside the numbers, and converted if the user asks for it.

The three base units length, time and mass make all others, so that equations of motion keep their
form: energies are in mass length^2 / time^2.
"""

import math
import re
from collections.abc import Mapping

from ..graphs.schema import did_you_mean

_MOLE = 6.02214076e23
_U = 1.66053906660e-27
_EV = 1.602176634e-19

SIZES: dict[str, tuple[float, tuple[int, int, int]]] = {
    "m": (1, (1, 0, 0)), "cm": (1e-2, (1, 0, 0)), "mm": (1e-3, (1, 0, 0)),
    "um": (1e-6, (1, 0, 0)), "nm": (1e-9, (1, 0, 0)), "pm": (1e-12, (1, 0, 0)),
    "fm": (1e-15, (1, 0, 0)), "km": (1e3, (1, 0, 0)),
    "Angstrom": (1e-10, (1, 0, 0)), "angstrom": (1e-10, (1, 0, 0)), "A": (1e-10, (1, 0, 0)),
    "Å": (1e-10, (1, 0, 0)), "bohr": (5.29177210903e-11, (1, 0, 0)),
    "AU": (1.495978707e11, (1, 0, 0)), "au": (1.495978707e11, (1, 0, 0)),
    "s": (1, (0, 1, 0)), "ms": (1e-3, (0, 1, 0)), "us": (1e-6, (0, 1, 0)),
    "ns": (1e-9, (0, 1, 0)), "ps": (1e-12, (0, 1, 0)), "fs": (1e-15, (0, 1, 0)),
    "min": (60, (0, 1, 0)), "h": (3600, (0, 1, 0)), "day": (86400, (0, 1, 0)),
    "d": (86400, (0, 1, 0)), "yr": (365.25 * 86400, (0, 1, 0)),
    "kg": (1, (0, 0, 1)), "g": (1e-3, (0, 0, 1)), "u": (_U, (0, 0, 1)), "amu": (_U, (0, 0, 1)),
    "Da": (_U, (0, 0, 1)), "me": (9.1093837015e-31, (0, 0, 1)),
    "N": (1, (1, -2, 1)), "Newton": (1, (1, -2, 1)),
    "J": (1, (2, -2, 1)), "kJ": (1e3, (2, -2, 1)), "cal": (4.184, (2, -2, 1)),
    "kcal": (4184, (2, -2, 1)), "eV": (_EV, (2, -2, 1)), "meV": (1e-3 * _EV, (2, -2, 1)),
    "hartree": (4.3597447222071e-18, (2, -2, 1)), "Ha": (4.3597447222071e-18, (2, -2, 1)),
    "mol": (_MOLE, (0, 0, 0)),
}  # fmt: skip
"""Value in SI and powers of length, time and mass of every known unit."""

ASE_TIME = 1e-10 * math.sqrt(_U / _EV)
SYSTEMS: dict[str, tuple[float, float, float]] = {
    "ase": (1e-10, ASE_TIME, _U),
    "si": (1.0, 1.0, 1.0),
}
"""Length, time and mass in SI of the systems that have a name."""

POWERS = {
    "position": (1, 0, 0), "times": (0, 1, 0), "time": (0, 1, 0), "velocity": (1, -1, 0),
    "momentum": (1, -1, 1), "force": (1, -2, 1), "mass": (0, 0, 1), "cell": (1, 0, 0),
    "edges": (1, 0, 0), "energy": (2, -2, 1),
}  # fmt: skip
"""Powers of length, time and mass of the arrays; `edges` are those of a box in H5MD."""
BASE = ("length", "time", "mass")
MASSES = ("u", "g", "kg", "me")


def target(units: str | Mapping[str, str]) -> tuple[float, float, float]:
    """Length, time and mass in SI of the units asked for.

    **Raises:** `ValueError` for units that are unknown or of another kind.
    """
    if isinstance(units, str):
        if units not in SYSTEMS:
            raise ValueError(
                f'units must be "ase", "si" or {{"length": "nm", "time": "ps", "mass": "u"}}, got '
                f"{units!r}"
            )
        return SYSTEMS[units]
    if unknown := sorted(set(units) - set(BASE)):
        raise ValueError(
            f"units: unknown quantity {unknown[0]!r}{did_you_mean(unknown[0], BASE)}; known are "
            "length, time and mass"
        )
    if missing := [name for name in BASE if name not in units]:
        raise ValueError(f"units must name {', '.join(BASE)}; missing {', '.join(missing)}")
    sizes = []
    for axis, name in enumerate(BASE):
        size, powers = parsed(units[name])
        if powers != tuple(int(axis == k) for k in range(3)):
            raise ValueError(f"units: {units[name]!r} is no unit of {name}")
        sizes.append(size)
    return sizes[0], sizes[1], sizes[2]


def check_names(units: Mapping[str, str]) -> None:
    """Raises `ValueError` unless length, time and mass each have one known unit."""
    target(units)
    for name in BASE:
        if units[name] not in SIZES:
            raise ValueError(f"units: {units[name]!r} must be one unit of {name}, without a number")


def parsed(text: str) -> tuple[float, tuple[int, int, int]]:
    """Value in SI and powers of length, time, mass of a unit such as "kJ mol-1 nm-1" or "m/s".

    **Raises:** `ValueError` for an unknown unit.
    """
    size, powers, sign = 1.0, [0, 0, 0], 1
    for factor in re.findall(r"/|[^\s/*]+", text.strip()):
        if factor == "/":
            sign = -1  # for all factors that follow, as in J/mol/nm
            continue
        match = re.fullmatch(r"([A-Za-zÅ]+)\^?([+-]?\d+)?", factor)
        if match is None or match[1] not in SIZES:
            try:
                size *= float(factor) ** sign
                continue
            except ValueError:
                raise ValueError(
                    f"unknown unit {factor!r} in {text!r}{did_you_mean(factor, SIZES)}"
                ) from None
        value, own = SIZES[match[1]]
        power = sign * int(match[2] or 1)
        size *= value**power
        powers = [a + power * b for a, b in zip(powers, own)]
    return size, (powers[0], powers[1], powers[2])


def factor(quantity: str, unit: str, to: tuple[float, float, float], where: str) -> float:
    """Number by which values of an array in `unit` are multiplied.

    **Raises:** `ValueError`, beginning with `where`, for a unit that is unknown or of another kind.
    """
    try:
        size, powers = parsed(unit)
    except ValueError as error:
        raise ValueError(f"{where}: {quantity}: {error}") from None
    if powers != POWERS[quantity]:
        raise ValueError(f"{where}: {unit!r} is no unit of {quantity}")
    return size / math.prod(base**power for base, power in zip(to, powers))


def check_together(units: Mapping[str, str], where: str) -> None:
    """Raises `ValueError`, beginning with `where`, for units of no common system: there velocities
    are not lengths over times, or forces not masses times accelerations.

    A mass whose unit is not stated may be in u, g, kg or me.
    """
    known = {}
    for name, unit in units.items():
        if name in POWERS:
            try:
                known[name] = parsed(unit)[0]
            except ValueError:
                continue  # nothing follows from a word that only the file's author knows
    if not {"position", "times"} <= known.keys():
        return
    masses = [known["mass"]] if "mass" in known else [SIZES[name][0] for name in MASSES]
    for name, size in known.items():
        length, time, mass = POWERS[name]
        fitting = (known["position"] ** length * known["times"] ** time * m**mass for m in masses)
        if not any(math.isclose(size, one, rel_tol=1e-3) for one in fitting):
            base = [f"{k} in {units[k]}" for k in ("position", "times", "mass") if k in known]
            raise ValueError(
                f"{where}: {name} in {units[name]} does not go with {', '.join(base)}: convert all "
                'by units=, such as units={"length": "nm", "time": "ps", "mass": "u"}'
            )


def unit_of(quantity: str, units: Mapping[str, str]) -> str | None:
    """Unit of an array, as H5MD writes it; None for one of unknown dimension."""
    powers = POWERS.get(quantity)
    if powers is None:
        return None
    if quantity == "force" and tuple(units[k] for k in BASE) == ("nm", "ps", "u"):
        return "kJ mol-1 nm-1"  # the same, in words that other programs know
    ordered = [(units[BASE[k]], powers[k]) for k in (2, 0, 1)]
    return " ".join(name if p == 1 else f"{name}{p:+d}" for name, p in ordered if p)
