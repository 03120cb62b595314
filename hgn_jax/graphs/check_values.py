"""Checks of values: finite, of the right sign, padding as `pad` makes it."""

import numpy as np
from jraph import GraphsTuple

from .cell import is_singular, require_cell
from .padding import real_counts
from .schema import AXES


class Frames:
    """Frame (graph) number of every node, edge and graph, to locate entries in errors."""

    def __init__(self, graphs: GraphsTuple) -> None:
        number = np.arange(len(graphs.n_node))
        self.of = {
            "nodes": np.repeat(number, graphs.n_node),
            "edges": np.repeat(number, graphs.n_edge),
            "globals": number,
        }

    def located(self, part: str, i: int) -> str:
        """Name of entry i: its frame, and its number within the frame."""
        frame = self.of[part]
        if part == "globals":
            return f"frame {i}"
        return f"frame {frame[i]}, {part[:-1]} {i - int(np.searchsorted(frame, frame[i]))}"


def padding_graphs(graphs: GraphsTuple) -> np.ndarray:
    """Mask `[g]` of padding graphs.

    **Raises:** `ValueError` naming the first frame without bodies that is not padding.
    """
    counts = real_counts(graphs.n_node, len(graphs.nodes["position"]))
    real, nodes = int(counts[0]), int(counts[1])
    edges = int(graphs.n_edge[:real].sum())
    # An empty last graph marks padding only if the graph before it is as `pad` makes it.
    # jraph's own padding satisfies both conditions, too.
    loops = graphs.senders[edges:] == graphs.receivers[edges:]
    if graphs.nodes["position"][nodes:].any() or not loops.all():
        raise ValueError(
            f"frame {real + 1} has no bodies. A batch that ends in an empty graph counts as "
            f"padded, but frame {real} before it is not padding as hgn.graphs.pad makes it "
            "(positions zero, edges from a node to itself)"
        )
    if not graphs.n_node[:real].all():
        raise ValueError(f"frame {int(np.argmin(graphs.n_node[:real]))} has no bodies")
    if not real:
        raise ValueError("the batch has no bodies")
    return np.arange(len(graphs.n_node)) >= real


def check_cells(graphs: GraphsTuple, padding: np.ndarray) -> None:
    """Raises `ValueError` for the first cell that spans no volume."""
    if "cell" not in graphs.globals:
        return
    bad = is_singular(graphs.globals["cell"]) & ~padding  # cells of padding are zero
    if bad.any():
        frame = int(np.argmax(bad))
        require_cell(graphs.globals["cell"][frame], f'globals["cell"] of frame {frame}')


def check_finite(graphs: GraphsTuple, frames: Frames) -> None:
    """Raises `ValueError` for the first array that holds NaN or Inf."""
    for part in AXES:
        for name, array in getattr(graphs, part).items():
            bad = np.argwhere(~np.isfinite(array))
            if len(bad):
                where = frames.located(part, int(bad[0, 0]))
                raise ValueError(f"{part}[{name!r}] is NaN or Inf in {where} ({len(bad)} in all)")


def check_signs(graphs: GraphsTuple, frames: Frames, padding: np.ndarray) -> None:
    """Raises `ValueError` for masses or moments of inertia that are not positive, and negative
    weights or types."""
    for name in ("mass", "inertia"):
        mass = graphs.nodes.get(name)
        if mass is not None and (bad := ~(mass > 0) & ~padding[frames.of["nodes"]]).any():
            i = int(np.argmax(bad))
            raise ValueError(
                f"nodes[{name!r}] must be positive; it is {mass[i]} in "
                f"{frames.located('nodes', i)} ({bad.sum()} in all)"
            )
    for part, name in (
        ("nodes", "weight"),
        ("nodes", "species"),
        ("edges", "type"),
        ("globals", "energy_weight"),
        ("globals", "stress_weight"),
    ):
        array = getattr(graphs, part).get(name, np.zeros(0))
        if (array < 0).any():
            i = int(np.argmax(array < 0))
            raise ValueError(f"{part}[{name!r}] is negative in {frames.located(part, i)}")
