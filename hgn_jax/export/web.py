"""A model in plain JavaScript, with a page on which its bodies move and can be dragged."""

import html
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jraph import GraphsTuple

from .._arguments import check_number
from .._page import as_json, filled
from ..dynamics.arguments import check_start
from ..dynamics.trajectory import Trajectory
from ..graphs.cell import Cell, require_shift
from ..graphs.neighbours import Neighbours
from ..io.datasets import Ephemeris
from ..models.network import HamiltonianGraphNetwork
from .plain_model import SKIN, plain_model


def web(
    folder: str | os.PathLike[str],
    model: HamiltonianGraphNetwork,
    graph: GraphsTuple,
    *,
    dt: float,
    tolerance: float = 1e-6,
    names: Sequence[str] | None = None,
    reference: Trajectory | Ephemeris | None = None,
    title: str = "hgn_jax",
) -> None:
    """Writes a model as JSON, its motion in JavaScript, and a page that shows it in any browser.

    | file | holds |
    |---|---|
    | `model.json` | compressed curves and fields |
    | `start.json` | state, edges and cell of `graph`, and `dt` |
    | `motion.js` | `new Motion(model, start)`, with `step(dt)` by Störmer-Verlet, `position`, \
`momentum`, `energy()` |
    | `index.html` | the page, which holds all of these and also works offline |

    The motion is that of `hgn.rollout` with `model.compress(smallest=True)`, up to rounding. A
    model with a cutoff joins nearest images, as with `hgn.Neighbours`; without one, the graph's
    edges stay. On the page bodies can be dragged, space can be turned and zoomed. It shows time,
    energy and how much the energy has changed since the start or the last drag.

    **Arguments:**

    - `folder`: where to write; it is made if it does not exist.
    - `model`: pairs, `hgn.Powers`, `hgn.UniformField`, `hgn.HarmonicTrap` and kinetic energies.
    - `graph`: one start state of positions and momenta.
    - `dt`: step of the page (time).
    - `tolerance`: that of `model.compress`.
    - `names`: those of the bodies, written beside them.
    - `reference`: a motion to compare with, drawn as circles. Its times are on the clock of
        `globals["time"]`, zero if the graph has none.
    - `title`: that of the page.

    **Raises:** `ValueError` for a model with other terms, such as many-body energies or friction,
    a known potential or constraints; for a start that `hgn.rollout` refuses, several graphs, or
    more than three dimensions; for names or a reference of another number of bodies; for a
    tolerance that is not reached. `OSError` if files cannot be written.
    """
    model = model.compress(tolerance=tolerance, smallest=True)
    plain = plain_model(model)
    check_start(model, graph)
    check_number("dt", dt)
    n, d = graph.nodes["position"].shape
    if len(graph.n_node) != 1 or d > 3:
        raise ValueError(
            f"a page shows one graph in at most three dimensions, got {len(graph.n_node)} graphs "
            f"in {d}: take one, hgn.graphs.frame(data, 0)"
        )
    if names is not None and len(names) != n:
        raise ValueError(f"names must have one entry for each of {n} bodies, got {len(names)}")
    start = _start(model, graph) | {"dt": float(dt)}
    scene = {
        "names": None if names is None else list(names),
        "reference": None if reference is None else _reference(reference, n, d),
    }
    parts = files("hgn_jax").joinpath("export", "page")
    page, motion, player = (
        parts.joinpath(name).read_text(encoding="utf-8")
        for name in ("index.html", "motion.js", "page.js")
    )
    data = {"MODEL": as_json(plain), "START": as_json(start)}
    pieces = {"TITLE": html.escape(title), "SCENE": as_json(scene), "MOTION": motion}
    written = {
        "model.json": data["MODEL"],
        "start.json": data["START"],
        "motion.js": motion,
        "index.html": filled(page, data | pieces | {"PLAYER": player}),
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in written.items():
        Path(folder, name).write_text(text, encoding="utf-8")


def _start(model: HamiltonianGraphNetwork, graph: GraphsTuple) -> dict[str, Any]:
    """State, edges and cell of the graph, and the energy of the model's constants."""
    nodes, n = graph.nodes, len(graph.nodes["position"])
    cell = graph.globals.get("cell")
    lattice = None if cell is None else Cell(np.asarray(cell, float)[0])
    species = model.basis.species
    kind = np.searchsorted(species, nodes["species"]) if len(species) > 1 else np.zeros(n, int)
    model.basis.accepts(graph)
    constant = model.basis.constants(graph) @ model.constants
    return {
        "position": np.asarray(nodes["position"], float).tolist(),
        "momentum": np.asarray(nodes["momentum"], float).tolist(),
        "mass": np.asarray(nodes["mass"], float).tolist(),
        "fixed": np.asarray(nodes.get("fixed", np.zeros(n, bool))).tolist(),
        "kind": kind.tolist(),
        "time": float(np.asarray(graph.globals.get("time", 0.0)).ravel()[0]),
        "cell": None if lattice is None else lattice.matrix.tolist(),
        "inverse": None if lattice is None else lattice.inverse.tolist(),
        "offset": float(constant[0]),
        "pairs": _pairs(model, graph),
    }


def _pairs(model: HamiltonianGraphNetwork, graph: GraphsTuple) -> list[dict[str, Any]]:
    """Edges of the graph, each once; none if the model has a cutoff, whose pairs are searched."""
    if model.reach == 0:  # nothing acts between bodies
        return []
    if model.reach < np.inf:
        Neighbours(model.reach, SKIN * model.reach).check(graph)
        return []
    require_shift(graph)
    i, j = np.asarray(graph.senders), np.asarray(graph.receivers)
    edges = {name: np.asarray(values) for name, values in model.basis.typed(graph).edges.items()}
    shift = edges.get("shift", np.zeros((len(i), 0), int))
    # Of the two directions of a pair the first in this order, also of a body and its own image.
    once = [(a, *s) < (b, *-s) for a, b, s in zip(i, j, shift)]
    columns = {"i": i, "j": j, "type": edges.get("type", np.zeros(len(i), int))}
    if "coupling" in edges:
        columns["coupling"] = edges["coupling"].astype(float)
    if "cell" in graph.globals:
        columns["image"] = shift @ np.asarray(graph.globals["cell"], float)[0]
    rows = zip(*(column[once].tolist() for column in columns.values()))
    return [dict(zip(columns, row)) for row in rows]


def _reference(motion: Trajectory | Ephemeris, n: int, d: int) -> dict[str, list[Any]]:
    """Times and positions, to five digits of the greatest one."""
    times, position = np.asarray(motion.times, float), np.asarray(motion.position, float)
    if position.shape != (len(times), n, d):
        raise ValueError(
            f"reference must hold positions [{len(times)} {n} {d}], got "
            f"[{' '.join(map(str, position.shape))}]"
        )
    # The maximum is for a reference at the origin.
    digits = 5 - int(np.ceil(np.log10(max(float(np.abs(position).max()), 1e-300))))
    return {"times": times.tolist(), "position": position.round(digits).tolist()}
