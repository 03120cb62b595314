"""A neighbour list: the neighbours of each body, and how long they suffice."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._types import Vectors
from .cell import ROUNDING, Cell
from .cell_list import search
from .dense_edges import SlottedGraphs, ends
from .geometry import cell_of, node_mask
from .neighbours import Neighbours


class NeighbourList(eqx.Module):
    """Neighbours of each body, slot by slot, and the positions that they were found for."""

    senders: Int[Array, "m n"]
    position: Vectors
    slots: Int[Array, ""]
    """Greatest number of neighbours: more than m if some are missing."""
    run: Int[Array, ""]
    """Greatest number of bodies in a run of grid cells."""
    complete: Bool[Array, ""]
    """False if a capacity overflowed, or the cell no longer fits the sizes."""
    cell: Float[Array, "d d"] | None
    """Cell that they were found for; None in free space."""

    def stale(
        self, position: Vectors, spec: Neighbours, cell: Cell | None = None
    ) -> Bool[Array, ""]:
        """True if a pair within the cutoff might be missing. `cell` is given if it may have
        changed, and the bodies with it."""
        if cell is None:
            # Two bodies may approach each other, hence half the skin for each.
            moved = jnp.max(jnp.sum((position - self.position) ** 2, axis=1))
            return ~self.complete | ~(moved <= (spec.skin / 2) ** 2)  # NaN is stale
        assert self.cell is not None
        # By default, GPUs may round factors in float32 to ten bits.
        back = jnp.matmul(cell.inverse, self.cell, precision="highest")
        moves = jnp.matmul(position, back, precision="highest") - self.position
        # Distances when the list was found are at most those of today times the norm of the map
        # back, plus two moves.
        # sqrt(|B|_1 |B|_inf) bounds the norm of B without an SVD, which is slow inside jit.
        rows, columns = (jnp.max(jnp.sum(jnp.abs(back), axis=k)) for k in (0, 1))
        farthest = jnp.sqrt(jnp.max(jnp.sum(moves**2, axis=1)))
        then = spec.cutoff * jnp.sqrt(rows * columns) + 2 * farthest
        wide = jnp.min(cell.heights) >= 2 * spec.cutoff * ROUNDING
        return ~self.complete | ~wide | ~(then <= spec.reach)  # NaN is stale

    def settled(self, graph: SlottedGraphs) -> SlottedGraphs:
        """The graph with the bodies of this list, which are always the same."""
        return graph

    def own(self, values: Vectors) -> Vectors:
        """Values of the bodies that this list was found for: all."""
        return values

    def joined(self, graph: SlottedGraphs) -> SlottedGraphs:
        """The graph with the edges of this list."""
        slots, n = self.senders.shape
        return graph._replace(senders=self.senders.ravel(), receivers=ends(n, slots))

    def with_room(self, slots: int) -> "NeighbourList":
        """The same neighbours with at least that many slots."""
        missing = max(slots - len(self.senders), 0)
        bodies = self.senders.shape[1]
        empty = jnp.full((missing, bodies), bodies - 1, jnp.int32)  # the last body is padding
        return eqx.tree_at(lambda x: x.senders, self, jnp.concatenate([self.senders, empty]))


def find(spec: Neighbours, graph: SlottedGraphs) -> NeighbourList:
    """Finds all pairs within the reach of `spec`. Works inside jit."""
    assert spec.sizes is not None
    position = graph.nodes["position"]
    cell = cell_of(graph) if "cell" in graph.globals else None
    senders, slots, run = search(position, node_mask(graph), cell, spec.reach, spec.sizes)
    complete = (slots <= spec.sizes.slots) & (run <= spec.sizes.run)
    if cell is not None:
        complete &= spec.fits(cell)
    matrix = None if cell is None else cell.matrix
    return NeighbourList(senders, position, slots, run, complete, matrix)
