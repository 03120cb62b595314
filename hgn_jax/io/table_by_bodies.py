"""Trajectories from tables with one row per time and body."""

from typing import Any

import numpy as np

from ..graphs.schema import did_you_mean
from .recording import Recording
from .table import Table, units_of

AXES = "xyz"
KINDS = {"position": "", "velocity": "v", "momentum": "p", "force": "f"}
"""Letter before x, y, z of the usual columns of each array."""
BODY = ("body", "name", "particle", "id")
RUN = ("trajectory", "run", "trial")
SINGLE = ("mass", "charge", "species")
"""Columns of a table by bodies that are the same in all rows of a body."""
HELP = (
    'name them by columns={"time": "t", "sun": ("x1", "y1"), "earth": ("x2", "y2")}, one entry per '
    'body, or columns={"time": "t", "body": "name", "position": ("x", "y")}'
)


def by_bodies(
    table: Table, time: str, body: str, columns: dict[str, Any], keep: slice
) -> list[Recording]:
    """One row per time and body, in any order."""
    titles = {name: [v] if isinstance(v, str) else list(v) for name, v in columns.items()}
    if unknown := sorted(set(titles) - set(KINDS) - set(SINGLE) - {"trajectory"}):
        known = [*KINDS, *SINGLE, "trajectory"]
        raise ValueError(
            f"columns: unknown array {unknown[0]!r}{did_you_mean(unknown[0], known)} beside "
            f'"body"; known are {", ".join(known)}'
        )
    for kind, letter in KINDS.items():
        if kind not in titles:
            usual = [table.first([letter + axis]) for axis in AXES]
            titles[kind] = [title for title in usual if title is not None]
    if not titles["position"]:
        raise ValueError(
            f"{table.name}: no columns x, y, z of positions among {', '.join(table.titles)}; {HELP}"
        )
    run = titles.pop("trajectory", [table.first(RUN)])[0]
    names = list(dict.fromkeys(table.words(body)))  # in the order of the file, unlike a set
    place = np.array([names.index(name) for name in table.words(body)])
    runs = np.array(table.words(run) if run else [""] * len(place))
    times = table.numbers(time)
    arrays = {
        kind: np.stack([table.numbers(title) for title in titles[kind]], axis=-1)
        for kind in KINDS
        if titles[kind]
    }
    single = {name: titles.get(name, [table.first([name])])[0] for name in SINGLE}
    values = {name: table.numbers(title) for name, title in single.items() if title}
    units = units_of(table, time, {k: t[0] for k, t in titles.items() if t})
    recordings = []
    for number in dict.fromkeys(runs.tolist()):
        rows = np.flatnonzero(runs == number)
        where = f"{table.name}, trajectory {number}" if run else table.name
        moments, frame = np.unique(times[rows], return_inverse=True)
        _check_once(table, rows, frame, place, names)
        moving = {}
        for kind, array in arrays.items():
            # NaN where a body has no row: it was not measured then.
            moving[kind] = np.full((len(moments), len(names), array.shape[1]), np.nan)
            moving[kind][frame, place[rows]] = array[rows]
        bodies: dict[str, Any] = {
            name: _of_bodies(v[rows], place[rows], names, f"{where}: {name}")
            for name, v in values.items()
        }
        recordings.append(
            Recording(
                where, moments[keep], {k: a[keep] for k, a in moving.items()},
                {"names": names, **bodies}, units=units,
            )
        )  # fmt: skip
    return recordings


def _check_once(
    table: Table, rows: np.ndarray, frame: np.ndarray, place: np.ndarray, names: list[str]
) -> None:
    cells = frame * len(names) + place[rows]
    order = np.argsort(cells, kind="stable")  # stable, to report the later line of two
    twice = np.flatnonzero(np.diff(cells[order]) == 0)
    if len(twice):
        row = rows[order[twice[0] + 1]]
        raise ValueError(
            f"{table.name}, line {table.lines[row]}: body {names[place[row]]!r} has a second row "
            "at the same time: number the trajectories in a column `trajectory`"
        )


def _of_bodies(values: np.ndarray, place: np.ndarray, names: list[str], name: str) -> np.ndarray:
    of_body, given = np.full(len(names), np.nan), ~np.isnan(values)  # some rows may leave it out
    of_body[place[given]] = values[given]
    changed = np.flatnonzero(given & (values != of_body[place]))
    if len(changed):
        raise ValueError(f"{name} of body {names[place[changed[0]]]!r} changes")
    return of_body
