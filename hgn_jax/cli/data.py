"""Data files, as the options say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jraph import GraphsTuple

from ..io.array_file import begins_as_ours
from ..io.compressed import bare_suffix
from ..io.read import read
from ..io.sources import TRAJECTORIES, holds_atoms, trajectories
from ..io.write import WRITERS
from .columns import parsed

NO_EDGES = np.zeros((0, 2), int)
TINY = 1e-6
"""Cutoff within which there are no atoms."""


def is_data(file: Path) -> bool:
    """True for a file of bodies, False for a model, by its suffix or else by its first bytes.

    **Raises:** `ValueError` for a file that is neither.
    """
    if bare_suffix(file) in {*TRAJECTORIES, *WRITERS}:
        return True
    return not (file.suffix == ".hgn" or begins_as_ours(file)) and holds_atoms(file)


def read_data(
    files: Sequence[Path],
    *,
    edges: str | None,
    coupling: str | None = None,
    mass: str | None = None,
    columns: Sequence[str] | None = None,
    units: str | None = None,
    every: int = 1,
    measured: bool = False,
    labels: bool = True,
) -> GraphsTuple:
    """Data with edges, to learn from or to start from."""
    source: Any = files[0] if len(files) == 1 else list(files)
    said: dict[str, Any] = {
        "edges": None if edges is None else _edges(edges),
        "coupling": coupling,
        "mass": None if mass is None else _numbers("--mass", mass),
        "columns": parsed(columns or ()),
        "units": _units(units),
        "every": every,
    }
    if holds_atoms(files[0]):
        return read(source, labels=labels, **said)
    return read(source, rates=not measured, **said)


def look_at(
    file: Path, columns: Sequence[str] | None = None, units: str | None = None
) -> GraphsTuple:
    """The states in a file, with the edges that it holds and no others; nothing is
    differentiated."""
    said: dict[str, Any] = {"columns": parsed(columns or ()), "units": _units(units)}
    if holds_atoms(file):
        return read(file, cutoff=TINY, labels=False, **said)
    recordings = trajectories(file, said["columns"], slice(None), 0)
    if isinstance(recordings, GraphsTuple):
        return recordings
    unknown = any(recording.pairs is None for recording in recordings)
    # Reading demands pairs and masses, but without rates nothing is computed from them.
    massless = any("mass" not in recording.bodies for recording in recordings)
    data = read(file, rates=False, edges=NO_EDGES if unknown else None,
                mass=1.0 if massless else None, **said)  # fmt: skip
    if massless:
        data.nodes.pop("mass")
    return data


def _edges(text: str) -> Any:
    if text == "all":
        return text
    try:
        return float(text)
    except ValueError:
        pairs = [pair.split("-") for pair in text.split(",")]
        if all(len(pair) == 2 and all(pair) for pair in pairs):
            numbers = all(body.isdigit() for pair in pairs for body in pair)
            return np.array(pairs, int) if numbers else pairs
        raise ValueError(
            '--edges must be "all", a cutoff such as 2.5, or pairs such as 0-1,1-2 or sun-earth, '
            f"got {text!r}"
        ) from None


def _units(text: str | None) -> Any:
    if text is None or "=" not in text:
        return text
    return {name: unit for name, _, unit in (part.partition("=") for part in text.split(","))}


def _numbers(option: str, text: str) -> Any:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} must be numbers separated by commas, got {text!r}") from None
    return values[0] if len(values) == 1 else np.array(values)
