"""What a GraphsTuple says about its bodies: masks, displacements, distances, sums over graphs."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num
from jraph import GraphsTuple

from .._types import EdgeMask, EdgeScalars, GraphScalars, NodeIndex, NodeMask, NodeScalars


def node_mask(graphs: GraphsTuple) -> NodeMask:
    """True for bodies, False for padding. Bodies have positive mass, padding has mass zero."""
    return graphs.nodes["mass"] > 0


def edge_mask(graphs: GraphsTuple) -> EdgeMask:
    """True for edges between bodies, False for padding."""
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


def displacement(graphs: GraphsTuple) -> Float[Array, "e d"]:
    """Edge vectors x[receiver] - x[sender] + shift @ cell (length)."""
    position = graphs.nodes["position"]
    vector = position[graphs.receivers] - position[graphs.senders]
    if "shift" not in graphs.edges:
        return vector
    cell = graphs.globals["cell"][graph_index(graphs)[graphs.senders]]
    return vector + jnp.einsum("ek,ekd->ed", graphs.edges["shift"].astype(vector.dtype), cell)


def norm(vector: Float[Array, "... d"]) -> Float[Array, "..."]:
    """Euclidean length with gradient zero (not NaN) at the origin."""
    square = jnp.sum(vector**2, axis=-1)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def distance(graphs: GraphsTuple) -> EdgeScalars:
    """Edge lengths |x[receiver] - x[sender] + shift @ cell|; one for padding edges."""
    return jnp.where(edge_mask(graphs), norm(displacement(graphs)), 1)


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
