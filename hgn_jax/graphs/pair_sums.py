"""Energies of pairs and their gradients, summed over the edges that end at each body."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int
from jraph import GraphsTuple

from .._block_sizes import NEAR, portion
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
"""Function of the types of edges, and of their lengths or squared lengths."""
_Values = Callable[[GraphsTuple, list[Edges]], list[Edges]]
"""Values of edges, from the components of their vectors."""


def pair_energy(graphs: GraphsTuple, energy: OfEdges) -> NodeScalars:
    r"""Half of $\sum_j c_{ij} \phi(r_{ij})$ for each body i, from the edges' $\phi(r)$."""

    def halves(edges: GraphsTuple, vector: list[Edges]) -> list[Edges]:
        r = length(edges, vector)
        phi = energy(edge_kinds(edges).ravel(), r.ravel())
        return [edge_share(edges) * phi.reshape(r.shape)]

    return _summed(graphs, halves)[0]


def pair_gradient(graphs: GraphsTuple, slope_of_square: OfEdges) -> Vectors:
    r"""$\partial/\partial q_i$ of $\sum_{pairs} c_{ij} \phi(r_{ij}^2)$, from $\phi' = d\phi/dr^2$.

    Coincident bodies exert no force on each other, or NaN if phi' is not finite.
    """

    def pulls(edges: GraphsTuple, vector: list[Edges]) -> list[Edges]:
        mask = edge_mask(edges)
        # Padding edges have length zero, where the slope may be infinite.
        s = _once(jnp.where(mask, square(vector), 1), mask)
        slope = slope_of_square(edge_kinds(edges).ravel(), s.ravel())
        # d(r^2)/dq is twice the vector, and the share is half the coupling: a factor of four.
        pull = jnp.where(mask, 4 * edge_share(edges) * _once(slope.reshape(s.shape), mask), 0)
        return [pull * x for x in vector]

    return jnp.stack(_summed(graphs, pulls), axis=1)


def _once(values: Edges, mask: Bool[Array, "*e"]) -> Edges:
    """The same values of real edges, which XLA then computes once on a CPU.

    It would repeat cheap operations in the loop of every use, such as the three components of a
    force, but not quotients.
    """
    return values / jnp.where(mask, 1, 2).astype(values.dtype) if portion() == NEAR else values


def _summed(graphs: GraphsTuple, values: _Values) -> list[NodeScalars]:
    """Sums over the edges that end at each body; without a scatter in the dense layout."""
    if not isinstance(graphs, SlottedGraphs):
        of_edges = values(graphs, components(graphs, received(graphs)))
        return [sum_over_edges(graphs, value) for value in of_edges]
    n, limits = count(graphs), portion()
    size = max(limits.bodies, limits.edges // max(graphs.slots, 1))
    if n <= size or not graphs.slots:
        # Receivers [1 n] are broadcast over the slots of each body: nothing is gathered for them.
        vector = components(edges := _rows(graphs), [x[None] for x in graphs.nodes["position"].T])
        return [jnp.sum(value, axis=0) for value in values(edges, vector)]
    if limits.slots is not None:
        return _by_slots(graphs, values, limits.slots)
    return _by_bodies(graphs, values, size)


def _by_bodies(graphs: SlottedGraphs, values: _Values, size: int) -> list[NodeScalars]:
    """Sums over the edges of a block of bodies at a time: on CPUs a block stays in the cache."""
    position = graphs.nodes["position"]

    def of_bodies(first: Array) -> list[NodeScalars]:
        def cut(array: Array, axis: int) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, first, size, axis)

        edges = _rows(graphs, partial(cut, axis=1))
        vector = components(edges, [x[None] for x in cut(position, 0).T])
        return [jnp.sum(value, axis=0) for value in values(edges, vector)]

    blocks, remainder = divmod(len(position), size)
    # The last block overlaps the one before, so that all have the same size.
    sums = jax.lax.map(of_bodies, jnp.append(size * jnp.arange(blocks), len(position) - size))
    # Without a remainder the last block repeats the one before, and nothing is taken from it.
    return [jnp.append(v[:blocks].ravel(), v[blocks, size - remainder :]) for v in sums]


def _by_slots(graphs: SlottedGraphs, values: _Values, step: int) -> list[NodeScalars]:
    """Sums `step` slots of all bodies at a time: on GPUs one thread per body, no array of edges."""
    position, slots = graphs.nodes["position"].T, graphs.slots

    def of_slot(slot: Array) -> list[NodeScalars]:
        edges = _rows(graphs, lambda rows: jax.lax.dynamic_slice_in_dim(rows, slot, 1))
        vector = components(edges, [x[None] for x in position])
        return [value[0] for value in values(edges, vector)]

    def of_slots(first: Array, count: int) -> list[NodeScalars]:
        each = [of_slot(first + k) for k in range(count)]
        return [sum(column[1:], start=column[0]) for column in zip(*each)]

    def further(total: list[NodeScalars], first: Array) -> tuple[list[NodeScalars], None]:
        return [a + b for a, b in zip(total, of_slots(first, step))], None

    # The remainder comes first, so that the scan takes whole steps.
    start = (slots - 1) % step + 1  # 1 to `step`, never 0
    total = of_slots(jnp.array(0), start)
    if start == slots:
        return total
    return jax.lax.scan(further, total, jnp.arange(start, slots, step))[0]


def _rows(
    graphs: SlottedGraphs, cut: Callable[[Array], Array] = lambda array: array
) -> GraphsTuple:
    """The graphs with edge arrays `[slots bodies ...]`, of which `cut` selects a part."""
    slots, n = graphs.slots, count(graphs)

    def selected(array: Array) -> Array:
        return cut(array.reshape(slots, n, *array.shape[1:]))

    return graphs._replace(
        senders=selected(graphs.senders),
        edges={name: selected(array) for name, array in graphs.edges.items()},
    )
