"""`describe`: a summary of a data set in a few lines."""

import numpy as np
from jraph import GraphsTuple

from .padding import without_padding

LABELS = (
    ("globals", "energy", "energy_weight"),
    ("globals", "stress", "stress_weight"),
    ("nodes", "force", "weight"),
    ("nodes", "velocity", "weight"),
)
"""Part and name of measured arrays, and of the weights that are zero without a measurement."""


def describe(data: GraphsTuple) -> str:
    """Summary of sizes, species, and labels with the number of frames that have them.

    Concrete data only. Returns text such as

    ```text
    214 frames, 13233 bodies (1 to 64 in a frame), 434820 edges
    species: 13233 of 14
    energy in all frames
    force in 200 of 214 frames
    no stress, velocity
    other arrays: mass, cell, shift
    ```
    """
    data = without_padding(data)
    n_node = np.asarray(data.n_node)
    lines = [
        f"{len(n_node)} frames, {n_node.sum()} bodies ({n_node.min()} to {n_node.max()} in a "
        f"frame), {len(data.senders)} edges"
    ]
    if "species" in data.nodes:
        kinds, counts = np.unique(np.asarray(data.nodes["species"]), return_counts=True)
        lines.append("species: " + ", ".join(f"{k} of {z}" for z, k in zip(kinds, counts)))
    missing = []
    for part, name, weight in LABELS:
        if name not in getattr(data, part):
            missing.append(name)
            continue
        frames = _frames_with(data, part, weight)
        every = "all" if frames == len(n_node) else f"{frames} of {len(n_node)}"
        lines.append(f"{name} in {every} frames")
    if missing:
        lines.append(f"no {', '.join(missing)}")
    reported = {"position", "species", *(name for label in LABELS for name in label[1:])}
    names = [*data.nodes, *data.globals, *data.edges]
    if others := [name for name in names if name not in reported]:
        lines.append(f"other arrays: {', '.join(others)}")
    return "\n".join(lines)


def _frames_with(data: GraphsTuple, part: str, weight: str) -> int:
    """Number of frames in which the weight is not zero."""
    weights = getattr(data, part).get(weight)
    if weights is None:
        return len(data.n_node)
    positive = np.asarray(weights) > 0
    if part == "globals":
        return int(positive.sum())
    frame = np.repeat(np.arange(len(data.n_node)), np.asarray(data.n_node))
    return len(np.unique(frame[positive]))  # forces may be measured on some bodies only
