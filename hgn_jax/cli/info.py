"""`hgn-jax info`: what a file holds."""

from pathlib import Path
from typing import Any

import numpy as np
from jraph import GraphsTuple

from ..graphs.describe import describe
from ..io.model_file import load
from ..models.network import HamiltonianGraphNetwork
from .app import command
from .data import is_data, look_at
from .options import Columns, File, Json, Units
from .screen import say, show_json


@command
def info(file: File, columns: Columns = None, units: Units = None, json: Json = False) -> None:
    """Says what is in a data file, a model or a run.

    Example: hgn-jax info springs.csv
    """
    if is_data(file):
        record = _of_data(look_at(file, columns, units), file)
    else:
        record = _of_model(load(file), file)
    if json:
        show_json(record)
        return
    for name, value in record.items():
        say(value if name == "description" else f"{name}: {value}")


def _of_data(data: GraphsTuple, file: Path) -> dict[str, Any]:
    q = np.asarray(data.nodes["position"])
    record: dict[str, Any] = {"file": str(file), "dimensions": q.shape[1]}
    text = describe(data)
    if not len(data.senders):
        text = text.replace(", 0 edges", ", no edges in the file: choose them by --edges")
    record["description"] = text
    if "trajectory" in data.globals:
        record["trajectories"] = len(np.unique(np.asarray(data.globals["trajectory"])))
    if "time" in data.globals:
        times = np.asarray(data.globals["time"])
        record["time"] = f"{times.min():.6g} to {times.max():.6g}"
    if "cell" in data.globals:
        lengths = np.linalg.norm(np.asarray(data.globals["cell"])[0], axis=-1)
        record["cell"] = "lattice vectors of length " + ", ".join(f"{x:.6g}" for x in lengths)
    return record


def _of_model(model: HamiltonianGraphNetwork, file: Path) -> dict[str, Any]:
    record: dict[str, Any] = {"file": str(file), "dynamics": type(model.dynamics).__name__}
    for term, theta in zip(model.terms, model.theta):
        ranges = term.trained_range()
        words = f"{theta.shape[-1]} coefficients"
        if ranges is not None:
            # Ranges have one row for each edge type or input, or are a single row.
            parts = [f"{a:.4g} to {b:.4g}" for a, b in np.reshape(ranges, (-1, 2))]
            words += f", trained from {', '.join(parts)}"
        record[term.name] = words
    record["reach"] = "unlimited" if np.isinf(model.reach) else f"{float(model.reach):.4g}"
    record["conserves energy"] = "yes" if model.conserves_energy else "no"
    return record
