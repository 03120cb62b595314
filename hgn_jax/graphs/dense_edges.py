"""Dense layout of edges, in slots of each body: sums over a body's edges need no scatter."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from jraph import GraphsTuple

from .._tree import is_concrete
from .cell import require_shift
from .padding import real_counts

WASTE = 4
"""Greatest number of slots per edge and body: with more, most are empty and edges stay sparse."""


class SlottedGraphs(GraphsTuple):
    """Graphs of n bodies with m edge slots each: edge `k n + i` is the k-th that ends at body i.

    The last body and the last graph are padding, whatever `n_node` says of the others. That body is
    the sender of every empty slot. With a `cell` but no `shift`, displacements are those of the
    nearest images. Functions of bodies and edges accept this layout; only `n_edge` does not
    partition its edges.
    """

    @property
    def slots(self) -> int:
        """Number m of slots of each body."""
        return len(self.senders) // len(self.nodes["position"])


class DiagonalCellGraphs(SlottedGraphs):
    """Slotted graphs whose cell is known at compile time to be diagonal.

    Nearest images in a general cell would double the time of a step with neighbour lists.
    """


class PartialGraphs(SlottedGraphs):
    """Slotted graphs of one slab: sums over bodies extend over all slabs of the mesh.

    The first graph holds the slab's own bodies; sums over the others mean nothing.
    """


def slotted(graphs: GraphsTuple) -> GraphsTuple:
    """Puts the edges into slots, and appends one body and one graph of padding.

    Returns the graphs unchanged if most slots would be empty (a hub has most of the edges), or if
    the graphs are traced by jit, so that the number of slots is unknown.

    **Raises:** `ValueError` for edges in a periodic cell that carry no `shift`.
    """
    require_shift(graphs)
    topology = (graphs.n_node, graphs.senders, graphs.receivers)
    if not is_concrete(topology):
        return graphs
    n_node, senders, receivers = map(np.asarray, topology)
    n = len(graphs.nodes["position"])
    kept = np.flatnonzero(senders < real_counts(n_node, n)[1])  # edges of padding start at padding
    order = kept[np.argsort(receivers[kept], kind="stable")]
    count = np.bincount(receivers[order], minlength=n)
    slots = int(count.max(initial=0))
    if slots * n > WASTE * (len(order) + n):
        return graphs
    # Rank of each edge among those that end at the same body.
    slot = np.arange(len(order)) - (np.cumsum(count) - count)[receivers[order]]
    edge = np.full(slots * (n + 1), -1)  # -1: empty slot
    edge[slot * (n + 1) + receivers[order]] = order

    # Without edges there are no slots, and no senders to index.
    slot_senders = np.where(edge < 0, n, senders[edge]) if len(order) else edge
    return _in_slots(graphs, edge, np.asarray(slot_senders, np.int32), slots)


@partial(jax.jit, static_argnums=3)
def _in_slots(graphs: GraphsTuple, edge: Array, senders: Array, slots: int) -> SlottedGraphs:
    def spread(values: Array) -> Array:
        empty = (edge < 0).reshape(-1, *[1] * (values.ndim - 1))
        # The index -1 of an empty slot reads the last value, which is then replaced.
        return jnp.where(empty, jnp.zeros_like(values[:1]), values[edge])

    return with_padding(graphs)._replace(
        edges={name: spread(values) for name, values in graphs.edges.items()},
        senders=senders,
        receivers=ends(len(graphs.nodes["position"]) + 1, slots),
    )


@jax.jit
def with_padding(graphs: GraphsTuple) -> SlottedGraphs:
    """The graphs without edges, with one body and one graph of padding appended."""

    def extended(values: Array) -> Array:
        return jnp.concatenate([values, jnp.zeros_like(values[:1])])

    no_edges = jnp.zeros(0, jnp.int32)
    return SlottedGraphs(
        nodes={name: extended(values) for name, values in graphs.nodes.items()},
        edges={},
        senders=no_edges,
        receivers=no_edges,
        globals={name: extended(values) for name, values in graphs.globals.items()},
        n_node=extended(graphs.n_node).at[-1].set(1),
        n_edge=extended(graphs.n_edge),
    )


def ends(n: int, slots: int) -> Array:
    """Receivers of the edges of n bodies with that many slots each."""
    return jnp.tile(jnp.arange(n, dtype=jnp.int32), slots)
