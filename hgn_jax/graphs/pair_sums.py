"""Energies of pairs and their gradients, summed over the edges that end at each body."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int
from jraph import GraphsTuple

from .._block_sizes import portion
from .._types import EdgeScalars, NodeScalars, Vectors
from .dense_edges import SlottedGraphs
from .geometry import (
    Edges,
    components,
    count,
    edge_kinds,
    edge_mask,
    edge_share,
    length,
    received,
    square,
    sum_over_edges,
)

OfEdges = Callable[[Int[Array, " e"], EdgeScalars], EdgeScalars]
"""A function of edges' types, and of their lengths or the squares of those."""
_Values = Callable[[GraphsTuple, list[Edges]], list[Edges]]
"""Of the edges, from their components."""


def pair_energy(graphs: GraphsTuple, energy: OfEdges) -> NodeScalars:
    r"""Half of $\sum_j c_{ij} \phi(r_{ij})$ for each body i, from the edges' $\phi(r)$."""

    def halves(edges: GraphsTuple, apart: list[Edges]) -> list[Edges]:
        r = length(edges, apart)
        phi = energy(edge_kinds(edges).ravel(), r.ravel())
        return [edge_share(edges) * phi.reshape(r.shape)]

    return _summed(graphs, halves)[0]


def pair_gradient(graphs: GraphsTuple, slope_of_square: OfEdges) -> Vectors:
    r"""$\partial/\partial q_i$ of $\sum_{pairs} c_{ij} \phi(r_{ij}^2)$, from $\phi' = d\phi/dr^2$.

    Coincident bodies pull with zero force, or NaN where phi' is not finite.
    """

    def pulls(edges: GraphsTuple, apart: list[Edges]) -> list[Edges]:
        mask = edge_mask(edges)
        s = jnp.where(mask, square(apart), 1)
        slope = slope_of_square(edge_kinds(edges).ravel(), s.ravel())
        # Both directions of a pair pull on the receiver alike: twice the share of one.
        pull = jnp.where(mask, 4 * edge_share(edges) * slope.reshape(s.shape), 0)
        return [pull * x for x in apart]

    return jnp.stack(_summed(graphs, pulls), axis=1)


def _summed(graphs: GraphsTuple, values: _Values) -> list[NodeScalars]:
    """Sums over the edges that end at each body; nothing is scattered if they stand in slots."""
    if not isinstance(graphs, SlottedGraphs):
        every = values(graphs, components(graphs, received(graphs)))
        return [sum_over_edges(graphs, value) for value in every]
    n, most = count(graphs), portion()
    size = max(most.bodies, most.edges // max(graphs.slots, 1))
    if n <= size or not graphs.slots:
        apart = components(edges := _rows(graphs), [x[None] for x in graphs.nodes["position"].T])
        return [jnp.sum(value, axis=0) for value in values(edges, apart)]
    if most.slots is not None:
        return _slot_by_slot(graphs, values, most.slots)
    return _some_bodies_at_a_time(graphs, values, size)


def _some_bodies_at_a_time(graphs: SlottedGraphs, values: _Values, size: int) -> list[NodeScalars]:
    """Hardly any memory is needed, and what there is stays near the processor."""
    position = graphs.nodes["position"]

    def of_bodies(first: Array) -> list[NodeScalars]:
        def cut(array: Array, axis: int) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, first, size, axis)

        edges = _rows(graphs, partial(cut, axis=1))
        apart = components(edges, [x[None] for x in cut(position, 0).T])
        return [jnp.sum(value, axis=0) for value in values(edges, apart)]

    whole, rest = divmod(len(position), size)
    # The last part overlaps the one before.
    sums = jax.lax.map(of_bodies, jnp.append(size * jnp.arange(whole), len(position) - size))
    return [jnp.append(v[:whole].ravel(), v[whole, size - rest :]) for v in sums]


def _slot_by_slot(graphs: SlottedGraphs, values: _Values, some: int) -> list[NodeScalars]:
    """A thread for each body, and no array of all edges."""
    position, slots = graphs.nodes["position"].T, graphs.slots

    def of_slot(slot: Array) -> list[NodeScalars]:
        edges = _rows(graphs, lambda rows: jax.lax.dynamic_slice_in_dim(rows, slot, 1))
        apart = components(edges, [x[None] for x in position])
        return [value[0] for value in values(edges, apart)]

    def of_slots(first: Array, count: int) -> list[NodeScalars]:
        each = [of_slot(first + k) for k in range(count)]
        return [sum(column[1:], start=column[0]) for column in zip(*each)]

    def further(total: list[NodeScalars], first: Array) -> tuple[list[NodeScalars], None]:
        return [a + b for a, b in zip(total, of_slots(first, some))], None

    begun = (slots - 1) % some + 1
    total = of_slots(jnp.array(0), begun)
    if begun == slots:
        return total
    return jax.lax.scan(further, total, jnp.arange(begun, slots, some))[0]


def _rows(
    graphs: SlottedGraphs, cut: Callable[[Array], Array] = lambda array: array
) -> GraphsTuple:
    """The graphs with what `cut` leaves of the edges' arrays `[slots bodies ...]`."""
    slots, n = graphs.slots, count(graphs)

    def some(array: Array) -> Array:
        return cut(array.reshape(slots, n, *array.shape[1:]))

    return graphs._replace(
        senders=some(graphs.senders),
        edges={name: some(array) for name, array in graphs.edges.items()},
    )
