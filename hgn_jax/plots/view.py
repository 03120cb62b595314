"""A rollout as one HTML file with a viewer in three dimensions."""

import base64
import html
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jraph import GraphsTuple
from matplotlib.colors import to_hex

from .._page import as_json, filled
from .sources import Source, States, states_of
from .style import COLOURS, Units, colours, label

NUMBERS = 6_000_000
"""Coordinates in a file at most, 32 MB: of longer rollouts every k-th frame is kept."""
EDGES_PER_BODY = 3
"""Edges are left out if there are more."""


def view(
    path: Source,
    file: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    title: str = "hgn_jax",
    units: Units = None,
) -> Path:
    """Writes one HTML file that shows the motion in space, in any browser, also offline.

    Drag to turn, scroll or pinch to zoom; play, pause and choose the time below. Bodies have the
    colours of their species, else of their masses. Edges are drawn where there are at most three a
    body, periodic cells always. `names` are those of the bodies. Returns the file.

    **Raises:** `ValueError` for positions in more than three dimensions, or if no state is finite.
    """
    states = _in_space(states_of(path))
    parts = files("hgn_jax").joinpath("plots", "viewer")
    page = parts.joinpath("viewer.html").read_text(encoding="utf-8")
    pieces = {
        "TITLE": html.escape(title),
        "DATA": as_json(_contents(states, names, units)),
        "THREE": parts.joinpath("three.min.js").read_text(encoding="utf-8"),
        "VIEWER": parts.joinpath("viewer.js").read_text(encoding="utf-8"),
    }
    target = Path(file)
    target.write_text(filled(page, pieces), encoding="utf-8")
    return target


def _in_space(states: States) -> States:
    """Finite frames, few enough for a file, in three dimensions."""
    d = states.position.shape[2]
    if d > 3:
        raise ValueError(f"the viewer shows three dimensions, positions have {d}")
    sound = np.flatnonzero(np.isfinite(states.position).all(axis=(1, 2)))
    if not len(sound):
        raise ValueError("no frame of these states is finite")
    kept = sound[:: -(-3 * len(sound) * states.position.shape[1] // NUMBERS)]
    position = np.pad(states.position[kept], ((0, 0), (0, 0), (0, 3 - d)))
    return States(states.axis[kept], position, None, states.graph)


def _contents(states: States, names: Sequence[str] | None, units: Units) -> dict[str, Any]:
    """The data of viewer.js."""
    q, graph = states.position, states.graph
    cell = _cell(graph)
    corners = np.zeros((1, 3)) if cell is None else np.array(list(np.ndindex(2, 2, 2))) @ cell
    shown = q.reshape(-1, 3) if cell is None else corners
    low, high = shown.min(axis=0), shown.max(axis=0)
    extent = float(max((high - low).max(), 1e-12))
    d = 3 if graph is None else graph.nodes["position"].shape[1]
    colour, legend = _colours(graph, q.shape[1], names)
    return {
        "times": states.axis.tolist(),
        "axis": label("time", "time", units),
        # Float32Array has the byte order of the machine, which is little-endian on all common ones.
        "position": base64.b64encode(q.astype("<f4").tobytes()).decode(),
        "radius": (_radius(q[0], extent) * _sizes(graph, q.shape[1])).tolist(),
        "colour": colour,
        "legend": legend,
        "edges": _edges(graph, q.shape[1]),
        "cell": None if cell is None else cell.tolist(),
        "inverse": None if cell is None else np.linalg.inv(cell).tolist(),
        "periodic": [k < d for k in range(3)],
        "middle": ((low + high) / 2).tolist(),
        "extent": extent,
        "reach": float(np.linalg.norm(high - low)) / 2,
        "flat": bool((high - low)[2] < 1e-6 * extent),
    }


def _cell(graph: GraphsTuple | None) -> np.ndarray | None:
    """Lattice vectors as rows, `[3 3]`; short vectors for dimensions that are not there."""
    if graph is None or "cell" not in graph.globals:
        return None
    given = np.asarray(graph.globals["cell"], float)[0]
    matrix = np.zeros((3, 3))
    matrix[: len(given), : len(given)] = given
    for k in range(len(given), 3):
        matrix[k, k] = 1e-3 * np.abs(given).max()
    return matrix


def _edges(graph: GraphsTuple | None, n: int) -> list[list[int]]:
    """Joined pairs, each once."""
    if graph is None:
        return []
    pairs = np.stack([np.asarray(graph.senders), np.asarray(graph.receivers)], axis=1)
    pairs = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)  # several images may join a pair
    return [] if len(pairs) > EDGES_PER_BODY * n else pairs.tolist()


def _radius(q: np.ndarray, extent: float) -> float:
    """Radius that neither hides neighbours nor vanishes in a wide system."""
    few = q[:500]  # distances of all pairs would fill the memory
    distances = np.linalg.norm(few[:, None] - q[None], axis=-1)
    distances[distances == 0] = np.inf  # of a body to itself
    nearest = float(np.median(distances.min(axis=1))) if len(q) > 1 else extent
    return min(max(0.17 * nearest, 0.008 * extent), 0.1 * extent)


def _sizes(graph: GraphsTuple | None, n: int) -> np.ndarray:
    """Relative radii, by the cube root of the mass within a factor of two."""
    if graph is None or "mass" not in graph.nodes:
        return np.ones(n)
    mass = np.asarray(graph.nodes["mass"], float)
    return np.clip(np.cbrt(mass / np.median(mass)), 0.6, 1.7)


def _colours(
    graph: GraphsTuple | None, n: int, names: Sequence[str] | None
) -> tuple[list[str], list[tuple[str, str]]]:
    """Colour of every body, and the legend."""
    nodes = {} if graph is None else graph.nodes
    if "species" in nodes:
        kinds, index = np.unique(np.asarray(nodes["species"]), return_inverse=True)
        palette = [to_hex(c) for c in colours(len(kinds))]
        return [palette[k] for k in index], [
            (f"species {kind}", c) for kind, c in zip(kinds, palette)
        ]
    if names is not None or n <= len(COLOURS):
        palette = [to_hex(c) for c in colours(n)]
        named = [f"body {i}" for i in range(n)] if names is None else list(names)
        return palette, list(zip(named, palette))
    mass = np.log(np.asarray(nodes.get("mass", np.ones(n)), float))
    if np.ptp(mass) == 0:
        return [COLOURS[5]] * n, []
    share = (mass - mass.min()) / np.ptp(mass)
    palette = [to_hex(c) for c in matplotlib.colormaps["viridis"](0.1 + 0.8 * share)]
    ends = [int(mass.argmin()), int(mass.argmax())]
    return palette, [(f"mass {np.exp(mass[i]):.3g}", palette[i]) for i in ends]
