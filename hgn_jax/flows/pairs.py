"""Graphs without positions, and the check that they are undirected."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike
from jraph import GraphsTuple

from .._arguments import whole_number
from .._tree import is_concrete


def graph(pairs: ArrayLike | Sequence[tuple[int, int]], nodes: int) -> GraphsTuple:
    """An undirected graph, as `states` takes it: one graph without arrays of its own.

    Edges count in both directions whatever theirs was, and once if they are listed twice. Edges
    from a node to itself are dropped.

    **Arguments:**

    - `pairs`: numbers of the joined nodes `[p 2]`, counted from 0.
    - `nodes`: number of nodes. Those without edges are allowed.

    **Raises:** `ValueError` unless pairs are integers `[p 2]` between 0 and `nodes` - 1.
    """
    nodes = whole_number("nodes", nodes, 1)
    listed = np.asarray(pairs) if np.size(pairs) else np.zeros((0, 2), int)
    if listed.ndim != 2 or listed.shape[1] != 2 or not np.issubdtype(listed.dtype, np.integer):
        raise ValueError(f"pairs must be integers [p 2], got {listed.dtype} {list(listed.shape)}")
    outside = (listed < 0) | (listed >= nodes)
    if outside.any():
        p = int(np.argmax(outside.any(axis=1)))
        raise ValueError(f"pair {p} = {tuple(listed[p].tolist())} is not between 0 and {nodes - 1}")
    # Smaller number first, so that both directions of a pair count as duplicates.
    low, high = np.sort(listed[listed[:, 0] != listed[:, 1]], axis=1).T
    low, high = np.unique(np.stack([low, high]), axis=1)
    ends = np.concatenate([low, high]), np.concatenate([high, low])
    order = np.argsort(ends[1], kind="stable")  # receivers increase: sums need no sorting
    senders, receivers = (jnp.asarray(end[order], jnp.int32) for end in ends)
    counts = (jnp.asarray([n], jnp.int32) for n in (nodes, len(order)))
    return GraphsTuple({}, {}, receivers, senders, {}, *counts)


def check_undirected(graphs: GraphsTuple) -> None:
    """Raises `ValueError` for concrete graphs with an edge that has no reverse edge."""
    if not is_concrete((graphs.senders, graphs.receivers)):
        return
    ends = np.asarray(graphs.senders), np.asarray(graphs.receivers)
    # If every edge has its reverse, both lists are equal once they are sorted.
    forward, reverse = np.lexsort(ends), np.lexsort(ends[::-1])
    same = (ends[0][forward] == ends[1][reverse]) & (ends[1][forward] == ends[0][reverse])
    if not same.all():
        edges = set(zip(*(end.tolist() for end in ends)))
        # Without such an edge, one direction is listed more often than the other.
        a, b = next(((a, b) for a, b in edges if (b, a) not in edges), (None, None))
        what = f"edge {a} -> {b} has no reverse edge" if a is not None else "edges occur twice"
        raise ValueError(f"{what}: hgn.flows.graph(pairs, nodes) joins nodes in both directions")
