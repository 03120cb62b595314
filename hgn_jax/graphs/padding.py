"""Padding to fixed shapes: which graphs and bodies of a batch are real.

A batch is padded if and only if its last graph is empty (no node, no edge). Its padding is then
the trailing run of empty graphs and the graph before that run, which holds all padding nodes.
`jraph.pad_with_graphs` follows the same convention where it adds at least two graphs.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._tree import is_concrete

PADDING_GRAPHS = 2
"""The least number of graphs that padding adds: one holds the nodes, an empty one marks it."""


Count: TypeAlias = int | Int[np.ndarray, ""] | Int[Array, ""]


def real_counts(n_node: Array | np.ndarray, nodes: int) -> tuple[Count, Count]:
    """How many graphs and how many nodes are real: padding follows both. Works inside jit."""
    graphs = n_node.shape[0]
    if graphs < PADDING_GRAPHS:
        return graphs, nodes
    xp = np if is_concrete(n_node) else jnp
    counts = xp.asarray(n_node).astype(np.int32)
    number = xp.arange(graphs, dtype=np.int32)
    last = xp.max(xp.where(counts > 0, number, 0))
    padded = counts[-1] == 0
    real = xp.where(padded, last, graphs), xp.where(padded, nodes - counts[last], nodes)
    return real[0].astype(np.int32), real[1].astype(np.int32)


def without_padding(graphs: GraphsTuple) -> GraphsTuple:
    """The batch without its padding; concrete arrays only.

    **Raises:** `ValueError` naming a graph without nodes that is no padding.
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
    its first node; then at least one empty graph, which marks the batch as padded. Energies, fits
    and checks ignore them. `n_node` must exceed the batch's own number by one or more, `n_graph` by
    two or more, `n_edge` must not be less. Padding that is already there is replaced. Concrete
    arrays only.

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
            return jnp.asarray(np.concatenate([values, padding]), values.dtype)

        return filled

    def counts(number: ArrayLike, padding: int) -> Array:
        values = np.asarray(number)
        return fill(n_graph)(np.append(values, values.dtype.type(padding)))

    first = fill(n_edge, own[0])
    return GraphsTuple(
        nodes={k: fill(n_node)(v) for k, v in graphs.nodes.items()},
        edges={k: fill(n_edge)(v) for k, v in graphs.edges.items()},
        senders=first(graphs.senders),
        receivers=first(graphs.receivers),
        globals={k: fill(n_graph)(v) for k, v in graphs.globals.items()},
        n_node=counts(graphs.n_node, n_node - own[0]),
        n_edge=counts(graphs.n_edge, n_edge - own[1]),
    )
