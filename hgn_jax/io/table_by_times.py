"""Trajectories from tables with one row per time: every body has columns of its own."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graphs.schema import did_you_mean
from .recording import Recording
from .table import Table, units_of
from .table_by_bodies import BODY, HELP, KINDS, by_bodies

TIME = ("time", "times", "t")


def read_table(
    path: str | os.PathLike[str], columns: Mapping[str, Any] | None, keep: slice
) -> list[Recording]:
    """Trajectories of a table; see `hgn.read`.

    **Raises:** `ValueError` naming file, line and column.
    """
    table, columns = Table(path), dict(columns or {})
    # Both names are removed, because those that remain are bodies.
    time = columns.pop("time", columns.pop("times", None)) or table.first(TIME)
    if time is None:
        raise ValueError(
            f"{table.name}: no column of times among {', '.join(table.titles)}; {HELP}"
        )
    body = columns.pop("body", None) or (None if columns else table.first(BODY))
    if body is not None:
        return by_bodies(table, time, body, columns, keep)
    return [_by_times(table, time, columns, keep)]


def _by_times(table: Table, time: str, columns: dict[str, Any], keep: slice) -> Recording:
    """One row per time, with the columns of every body beside one another."""
    of_bodies = _given(table, columns) if columns else _usual(table)
    if not of_bodies:
        raise ValueError(
            f"{table.name}: no columns such as x1, y1, vx1 among {', '.join(table.titles)}; {HELP}"
        )
    kinds = {name: arrays.keys() for name, arrays in of_bodies.items()}
    first, *others = kinds
    for other in others:
        if kinds[other] != kinds[first]:
            raise ValueError(
                f"{table.name}: body {first!r} has {sorted(kinds[first])}, body {other!r} "
                f"{sorted(kinds[other])}"
            )
    widths = {len(titles) for arrays in of_bodies.values() for titles in arrays.values()}
    if len(widths) > 1:
        raise ValueError(
            f"{table.name}: bodies have {sorted(widths)} coordinates, expected as many for each"
        )
    moving = {
        kind: np.stack(
            [
                np.stack([table.numbers(title) for title in arrays[kind]], axis=-1)
                for arrays in of_bodies.values()
            ],
            axis=1,
        )[keep]
        for kind in kinds[first]
    }
    units = units_of(table, time, {k: titles[0] for k, titles in of_bodies[first].items()})
    return Recording(
        table.name, table.numbers(time)[keep], moving, {"names": list(of_bodies)}, units=units
    )


def _given(table: Table, columns: dict[str, Any]) -> dict[str, dict[str, Sequence[str]]]:
    """Columns of each body as the user names them: of positions, or of arrays by name."""
    of_bodies: dict[str, dict[str, Sequence[str]]] = {}
    for name, titles in columns.items():
        arrays = dict(titles) if isinstance(titles, Mapping) else {"position": titles}
        if unknown := sorted(set(arrays) - set(KINDS)):
            raise ValueError(
                f"columns[{name!r}]: unknown array {unknown[0]!r}"
                f"{did_you_mean(unknown[0], KINDS)}; known are {', '.join(KINDS)}"
            )
        if "position" not in arrays:
            raise ValueError(f"columns[{name!r}] names no position")
        of_bodies[name] = {k: [v] if isinstance(v, str) else list(v) for k, v in arrays.items()}
    return of_bodies


def _usual(table: Table) -> dict[str, dict[str, Sequence[str]]]:
    """Columns named x1, y1, vx1, ..., x_sun, vx_sun, ... by body."""
    by_body: dict[str, dict[str, list[str]]] = {}
    for title in table.titles:
        match = re.fullmatch(r"([vpf]?)([xyz])(?:_?(\d+)|_(\w+))", title, re.IGNORECASE)
        if match:
            kind = next(k for k, letter in KINDS.items() if letter == match[1].lower())
            by_body.setdefault(match[3] or match[4], {}).setdefault(kind, []).append(title)
    bodies = {name: arrays for name, arrays in by_body.items() if "position" in arrays}
    return {
        name: {k: sorted(titles, key=_axis) for k, titles in arrays.items()}
        for name, arrays in bodies.items()
    }


def _axis(title: str) -> str:
    """The letter x, y or z of a column's name."""
    return title.lower().lstrip("vpf")[:1]
