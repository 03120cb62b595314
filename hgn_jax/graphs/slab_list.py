"""Neighbour list of one slab: of the bodies of a device, and of their halo."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._types import Vectors
from .cell import Cell
from .cell_list import Sizes, search
from .dense_edges import SlottedGraphs, ends
from .slabs import SLABS, Needs, around_slab, from_middle, members, placed, search_cell, shifted

GRAPHS = 5
"""A slab is a batch of its own bodies, its halo, padding, and two graphs that mark padding."""


class SlabList(eqx.Module):
    """Neighbours of a slab's own bodies and of their halo, slot by slot."""

    senders: Int[Array, "m N"]
    position: Vectors
    """Own positions that the list was found for."""
    bodies: dict[str, Array]
    """Own bodies' arrays besides the state."""
    copies: dict[str, Array]
    """The same with the halo."""
    number: Int[Array, ""]
    """Number of own bodies."""
    edge: tuple[Int[Array, " h"], Int[Array, " h"]]
    """Own bodies that the slabs behind and ahead copy."""
    start: tuple[Int[Array, ""], Int[Array, ""], Int[Array, ""]]
    """Rows at which copies of the slab behind and of the slab ahead begin, and where they end."""
    slabs: int = eqx.field(static=True)
    total: int = eqx.field(static=True)
    """Number of bodies of all slabs."""
    slots: Int[Array, ""]
    """Greatest number of neighbours, on all devices."""
    run: Int[Array, ""]
    """Greatest number of bodies in a run of grid cells, on all devices."""
    needs: Needs
    complete: Bool[Array, ""]
    """False if a capacity overflowed on any device."""

    def stale(self, position: Vectors, skin: float) -> Bool[Array, ""]:
        """True if a pair of this slab within the cutoff might be missing."""
        moved = jnp.max(jnp.sum((position - self.position) ** 2, axis=1))
        return ~self.complete | ~(moved <= (skin / 2) ** 2)  # NaN is stale

    def settled(self, graph: SlottedGraphs) -> SlottedGraphs:
        """The graph of a slab with the bodies that are in it."""
        counts = slab_counts(self.number, jnp.zeros((), jnp.int32), len(self.position))
        return graph._replace(nodes=graph.nodes | self.bodies, n_node=counts)

    def joined(self, graph: SlottedGraphs) -> SlottedGraphs:
        """The graph of a slab with its halo, and with the edges of this list.

        Arrays of the state are copied from the slabs beside it.
        """
        slots, n = self.senders.shape
        state = {k: self.with_halo(v) for k, v in graph.nodes.items() if k not in self.bodies}
        return graph._replace(
            nodes=self.copies | state,
            n_node=slab_counts(self.number, self.start[2] - self.number, n),
            senders=self.senders.ravel(),
            receivers=ends(n, slots),
        )

    def with_halo(self, values: Float[Array, "n ..."]) -> Float[Array, "N ..."]:
        """Values of own bodies, followed by those of the halo."""
        return _with_halo(values, *self.edge, self.start, self.slabs)

    def own(self, values: Float[Array, "N ..."]) -> Float[Array, "n ..."]:
        """Values of the slab's own bodies; zero for padding."""
        n = len(self.position)
        mask = jnp.arange(n, dtype=jnp.int32) < self.number
        return jnp.where(mask.reshape(-1, *[1] * (values.ndim - 1)), values[:n], 0)


def find_in_slab(
    graph: SlottedGraphs,
    state: tuple[str, ...],
    number: Int[Array, ""],
    cell: Cell,
    reach: float,
    sizes: Sizes,
    slabs: int,
    crowd: Needs,
) -> SlabList:
    """The list of a slab, whose `number` own bodies are the first rows of the graph.

    Runs on every device of the mesh at once. `state` are the node arrays that move; `crowd` are the
    needs of the last migration.
    """
    capacity = sizes.slabs
    assert capacity is not None
    slab, axis = jax.lax.axis_index(SLABS), capacity.axis
    position = graph.nodes["position"]
    n = len(position)
    real = jnp.arange(n, dtype=jnp.int32) < number
    x = from_middle(position, cell, slab, slabs, axis)
    width = capacity.span * reach / cell.heights[axis]
    behind, copies_behind = members(real & (x < width - 0.5 / slabs), capacity.halo)
    ahead, copies_ahead = members(real & (x >= 0.5 / slabs - width), capacity.halo)
    # What the slab behind sends ahead follows the own bodies, then what the slab ahead sends back.
    second = number + shifted(copies_ahead, slabs, 1)
    start = (number, second, second + shifted(copies_behind, slabs, -1))
    mask = jnp.arange(capacity.rows, dtype=jnp.int32) < start[2]
    near = around_slab(_with_halo(position, behind, ahead, start, slabs), cell, slab, slabs, axis)
    box = search_cell(cell, slabs, capacity.span * reach, axis)
    senders, slots, run = search(near, mask, box, reach, sizes)
    halo = jnp.maximum(copies_behind, copies_ahead)
    slots, run, halo = jax.lax.pmax((slots, run, halo), SLABS)
    needs = crowd._replace(halo=halo)
    complete = (slots <= sizes.slots) & (run <= sizes.run) & needs.met(capacity)
    others = {name: a for name, a in graph.nodes.items() if name not in state}
    copied = {k: _with_halo(v, behind, ahead, start, slabs) for k, v in others.items()}
    return SlabList(
        senders, position, others, copied, number, (behind, ahead), start, slabs, capacity.total,
        slots, run, needs, complete,
    )  # fmt: skip


def slab_counts(own: Int[Array, ""], halo: Int[Array, ""], rows: int) -> Int[Array, " g"]:
    """`n_node` of a slab: own bodies, halo, padding, and two graphs that mark padding."""
    none, one = jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32)
    return jnp.stack([own, halo, rows - 1 - own - halo, none, one])


def _with_halo(
    values: Array, behind: Array, ahead: Array, start: tuple[Array, Array, Array], slabs: int
) -> Array:
    parts = [
        (shifted(values[ahead], slabs, 1), start[0]),
        (shifted(values[behind], slabs, -1), start[1]),
    ]
    return placed(values, parts, len(values) + len(behind) + len(ahead))
