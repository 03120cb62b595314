"""Padding to fixed shapes: which graphs and bodies of a batch are real.

A batch is padded if and only if its last graph is empty (no node, no edge). Its padding is then
the trailing run of empty graphs and the graph before that run, which holds all padding nodes.
`jraph.pad_with_graphs` follows the same convention if it adds at least two graphs.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._tree import is_concrete

PADDING_GRAPHS = 2
"""Smallest number of graphs that padding adds: one for the padding nodes, and an empty one."""

Count: TypeAlias = int | Int[np.ndarray, ""] | Int[Array, ""]
"""A number, known or traced."""


def real_counts(n_node: Array | np.ndarray, nodes: int) -> tuple[Count, Count]:
    """Numbers of real graphs and of real nodes; padding follows both. Works inside jit."""
    graphs = n_node.shape[0]
    if graphs < PADDING_GRAPHS:
        return graphs, nodes
    if is_concrete(n_node):  # NumPy's also inside jit, so that they may give shapes
        return _real_counts(np.asarray(n_node), nodes, np)
    return _traced_counts(n_node, nodes)


def _real_counts(n_node: Array | np.ndarray, nodes: int, xp: Any = jnp) -> tuple[Count, Count]:
    counts = n_node.astype(np.int32)
    number = xp.arange(len(counts), dtype=np.int32)
    # The last graph with nodes: it holds the padding nodes, if the last graph of all is empty.
    last = xp.max(xp.where(counts > 0, number, 0))
    padded = counts[-1] == 0
    real = xp.where(padded, last, len(counts)), xp.where(padded, nodes - counts[last], nodes)
    return real[0].astype(np.int32), real[1].astype(np.int32)


_traced_counts = jax.jit(_real_counts, static_argnames="nodes")  # traced once for all its uses


def without_padding(graphs: GraphsTuple) -> GraphsTuple:
    """The batch without its padding; concrete arrays only.

    **Raises:** `ValueError` naming the first graph without nodes that is not padding.
    """
    real, nodes = map(int, real_counts(graphs.n_node, len(graphs.nodes["position"])))
    n_node, n_edge = np.asarray(graphs.n_node), np.asarray(graphs.n_edge)
    if not n_node[:real].all():
        raise ValueError(
            f"graph {int(np.argmin(n_node[:real]))} has no node: only padding may be empty"
        )
    if real == len(n_node):
        return graphs
    edges = int(n_edge[:real].sum())
    return GraphsTuple(
        nodes={k: v[:nodes] for k, v in graphs.nodes.items()},
        edges={k: v[:edges] for k, v in graphs.edges.items()},
        senders=graphs.senders[:edges],
        receivers=graphs.receivers[:edges],
        globals={k: v[:real] for k, v in graphs.globals.items()},
        n_node=graphs.n_node[:real],
        n_edge=graphs.n_edge[:real],
    )


def pad(graphs: GraphsTuple, *, n_node: int, n_edge: int, n_graph: int) -> GraphsTuple:
    """Pads a batch to fixed totals, so that a jitted function compiles once.

    Appends one graph that holds the padding nodes, all zero, and the padding edges, self-loops of
    its first node. At least one empty graph follows, which marks the batch as padded. Energies,
    fits and checks ignore padding. Existing padding is replaced. Concrete arrays only.

    **Arguments:**

    - `n_node`: total number of nodes, at least one more than the batch has.
    - `n_edge`: total number of edges, at least as many as the batch has.
    - `n_graph`: total number of graphs, at least two more than the batch has.

    **Raises:** `ValueError` if the batch does not fit, or for totals that are no integers.
    """
    n_node, n_edge, n_graph = (
        whole_number(name, total, 0)
        for name, total in (("n_node", n_node), ("n_edge", n_edge), ("n_graph", n_graph))
    )
    graphs = without_padding(graphs)
    own = (len(graphs.nodes["position"]), len(graphs.senders), len(graphs.n_node))
    least = (own[0] + 1, own[1], own[2] + PADDING_GRAPHS)
    if n_node < least[0] or n_edge < least[1] or n_graph < least[2]:
        raise ValueError(
            f"cannot pad {own[0]} nodes, {own[1]} edges, {own[2]} graphs to {n_node}, {n_edge}, "
            f"{n_graph}: need at least {least[0]}, {least[1]}, {least[2]}"
        )

    def fill(total: int, value: int = 0) -> Callable[[ArrayLike], Array]:
        def filled(array: ArrayLike) -> Array:
            values = np.asarray(array)
            padding = np.full((total - len(values), *values.shape[1:]), value, values.dtype)
            # Concatenated by NumPy: JAX would compile once for every size.
            return jnp.asarray(np.concatenate([values, padding]), values.dtype)

        return filled

    def counts(number: ArrayLike, padding: int) -> Array:
        values = np.asarray(number)
        return fill(n_graph)(np.append(values, values.dtype.type(padding)))  # an int would widen it

    ends = fill(n_edge, own[0])  # padding edges are loops of the first padding node
    return GraphsTuple(
        nodes={k: fill(n_node)(v) for k, v in graphs.nodes.items()},
        edges={k: fill(n_edge)(v) for k, v in graphs.edges.items()},
        senders=ends(graphs.senders),
        receivers=ends(graphs.receivers),
        globals={k: fill(n_graph)(v) for k, v in graphs.globals.items()},
        n_node=counts(graphs.n_node, n_node - own[0]),
        n_edge=counts(graphs.n_edge, n_edge - own[1]),
    )
