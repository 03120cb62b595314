"""Names under which files hold the arrays of trajectories."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..graphs.schema import did_you_mean

ALIASES = {
    "times": ("times", "time", "t"),
    "position": ("position", "positions", "x", "q", "r"),
    "momentum": ("momentum", "momenta", "p"),
    "velocity": ("velocity", "velocities", "v"),
    "force": ("force", "forces", "f"),
    "mass": ("mass", "masses", "m"),
    "species": ("species", "numbers", "z"),
    "charge": ("charge", "charges"),
    "fixed": ("fixed",),
    "edges": ("edges", "pairs"),
    "coupling": ("coupling",),
    "type": ("type", "types"),
    "cell": ("cell", "box", "lattice"),
    "energy": ("energy",),
}
"""This library's names, and those under which files may hold the same, in lower case."""
NEEDED = ("times", "position")


def chosen(where: str, held: Iterable[str], columns: Mapping[str, Any] | None) -> dict[str, str]:
    """The file's name of every array, under this library's name.

    `columns` overrides the usual names.

    **Raises:** `ValueError` listing what the file holds and what is needed.
    """
    held = list(held)
    refuse_axes(where, held)
    # Reversed: of names that differ in case, the first one wins.
    lower = {name.lower(): name for name in reversed(held)}
    found = {
        name: next(lower[alias] for alias in aliases if alias in lower)
        for name, aliases in ALIASES.items()
        if lower.keys() & set(aliases)
    }
    for name, theirs in (columns or {}).items():
        if name not in ALIASES:
            raise ValueError(
                f"columns: unknown name {name!r}{did_you_mean(name, ALIASES)}; known are "
                f"{', '.join(ALIASES)}"
            )
        if theirs not in held:
            raise ValueError(
                f"{where}: holds no {theirs!r}{did_you_mean(str(theirs), held)}; {_held(held)}"
            )
        found[name] = theirs
    if missing := [name for name in NEEDED if name not in found]:
        raise ValueError(
            f"{where}: found no {' and no '.join(missing)}; {_held(held)}. Name them by "
            f'columns={{"{missing[0]}": "..."}}; `times` [t] and `position` [t n d] are needed, '
            f"{', '.join(name for name in ALIASES if name not in NEEDED)} are optional"
        )
    return found


def refuse_axes(where: str, held: Iterable[str]) -> None:
    """Raises `ValueError` for the arrays of bodies with an axis, which a trajectory of positions
    would lose."""
    if {"axis", "angular_momentum"} <= set(held):
        raise ValueError(
            f"{where}: holds bodies with an axis, and trajectories are read without axes: load the "
            "arrays yourself and pass them to hgn.graphs.snapshots, or write a data set as .npz"
        )


def _held(names: list[str]) -> str:
    listed = ", ".join(map(str, names[:30])) + (", ..." if len(names) > 30 else "")
    return f"it holds {listed}" if names else "it holds nothing"
