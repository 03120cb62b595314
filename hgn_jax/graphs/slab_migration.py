"""Refresh of the neighbour lists of all slabs: bodies that have left their slab change devices."""

import jax
import jax.numpy as jnp

from .cell_list import Sizes
from .dense_edges import SlottedGraphs
from .geometry import cell_of
from .slab_list import SlabList, find_in_slab
from .slabs import SLABS, Needs, from_middle, migrated


def refreshed(
    graph: SlottedGraphs, state: tuple[str, ...], reach: float, sizes: Sizes, slabs: int
) -> tuple[tuple[jax.Array, ...], SlabList]:
    """Arrays of the `state` of the bodies that are in this slab now, and their list.

    Runs on every device of the mesh at once. If a capacity overflows, all bodies stay on their
    devices, and the list is not complete.
    """
    capacity = sizes.slabs
    assert capacity is not None
    number, cell = graph.n_node[0], cell_of(graph)
    position = graph.nodes["position"]
    real = jnp.arange(len(position), dtype=jnp.int32) < number
    slab = jax.lax.axis_index(SLABS)
    x = from_middle(position, cell, slab, slabs, capacity.axis)
    nodes, arrived, leavers = migrated(dict(graph.nodes), x, real, slabs, capacity)
    most, leavers = jax.lax.pmax((arrived, leavers), SLABS)
    fits = Needs(most, jnp.zeros((), jnp.int32), leavers).met(capacity)
    nodes = {name: jnp.where(fits, nodes[name], a) for name, a in graph.nodes.items()}
    found = find_in_slab(
        graph._replace(nodes=nodes), state, jnp.where(fits, arrived, number), cell, reach, sizes,
        slabs, Needs(most, jnp.zeros((), jnp.int32), leavers),
    )  # fmt: skip
    return tuple(nodes[name] for name in state), found
