"""Edges in slots: the pulls on each body are then summed without scattering."""

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
"""Slots per edge from which on edges are left as they are: one body has most of them."""


class SlottedGraphs(GraphsTuple):
    """Graphs of n bodies whose edges stand in m slots: edge `k n + i` is the k-th that ends at i.

    The last body and graph are padding, whatever `n_node` says of the others, and that body is the
    sender of every empty slot. With a `cell` and
    without `shift`, displacements are those of the nearest images. All functions of bodies and
    edges take them, but `n_edge` does not partition the edges.
    """

    @property
    def slots(self) -> int:
        """How many edges may end at one body."""
        return len(self.senders) // len(self.nodes["position"])


class DiagonalCellGraphs(SlottedGraphs):
    """Slotted graphs whose cell is known to be diagonal when a program is compiled.

    Nearest images in a cell of any shape take twice the time of a step with neighbour lists.
    """


def slotted(graphs: GraphsTuple) -> GraphsTuple:
    """The same bodies and edges in slots, with one body and graph of padding at the end.

    Graphs are returned as they are if slots would be mostly empty (a hub has most of the edges),
    or if traced by jit, so that the number of slots is unknown.

    **Raises:** `ValueError` for edges in a periodic cell that carry no `shift`.
    """
    require_shift(graphs)
    topology = (graphs.n_node, graphs.senders, graphs.receivers)
    if not is_concrete(topology):
        return graphs
    n_node, senders, receivers = map(np.asarray, topology)
    n = len(graphs.nodes["position"])
    kept = np.flatnonzero(senders < real_counts(n_node, n)[1])
    order = kept[np.argsort(receivers[kept], kind="stable")]
    count = np.bincount(receivers[order], minlength=n)
    slots = int(count.max(initial=0))
    if slots * n > WASTE * (len(order) + n):
        return graphs
    slot = np.arange(len(order)) - (np.cumsum(count) - count)[receivers[order]]
    edge = np.full(slots * (n + 1), -1)
    edge[slot * (n + 1) + receivers[order]] = order

    sent = np.where(edge < 0, n, senders[edge]) if len(order) else edge
    return _in_slots(graphs, edge, np.asarray(sent, np.int32), slots)


@partial(jax.jit, static_argnums=3)
def _in_slots(graphs: GraphsTuple, edge: Array, sent: Array, slots: int) -> SlottedGraphs:
    def spread(values: Array) -> Array:
        empty = (edge < 0).reshape(-1, *[1] * (values.ndim - 1))
        return jnp.where(empty, jnp.zeros_like(values[:1]), values[edge])

    return with_padding(graphs)._replace(
        edges={name: spread(values) for name, values in graphs.edges.items()},
        senders=sent,
        receivers=ends(len(graphs.nodes["position"]) + 1, slots),
    )


@jax.jit
def with_padding(graphs: GraphsTuple) -> SlottedGraphs:
    """The bodies, one body and graph of padding, and no edges."""

    def longer(values: Array) -> Array:
        return jnp.concatenate([values, jnp.zeros_like(values[:1])])

    none = jnp.zeros(0, jnp.int32)
    return SlottedGraphs(
        nodes={name: longer(values) for name, values in graphs.nodes.items()},
        edges={},
        senders=none,
        receivers=none,
        globals={name: longer(values) for name, values in graphs.globals.items()},
        n_node=longer(graphs.n_node).at[-1].set(1),
        n_edge=longer(graphs.n_edge),
    )


def ends(n: int, slots: int) -> Array:
    """The receivers of m slots of n bodies."""
    return jnp.tile(jnp.arange(n, dtype=jnp.int32), slots)
