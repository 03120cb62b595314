"""Quantities of a GraphsTuple: masks, displacements, distances, sums over edges and graphs."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num
from jraph import GraphsTuple

from .._types import EdgeScalars, GraphScalars, NodeIndex, NodeMask, NodeScalars
from .cell import Cell, require_shift
from .dense_edges import DiagonalCellGraphs, PartialGraphs, SlottedGraphs
from .padding import Count, real_counts
from .slabs import SLABS

Edges = Float[Array, "*e"]
"""One number per edge; in the dense layout the shape may be [slots bodies]."""


def count(graphs: GraphsTuple) -> int:
    """Number of nodes, padding included."""
    return len(graphs.nodes["position"])


def graph_mask(graphs: GraphsTuple) -> Bool[Array, " g"]:
    """True for graphs of bodies, False for padding."""
    return jnp.arange(graphs.n_node.shape[0], dtype=jnp.int32) < _real(graphs)[0]


def node_mask(graphs: GraphsTuple) -> NodeMask:
    """True for bodies, False for padding. Determined by the counts alone, see `pad`."""
    return jnp.arange(count(graphs), dtype=jnp.int32) < _real(graphs)[1]


def real_bodies(graphs: GraphsTuple) -> Int[Array, ""]:
    """Number of bodies, without padding."""
    return jnp.asarray(_real(graphs)[1])


def edge_mask(graphs: GraphsTuple) -> Bool[Array, "*e"]:
    """True for edges between bodies, False for padding."""
    # By the sender, not by the order: in the dense layout empty slots lie between the edges.
    return graphs.senders < real_bodies(graphs).astype(graphs.senders.dtype)


def _real(graphs: GraphsTuple) -> tuple[Count, Count]:
    """Numbers of real graphs and of real bodies; padding follows both."""
    if isinstance(graphs, SlottedGraphs):
        # The dense layout appends one graph with one body, beyond the padding that `pad` makes.
        return real_counts(graphs.n_node[:-1], count(graphs) - 1)
    return real_counts(graphs.n_node, count(graphs))


def movable(graphs: GraphsTuple) -> NodeMask:
    """True for mobile bodies: neither padding nor `fixed`."""
    mask = node_mask(graphs)
    return mask & ~graphs.nodes["fixed"] if "fixed" in graphs.nodes else mask


def graph_index(graphs: GraphsTuple) -> NodeIndex:
    """Number of the graph that each node belongs to."""
    if graphs.n_node.shape[0] == 1:
        return jnp.zeros(count(graphs), jnp.int32)
    # Not jnp.repeat: it sums over all nodes, which takes XLA seconds to fold for constant counts.
    ends = jnp.cumsum(graphs.n_node.astype(jnp.int32))
    nodes = jnp.arange(count(graphs), dtype=jnp.int32)
    # `right` also skips empty graphs.
    return jnp.searchsorted(ends, nodes, side="right").astype(jnp.int32)


def sum_over_graphs(graphs: GraphsTuple, values: Num[Array, "n ..."]) -> Num[Array, "g ..."]:
    """Sum of a node quantity over each graph's nodes."""
    sums = jax.ops.segment_sum(
        values, graph_index(graphs), graphs.n_node.shape[0], indices_are_sorted=True
    )
    return jax.lax.psum(sums, SLABS) if isinstance(graphs, PartialGraphs) else sums


def sum_over_edges(graphs: GraphsTuple, values: Float[Array, "e ..."]) -> Float[Array, "n ..."]:
    """Sum of an edge quantity over the edges that end at each node."""
    n = count(graphs)
    if isinstance(graphs, SlottedGraphs):
        return jnp.sum(values.reshape(graphs.slots, n, *values.shape[1:]), axis=0)
    return jax.ops.segment_sum(values, graphs.receivers, n)


def edge_kinds(graphs: GraphsTuple) -> Int[Array, "*e"]:
    """`type` of each edge, 0 if edges have none; -1 for padding."""
    kinds = graphs.edges.get("type", jnp.zeros(graphs.senders.shape, jnp.int32))
    return jnp.where(edge_mask(graphs), kinds.astype(jnp.int32), -1)


def displacement(graphs: GraphsTuple) -> Float[Array, "e d"]:
    """Edge vectors x[receiver] - x[sender] + shift @ cell (length)."""
    return jnp.stack(components(graphs, received(graphs)), axis=1)


def received(graphs: GraphsTuple) -> list[EdgeScalars]:
    """Coordinates of the receivers, one array per axis: arrays [e d] with a small d are slow."""
    position = graphs.nodes["position"]
    if isinstance(graphs, SlottedGraphs):
        return [jnp.tile(x, graphs.slots) for x in position.T]
    return [x[graphs.receivers] for x in position.T]


def cell_of(graphs: GraphsTuple) -> Cell:
    """Cell of the first graph."""
    return Cell(graphs.globals["cell"][0], isinstance(graphs, DiagonalCellGraphs))


def components(graphs: GraphsTuple, received: list[Float[Array, "..."]]) -> list[Edges]:
    """Components of `displacement`, given the coordinates of the receivers.

    Senders and shifts may be `[e]` or, in the dense layout, `[slots bodies]`.

    **Raises:** `ValueError` for edges in a periodic cell that carry no `shift`.
    """
    position = graphs.nodes["position"]
    vector = [end - x[graphs.senders] for x, end in zip(position.T, received)]
    if "shift" in graphs.edges:
        cell = graphs.globals["cell"][graph_index(graphs)[graphs.senders]]
        shift = graphs.edges["shift"].astype(position.dtype)
        # No dot product: GPUs may round its factors in float32 to ten bits.
        axes = range(position.shape[1])
        images = [sum(shift[..., k] * cell[..., k, j] for k in axes) for j in axes]
        return [x + image for x, image in zip(vector, images)]
    if isinstance(graphs, SlottedGraphs) and "cell" in graphs.globals:
        return cell_of(graphs).minimum_image_components(vector)
    require_shift(graphs)
    return vector


def norm(vector: Float[Array, "... d"]) -> Float[Array, "..."]:
    """Euclidean length with gradient zero (not NaN) at the origin."""
    square = jnp.sum(vector**2, axis=-1)
    positive = ~(square == 0)  # True for NaN, which must not become 0
    # Two `where`s: sqrt must not see 0 either, or its gradient is NaN.
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def distance(graphs: GraphsTuple) -> EdgeScalars:
    """Edge lengths |x[receiver] - x[sender] + shift @ cell|; one for padding edges."""
    return length(graphs, components(graphs, received(graphs)))


def length(graphs: GraphsTuple, vector: list[Edges]) -> Edges:
    """Edge lengths from the components of edge vectors; one for padding edges."""
    s = square(vector)
    bodies_apart = edge_mask(graphs) & ~(s == 0)  # NaN stays NaN
    root = jnp.sqrt(jnp.where(bodies_apart, s, 1))  # as in `norm`, for the gradient
    return jnp.where(bodies_apart | ~edge_mask(graphs), root, 0)


def square(vector: list[Edges]) -> Edges:
    """Squared edge lengths from the components of edge vectors."""
    return sum((x**2 for x in vector[1:]), start=vector[0] ** 2)


def edge_share(graphs: GraphsTuple) -> Float[Array, "*e"]:
    """Weight of a directed edge: half its `coupling` (one if absent), zero for padding."""
    dtype = graphs.nodes["position"].dtype
    coupling = graphs.edges.get("coupling", jnp.ones(graphs.senders.shape, dtype))
    return jnp.where(edge_mask(graphs), coupling / 2, 0)  # every pair is listed in both directions


def velocity_of(graphs: GraphsTuple) -> Float[Array, "n d"]:
    """Velocity, momentum over mass (length / time); zero for padding."""
    mass = jnp.where(node_mask(graphs), graphs.nodes["mass"], 1)  # zero for padding
    return jnp.where(node_mask(graphs)[:, None], graphs.nodes["momentum"] / mass[:, None], 0)


def bodies(graphs: GraphsTuple) -> GraphScalars:
    """Number of bodies of each graph, as a float."""
    ones: NodeScalars = node_mask(graphs).astype(graphs.nodes["position"].dtype)
    return sum_over_graphs(graphs, ones)
