"""What a GraphsTuple says about its bodies: masks, displacements, distances, sums over graphs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num
from jraph import GraphsTuple

from .._types import (
    EdgeScalars,
    GraphScalars,
    NodeIndex,
    NodeMask,
    NodeScalars,
    Vectors,
)
from ..portion import portion
from .slots import SlottedGraphs

_Edges = Float[Array, "*e"]
"""Numbers of edges; those in slots may stand as [slots bodies]."""


def node_mask(graphs: GraphsTuple) -> NodeMask:
    """True for bodies, False for padding. Bodies have positive mass, padding has mass zero."""
    return graphs.nodes["mass"] > 0


def edge_mask(graphs: GraphsTuple) -> Bool[Array, "*e"]:
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


def edge_kinds(graphs: GraphsTuple) -> Int[Array, "*e"]:
    """The edges' `type`; 0 for all if they have none."""
    return graphs.edges.get("type", jnp.zeros(graphs.senders.shape, jnp.int32))


def displacement(graphs: GraphsTuple) -> Float[Array, "e d"]:
    """Edge vectors x[receiver] - x[sender] + shift @ cell (length)."""
    return jnp.stack(_components(graphs, _received(graphs)), axis=1)


def _received(graphs: GraphsTuple) -> list[EdgeScalars]:
    """Coordinates of the bodies that edges end at, one by one: arrays [e d] of so small a d are
    slow."""
    position = graphs.nodes["position"]
    if isinstance(graphs, SlottedGraphs):
        return [jnp.tile(x, graphs.slots) for x in position.T]
    return [x[graphs.receivers] for x in position.T]


def _components(graphs: GraphsTuple, received: list[Float[Array, "..."]]) -> list[_Edges]:
    """Of the displacements of edges in any arrangement."""
    position = graphs.nodes["position"]
    apart = [end - x[graphs.senders] for x, end in zip(position.T, received)]
    if "shift" in graphs.edges:
        cell = graphs.globals["cell"][graph_index(graphs)[graphs.senders]]
        shift = graphs.edges["shift"].astype(position.dtype)
        images = jnp.einsum("...k,...kd->...d", shift, cell)
        return [x + images[..., k] for k, x in enumerate(apart)]
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
    return _length(graphs, _components(graphs, _received(graphs)))


def _length(graphs: GraphsTuple, apart: list[_Edges]) -> _Edges:
    square = _square(apart)
    bodies_apart = edge_mask(graphs) & (square > 0)
    length = jnp.sqrt(jnp.where(bodies_apart, square, 1))
    return jnp.where(bodies_apart | ~edge_mask(graphs), length, 0)


OfEdges = Callable[[Int[Array, " e"], EdgeScalars], EdgeScalars]
"""A function of edges' types, and of their lengths or the squares of those."""


def pair_energy(graphs: GraphsTuple, energy: OfEdges) -> NodeScalars:
    r"""Half of $\sum_j c_{ij} \phi(r_{ij})$ for each body i, from the edges' $\phi(r)$."""

    def halves(edges: GraphsTuple, apart: list[_Edges]) -> list[_Edges]:
        length = _length(edges, apart)
        phi = energy(edge_kinds(edges).ravel(), length.ravel())
        return [edge_share(edges) * phi.reshape(length.shape)]

    return _summed(graphs, halves)[0]


def pair_gradient(graphs: GraphsTuple, slope_of_square: OfEdges) -> Vectors:
    r"""$\partial/\partial q_i$ of $\sum_{pairs} c_{ij} \phi(r_{ij}^2)$, from $\phi' = d\phi/dr^2$.

    Coincident bodies pull with zero force, or NaN where phi' is not finite.
    """

    def pulls(edges: GraphsTuple, apart: list[_Edges]) -> list[_Edges]:
        mask = edge_mask(edges)
        square = jnp.where(mask, _square(apart), 1)
        slope = slope_of_square(edge_kinds(edges).ravel(), square.ravel())
        # Both directions of a pair pull on the receiver alike: twice the share of one.
        pull = jnp.where(mask, 4 * edge_share(edges) * slope.reshape(square.shape), 0)
        return [pull * x for x in apart]

    return jnp.stack(_summed(graphs, pulls), axis=1)


def _summed(
    graphs: GraphsTuple, values: Callable[[GraphsTuple, list[_Edges]], list[_Edges]]
) -> list[NodeScalars]:
    """Sums over the edges that end at each body of values of the edges and their components.

    If edges stand in slots nothing is scattered, and of many edges those of some bodies at a time
    are looked at: hardly any memory is needed, and what there is stays near the processor.
    """
    if not isinstance(graphs, SlottedGraphs):
        all_ = values(graphs, _components(graphs, _received(graphs)))
        return [sum_over_edges(graphs, value) for value in all_]
    position, slots = graphs.nodes["position"], graphs.slots
    most = portion()
    n, size = len(position), max(most.bodies, most.edges // max(slots, 1))

    def of_bodies(first: Array | int) -> list[NodeScalars]:
        def cut(array: Array, axis: int = 1) -> Array:
            if n <= size:
                return array
            return jax.lax.dynamic_slice_in_dim(array, first, size, axis)

        def rows(array: Array) -> Array:
            return cut(array.reshape(slots, n, *array.shape[1:]))

        edges = graphs._replace(
            senders=rows(graphs.senders),
            edges={name: rows(array) for name, array in graphs.edges.items()},
        )
        apart = _components(edges, [x[None] for x in cut(position, 0).T])
        return [jnp.sum(value, axis=0) for value in values(edges, apart)]

    if n <= size:
        return of_bodies(0)
    whole, rest = divmod(n, size)
    # The last part overlaps the one before.
    sums = jax.lax.map(of_bodies, jnp.append(size * jnp.arange(whole), n - size))
    return [jnp.append(v[:whole].ravel(), v[whole, size - rest :]) for v in sums]


def _square(parts: list[_Edges]) -> _Edges:
    return sum((x**2 for x in parts[1:]), start=parts[0] ** 2)


def edge_share(graphs: GraphsTuple) -> Float[Array, "*e"]:
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
