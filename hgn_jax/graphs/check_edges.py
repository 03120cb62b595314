"""Checks of edges: inside their graph, in both directions, no duplicates, positive length."""

from collections import Counter

import numpy as np
from jraph import GraphsTuple

from .check_values import Frames


def check_indices(graphs: GraphsTuple, frames: Frames) -> None:
    """Raises `ValueError` for an edge that leaves its graph."""
    node, edge = frames.of["nodes"], frames.of["edges"]
    for name in ("senders", "receivers"):
        index = getattr(graphs, name)
        outside = (index < 0) | (index >= len(node))
        if not outside.any():
            outside = node[index] != edge  # only now is every index valid
        if outside.any():
            e = int(np.argmax(outside))
            raise ValueError(
                f"{name} of edge {e} points to node {index[e]}, outside its graph (frame {edge[e]})"
            )


def check_pairs(graphs: GraphsTuple, frames: Frames, padding: np.ndarray) -> None:
    """Raises `ValueError` for an edge without its reverse, a duplicate, or one of length zero."""
    keep = ~padding[frames.of["edges"]]
    sender, receiver = graphs.senders[keep], graphs.receivers[keep]
    # Without a cell shifts have no components, and all comparisons of them hold.
    shift = graphs.edges.get("shift", np.zeros((len(keep), 0)))[keep]
    names = [name for name in ("type", "coupling") if name in graphs.edges]
    kind = [graphs.edges[name][keep] for name in names]
    starts = np.concatenate([[0], np.cumsum(graphs.n_node)])

    def located(e: int) -> tuple[int, int, int]:
        """Frame of edge e, and its sender and receiver counted within the frame."""
        frame = int(frames.of["nodes"][sender[e]])
        first = int(starts[frame])
        return frame, int(sender[e]) - first, int(receiver[e]) - first

    loops = (sender == receiver) & ~shift.any(axis=1)  # a body may be joined to its own image
    if loops.any():
        frame, a, _ = located(int(np.argmax(loops)))
        raise ValueError(
            f"frame {frame}: edge {a} -> {a} joins a node to itself. Padding needs an empty graph "
            "at its end: pad with n_graph at least two above the number of graphs"
        )
    # Two sorted orders, of the edges and of their reverses: k-th entries must be a pair.
    forward = np.lexsort([*kind, *shift.T, receiver, sender])  # the last key sorts first
    reverse = np.lexsort([*kind, *-shift.T, sender, receiver])
    same = (sender[forward] == receiver[reverse]) & (receiver[forward] == sender[reverse])
    same &= (shift[forward] == -shift[reverse]).all(axis=1)
    if not same.all():
        frame, a, b = located(_without_reverse(sender, receiver, shift))
        raise ValueError(f"frame {frame}: edge {a} -> {b} has no reverse edge")
    duplicate = (np.diff(sender[forward]) == 0) & (np.diff(receiver[forward]) == 0)
    duplicate &= (np.diff(shift[forward], axis=0) == 0).all(axis=1)
    if duplicate.any():
        frame, a, b = located(int(forward[np.argmax(duplicate)]))
        raise ValueError(f"frame {frame}: duplicate edge {a} -> {b}")
    for name, values in zip(names, kind):
        same = values[forward] == values[reverse]
        if not same.all():
            frame, a, b = located(int(forward[np.argmin(same)]))
            raise ValueError(
                f"frame {frame}: edges[{name!r}] differs between {a} -> {b} and {b} -> {a}"
            )
    if "lattice" in graphs.globals:  # displacements of different sites may be equal
        return
    coincident = ~(_vectors(graphs, frames, keep) != 0).any(axis=1)
    if coincident.any():
        frame, a, b = located(int(np.argmax(coincident)))
        raise ValueError(
            f"frame {frame}: edge {a} -> {b} has length zero: two bodies at the same position"
        )


def _vectors(graphs: GraphsTuple, frames: Frames, keep: np.ndarray) -> np.ndarray:
    position = graphs.nodes["position"]
    vector = position[graphs.receivers[keep]] - position[graphs.senders[keep]]
    if "shift" not in graphs.edges:
        return vector
    cell = graphs.globals["cell"][frames.of["edges"][keep]]
    return vector + np.einsum("ek,ekd->ed", graphs.edges["shift"][keep], cell)


def _without_reverse(sender: np.ndarray, receiver: np.ndarray, shift: np.ndarray) -> int:
    """Number of the first edge that occurs more often than its reverse."""
    edges = np.column_stack([sender, receiver, shift]).tolist()
    count = Counter(map(tuple, edges))
    reverses = np.column_stack([receiver, sender, -shift]).tolist()
    return next(e for e, r in enumerate(reverses) if count[tuple(r)] < count[tuple(edges[e])])
