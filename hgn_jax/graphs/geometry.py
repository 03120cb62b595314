"""What a GraphsTuple says about its bodies: masks, displacements, distances, sums over graphs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num
from jraph import GraphsTuple

from .._types import (
    EdgeMask,
    EdgeScalars,
    GraphScalars,
    NodeIndex,
    NodeMask,
    NodeScalars,
    Vectors,
)
from .slots import SlottedGraphs


def node_mask(graphs: GraphsTuple) -> NodeMask:
    """True for bodies, False for padding. Bodies have positive mass, padding has mass zero."""
    return graphs.nodes["mass"] > 0


def edge_mask(graphs: GraphsTuple) -> EdgeMask:
    """True for edges between bodies, False for padding."""
    if isinstance(graphs, SlottedGraphs):
        return graphs.senders != len(graphs.nodes["mass"]) - 1
    return node_mask(graphs)[graphs.senders]


def movable(graphs: GraphsTuple) -> NodeMask:
    """True for bodies that obey Hamilton's equations: neither padding nor `fixed`."""
    mask = node_mask(graphs)
    return mask & ~graphs.nodes["fixed"] if "fixed" in graphs.nodes else mask


def graph_index(graphs: GraphsTuple) -> NodeIndex:
    """The graph that each node belongs to."""
    total = graphs.nodes["position"].shape[0]
    return jnp.repeat(jnp.arange(graphs.n_node.shape[0]), graphs.n_node, total_repeat_length=total)


def sum_over_graphs(graphs: GraphsTuple, values: Num[Array, "n ..."]) -> Num[Array, "g ..."]:
    """Sum of a node quantity over each graph's nodes."""
    return jax.ops.segment_sum(
        values, graph_index(graphs), graphs.n_node.shape[0], indices_are_sorted=True
    )


def sum_over_edges(graphs: GraphsTuple, values: Float[Array, "e ..."]) -> Float[Array, "n ..."]:
    """Sum of an edge quantity over the edges that end at each node."""
    n = len(graphs.nodes["mass"])
    if isinstance(graphs, SlottedGraphs):
        return jnp.sum(values.reshape(graphs.slots, n, *values.shape[1:]), axis=0)
    return jax.ops.segment_sum(values, graphs.receivers, n)


def displacement(graphs: GraphsTuple) -> Float[Array, "e d"]:
    """Edge vectors x[receiver] - x[sender] + shift @ cell (length)."""
    return jnp.stack(_components(graphs), axis=1)


def _components(graphs: GraphsTuple) -> list[EdgeScalars]:
    """Of the displacements, one by one: arrays [e d] of so small a d are slow."""
    position = graphs.nodes["position"]
    axes = range(position.shape[1])
    if isinstance(graphs, SlottedGraphs):
        shape = (graphs.slots, len(position))
        received = [jnp.broadcast_to(position[None, :, k], shape).ravel() for k in axes]
    else:
        received = [position[graphs.receivers, k] for k in axes]
    apart = [end - position[:, k][graphs.senders] for k, end in zip(axes, received)]
    if "shift" in graphs.edges:
        cell = graphs.globals["cell"][graph_index(graphs)[graphs.senders]]
        images = jnp.einsum("ek,ekd->ed", graphs.edges["shift"].astype(position.dtype), cell)
        return [x + images[:, k] for k, x in enumerate(apart)]
    if isinstance(graphs, SlottedGraphs) and "cell" in graphs.globals:
        sides = jnp.diagonal(graphs.globals["cell"][0])
        return [x - side * jnp.round(x / side) for x, side in zip(apart, sides)]
    return apart


def norm(vector: Float[Array, "... d"]) -> Float[Array, "..."]:
    """Euclidean length with gradient zero (not NaN) at the origin."""
    square = jnp.sum(vector**2, axis=-1)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def distance(graphs: GraphsTuple) -> EdgeScalars:
    """Edge lengths |x[receiver] - x[sender] + shift @ cell|; one for padding edges."""
    square = _square(_components(graphs))
    bodies_apart = edge_mask(graphs) & (square > 0)
    length = jnp.sqrt(jnp.where(bodies_apart, square, 1))
    return jnp.where(bodies_apart | ~edge_mask(graphs), length, 0)


def pair_gradient(
    graphs: GraphsTuple, slope_of_square: Callable[[EdgeScalars], EdgeScalars]
) -> Vectors:
    r"""$\partial/\partial q_i$ of $\sum_{pairs} c_{ij} \phi(r_{ij}^2)$, from $\phi' = d\phi/dr^2$.

    Each edge is looked at once, and nothing is scattered if edges stand in slots. Coincident
    bodies pull with zero force, or NaN where phi' is not finite.
    """
    parts = _components(graphs)
    mask = edge_mask(graphs)
    slope = slope_of_square(jnp.where(mask, _square(parts), 1))
    # Both directions of a pair pull on the receiver alike: twice the share of one.
    pull = jnp.where(mask, 4 * edge_share(graphs) * slope, 0)
    return jnp.stack([sum_over_edges(graphs, pull * x) for x in parts], axis=1)


def _square(parts: list[EdgeScalars]) -> EdgeScalars:
    return sum((x**2 for x in parts[1:]), start=parts[0] ** 2)


def edge_share(graphs: GraphsTuple) -> EdgeScalars:
    """What a directed edge contributes: half its `coupling` (one if absent), zero for padding."""
    dtype = graphs.nodes["position"].dtype
    coupling = graphs.edges.get("coupling", jnp.ones(graphs.senders.shape, dtype))
    return jnp.where(edge_mask(graphs), coupling / 2, 0)


def velocity_of(graphs: GraphsTuple) -> Float[Array, "n d"]:
    """Momentum over mass, zero for padding (length / time)."""
    mass = jnp.where(node_mask(graphs), graphs.nodes["mass"], 1)
    return jnp.where(node_mask(graphs)[:, None], graphs.nodes["momentum"] / mass[:, None], 0)


def bodies(graphs: GraphsTuple) -> GraphScalars:
    """Number of bodies of each graph, as a float."""
    ones: NodeScalars = node_mask(graphs).astype(graphs.nodes["position"].dtype)
    return sum_over_graphs(graphs, ones)
