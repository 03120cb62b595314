"""Pairs within a cutoff among bodies that move, found inside the compiled loop."""

import itertools
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt
from jraph import GraphsTuple
from scipy.spatial import cKDTree

from ._types import Vectors
from .graphs.builders import wrapped
from .graphs.slots import SlottedGraphs, ends

SPARE = 1.2
"""Room for more neighbours than there are at first."""
WORD = 32
ROWS = 2**8
"""Bodies whose neighbours are looked for at a time."""


class Sizes(NamedTuple):
    """What must be known to compile: neighbours of a body, bodies in a cell, cells along each
    axis."""

    slots: int
    cell: int
    grid: tuple[int, ...]


class Neighbours(eqx.Module):
    """Edges between all bodies nearer than `cutoff`, in free space or, if the graph has a diagonal
    `cell`, between nearest images; positions need not be wrapped, and stay as they are.

    The list holds all pairs within cutoff + `skin` (lengths). It is made anew as soon as a body has
    moved by half the skin: a step that would go farther is taken again with a new list, so no pair
    is ever missed. `sizes` is the room to be compiled for; None finds it, and finds more when it
    does not suffice (concrete graphs only; inside jit give that of `allocate`).
    """

    cutoff: float = eqx.field(static=True)
    skin: float = eqx.field(static=True)
    sizes: Sizes | None = eqx.field(default=None, static=True)

    def __check_init__(self) -> None:
        for name, length in (("cutoff", self.cutoff), ("skin", self.skin)):
            if not 0 < length < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {length}")

    @property
    def reach(self) -> float:
        return self.cutoff + self.skin

    def check(self, graph: GraphsTuple) -> None:
        """Raises `ValueError` for several graphs, edges with properties, or a bad cell."""
        if graph.n_node.shape[0] != 1:
            raise ValueError(
                f"neighbours are found in one graph, got {graph.n_node.shape[0]}: use jax.vmap"
            )
        if graph.edges.keys() - {"shift"}:
            raise ValueError(
                f"edges by cutoff come and go: they cannot carry {sorted(graph.edges)}"
            )
        if "cell" not in graph.globals or isinstance(graph.globals["cell"], jax.core.Tracer):
            return
        cell = np.asarray(graph.globals["cell"][0])
        sides = np.diagonal(cell)
        if (cell != np.diag(sides)).any() or not (sides > 0).all():
            raise ValueError("cell must be diagonal and positive: other cells come later")
        if (sides < 2 * self.cutoff).any():
            raise ValueError(
                f"cell length {sides.min():g} is less than twice the cutoff {self.cutoff:g}: "
                "bodies would meet several images of one another; full periodic images come later"
            )

    def allocate(self, graph: GraphsTuple) -> "Neighbours":
        """With sizes that suffice for the graph as it is, with room to spare; concrete only."""
        self.check(graph)
        points = np.asarray(graph.nodes["position"], float)
        n, d = points.shape
        sides = None
        extent = np.ptp(points, axis=0) + self.reach
        if "cell" in graph.globals:
            sides = extent = np.diagonal(np.asarray(graph.globals["cell"][0], float))
        most = max(1, int((4 * n) ** (1 / d)))
        grid = tuple(int(min(most, max(1, 2 * side // self.reach))) for side in extent)
        cells = _cells(graph.nodes["position"], sides, self.reach, grid)
        _, inside = np.unique(np.asarray(cells), axis=0, return_counts=True)
        tree = cKDTree(wrapped(points, sides), boxsize=sides)
        near = tree.query_ball_point(tree.data, self.reach, return_length=True)
        found = Sizes(int(near.max()), int(inside.max()), grid)
        return Neighbours(self.cutoff, self.skin, _with_spare(found, n))

    def with_room(self, slots: int, cell: int, bodies: int) -> "Neighbours":
        """With sizes for so many neighbours and bodies in a cell, half as large again at least."""
        assert self.sizes is not None
        old = self.sizes
        found = Sizes(
            max(slots, old.slots * 5 // 4) if slots > old.slots else old.slots,
            max(cell, old.cell * 5 // 4) if cell > old.cell else old.cell,
            old.grid,
        )
        return Neighbours(self.cutoff, self.skin, _with_spare(found, bodies))


def _with_spare(found: Sizes, bodies: int) -> Sizes:
    """With room to spare, and all bodies in one cell if cells leave few of them out."""
    slots, cell = (min(2 * int(SPARE * k / 2 + 2), bodies) for k in found[:2])
    if cell * math.prod(len(_around(k)) for k in found.grid) < bodies:
        return Sizes(slots, cell, found.grid)
    return Sizes(slots, bodies, tuple(1 for _ in found.grid))


class NeighbourList(eqx.Module):
    """The neighbours of each body, slot by slot, and where bodies were when they were found."""

    senders: Int[Array, "m n"]
    position: Vectors
    slots: Int[Array, ""]
    """The greatest number of neighbours: more than m if some are missing."""
    cell: Int[Array, ""]
    """The greatest number of bodies in a cell."""
    complete: Bool[Array, ""]

    def stale(self, position: Vectors, skin: float) -> Bool[Array, ""]:
        """Whether a pair within the cutoff might be missing."""
        moved = jnp.max(jnp.sum((position - self.position) ** 2, axis=1))
        return ~self.complete | (moved > (skin / 2) ** 2)

    def joined(self, graph: SlottedGraphs, skin: float) -> SlottedGraphs:
        """The graph with these edges; positions NaN, so that nothing is computed in silence, if the
        list is stale."""
        position = graph.nodes["position"]
        poison = jnp.where(self.stale(position, skin), jnp.nan, 0).astype(position.dtype)
        slots, n = self.senders.shape
        return graph._replace(
            nodes=graph.nodes | {"position": position + poison},
            senders=self.senders.ravel(),
            receivers=ends(n, slots),
        )


def find(spec: Neighbours, graph: SlottedGraphs) -> NeighbourList:
    """All pairs within the reach of `spec`, by cells not smaller than half that reach.

    Bodies are sorted by cell, so that each cell is a range of them; those of the cells around are
    tested, and marked in words of bits, from which the k-th neighbour is read: hardly anything is
    scattered. In free space cells repeat periodically, and distances tell true neighbours.
    """
    assert spec.sizes is not None
    slots, capacity, grid = spec.sizes
    position, mask = graph.nodes["position"], graph.nodes["mass"] > 0
    n, d = position.shape
    sides = None
    if "cell" in graph.globals:
        sides = jnp.diagonal(graph.globals["cell"][0])
    place = _cells(position, sides, spec.reach, grid)
    along = jnp.asarray(grid, jnp.int32)
    strides = jnp.asarray([math.prod(grid[k + 1 :]) for k in range(d)], jnp.int32)
    total = math.prod(grid)
    number = jnp.where(mask, jnp.sum(place * strides[None], axis=1), total)
    order = jnp.argsort(number).astype(jnp.int32)
    first = jnp.searchsorted(number[order], jnp.arange(total + 1)).astype(jnp.int32)
    steps = jnp.asarray(list(itertools.product(*[_around(k) for k in grid])), jnp.int32)
    sorted_position = [position[order, k] for k in range(d)]
    words = -(-len(steps) * capacity // WORD)
    candidate = jnp.arange(words * WORD, dtype=jnp.int32)
    bit = jnp.arange(WORD, dtype=jnp.uint32)

    def rows(block: tuple[Array, Array]) -> tuple[Array, Array]:
        """Neighbours `[B m]` of the bodies at these places of the order, and their number."""
        at, cells = block
        near = jnp.sum(
            ((cells[:, None] + steps[None]) % along[None, None]) * strides[None, None], axis=-1
        )
        cell = jnp.minimum(candidate // capacity, len(steps) - 1)
        index = first[near][:, cell] + (candidate - cell * capacity)[None]
        within = index < first[near + 1][:, cell]
        index = jnp.minimum(index, n - 1)
        square = jnp.zeros(index.shape, position.dtype)
        for axis in range(d):
            apart = sorted_position[axis][index] - sorted_position[axis][at][:, None]
            if sides is not None:
                apart = apart - sides[axis] * jnp.round(apart / sides[axis])
            square = square + apart**2
        found = within & (square < spec.reach**2) & (index != at[:, None])
        marks = found.reshape(-1, words, WORD).astype(jnp.uint32) << bit[None, None]
        marks = jnp.sum(marks, axis=-1, dtype=jnp.uint32)
        held = jax.lax.population_count(marks).astype(jnp.int32)
        up_to = jnp.cumsum(held, axis=1)
        k = jnp.arange(slots, dtype=jnp.int32)[None]
        word = jnp.sum(up_to[:, :, None] <= k[None], axis=1).astype(jnp.int32)
        word = jnp.minimum(word, words - 1)
        rank = k - jnp.take_along_axis(up_to - held, word, axis=1)
        chosen = WORD * word + nth_bit(jnp.take_along_axis(marks, word, axis=1), rank)
        sender = order[jnp.take_along_axis(index, chosen, axis=1)]
        return jnp.where(k < up_to[:, -1:], sender, n - 1), up_to[:, -1]

    blocks = -(-n // ROWS)
    at = jnp.minimum(jnp.arange(blocks * min(ROWS, n), dtype=jnp.int32), n - 1)
    split = (at.reshape(blocks, -1), place[order][at].reshape(blocks, -1, d))
    table, neighbours = jax.lax.map(rows, split)
    rank = jnp.zeros(n, jnp.int32).at[order].set(jnp.arange(n, dtype=jnp.int32))
    senders = table.reshape(-1, slots)[:n][rank]
    senders = jnp.where(mask[:, None], senders, n - 1).T
    most = jnp.max(jnp.where(mask[order], neighbours.reshape(-1)[:n], 0))
    fullest = jnp.max(jnp.diff(first))
    return NeighbourList(
        senders=senders,
        position=position,
        slots=most,
        cell=fullest,
        complete=(most <= slots) & (fullest <= capacity),
    )


def _around(cells: int) -> range:
    """Steps to the cells within reach along an axis, none of them twice."""
    return range(-2, 3) if cells >= 5 else range(cells)


def _cells(
    position: Vectors, sides: Array | np.ndarray | None, reach: float, grid: tuple[int, ...]
) -> Int[Array, "n d"]:
    """The cell of each body along each axis."""
    along = jnp.asarray(grid, jnp.int32)[None]
    if sides is None:
        return jnp.floor(2 * position / reach).astype(jnp.int32) % along
    share = position / sides[None]
    place = ((share - jnp.floor(share)) * along.astype(position.dtype)).astype(jnp.int32)
    return jnp.minimum(place, along - 1)


def nth_bit(word: UInt[Array, "..."], n: Int[Array, "..."]) -> Int[Array, "..."]:
    """The place of the n-th set bit, counted from 0, by halving."""
    place = jnp.zeros(word.shape, jnp.int32)
    for half in (16, 8, 4, 2, 1):
        low = word & jnp.uint32((1 << half) - 1)
        below = jax.lax.population_count(low).astype(jnp.int32)
        up = n >= below
        word = jnp.where(up, word >> half, low)
        n = jnp.where(up, n - below, n)
        place = jnp.where(up, place + half, place)
    return place
