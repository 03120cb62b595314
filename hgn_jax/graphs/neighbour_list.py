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

from .._block_sizes import portion
from .._types import Vectors
from .builders import wrapped
from .dense_edges import SlottedGraphs, ends
from .geometry import node_mask

SPARE = 1.2
"""Room for more neighbours than there are at first."""
WORD = 32


class Sizes(NamedTuple):
    """What must be known to compile: neighbours of a body, bodies in the cells that are within
    reach along the last axis, cells along each axis."""

    slots: int
    run: int
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
        if self.sizes is not None and min(self.sizes[:2] + self.sizes.grid) < 1:
            raise ValueError(f"sizes must be positive, got {self.sizes}")

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
        cell = np.asarray(graph.globals["cell"])[0]
        sides = np.diagonal(cell)
        if (cell != np.diag(sides)).any() or not (sides > 0).all():
            raise ValueError("cell must be diagonal and positive: other cells come later")
        if (sides < 2 * self.cutoff).any():
            raise ValueError(
                f"cell length {sides.min():g} is less than twice the cutoff {self.cutoff:g}: "
                "bodies would meet several images of one another; full periodic images come later"
            )
        with jax.ensure_compile_time_eval():  # a cell known inside jit is no tracer
            fits = self.sizes is None or bool(_fits(self, sides))
        if not fits:
            raise ValueError(
                f"{self.sizes} was allocated for a larger cell than {sides}: allocate anew, "
                "hgn.Neighbours(cutoff, skin).allocate(graph)"
            )

    def allocate(self, graph: GraphsTuple) -> "Neighbours":
        """With sizes that suffice for the graph as it is, with room to spare; concrete only."""
        self.check(graph)
        points = np.asarray(graph.nodes["position"], float)
        n, d = points.shape
        sides = None
        extent = np.ptp(points, axis=0) + self.reach
        if "cell" in graph.globals:
            sides = extent = np.diagonal(np.asarray(graph.globals["cell"], float)[0])
        most = max(1, int((4 * n) ** (1 / d)))
        grid = tuple(int(min(most, max(1, 2 * side // self.reach))) for side in extent)
        with jax.ensure_compile_time_eval():
            cells = np.asarray(_cells(graph.nodes["position"], sides, self.reach, grid))
            inside = np.bincount(np.ravel_multi_index(cells.T, grid), minlength=math.prod(grid))
            run = int(np.max(_runs(inside.reshape(-1, grid[-1]))))
        tree = cKDTree(wrapped(points, sides), boxsize=sides)
        near = tree.query_ball_point(tree.data, self.reach, return_length=True)
        found = Sizes(int(near.max()), run, grid)
        return Neighbours(self.cutoff, self.skin, _with_spare(found, n))

    def with_room(self, slots: int, run: int, bodies: int) -> "Neighbours":
        """With sizes for so many neighbours and bodies of a run, and more."""
        assert self.sizes is not None
        old = self.sizes
        found = Sizes(
            max(slots, old.slots * 5 // 4) if slots > old.slots else old.slots,
            max(run, old.run * 5 // 4) if run > old.run else old.run,
            old.grid,
        )
        return Neighbours(self.cutoff, self.skin, _with_spare(found, bodies))


def _with_spare(found: Sizes, bodies: int) -> Sizes:
    """With room to spare, and all bodies in one cell if cells leave few of them out."""
    slots, run = (min(2 * int(SPARE * k / 2 + 2), bodies) for k in found[:2])
    if run * math.prod(len(_around(k)) for k in found.grid[:-1]) < bodies:
        return Sizes(slots, run, found.grid)
    return Sizes(slots, bodies, tuple(1 for _ in found.grid))


class NeighbourList(eqx.Module):
    """The neighbours of each body, slot by slot, and where bodies were when they were found."""

    senders: Int[Array, "m n"]
    position: Vectors
    slots: Int[Array, ""]
    """The greatest number of neighbours: more than m if some are missing."""
    run: Int[Array, ""]
    """The greatest number of bodies in a run of cells."""
    complete: Bool[Array, ""]

    def stale(self, position: Vectors, skin: float) -> Bool[Array, ""]:
        """Whether a pair within the cutoff might be missing."""
        moved = jnp.max(jnp.sum((position - self.position) ** 2, axis=1))
        return ~self.complete | ~(moved <= (skin / 2) ** 2)  # NaN is stale

    def joined(self, graph: SlottedGraphs) -> SlottedGraphs:
        """The graph with these edges."""
        slots, n = self.senders.shape
        return graph._replace(senders=self.senders.ravel(), receivers=ends(n, slots))

    def with_room(self, slots: int) -> "NeighbourList":
        """The same neighbours in so many slots, if they are more."""
        missing = max(slots - len(self.senders), 0)
        none = jnp.full((missing, self.senders.shape[1]), self.senders.shape[1] - 1, jnp.int32)
        return eqx.tree_at(lambda f: f.senders, self, jnp.concatenate([self.senders, none]))


def find(spec: Neighbours, graph: SlottedGraphs) -> NeighbourList:
    """All pairs within the reach of `spec`, by cells not smaller than half that reach.

    Bodies are sorted by cell, so that a run of cells along the last axis is a range of them; those
    of the runs around are tested, and marked in words of bits, from which the k-th neighbour is
    read: hardly anything is scattered. In free space cells repeat periodically, and distances tell
    true neighbours.
    """
    assert spec.sizes is not None
    slots, capacity, grid = spec.sizes
    position, mask = graph.nodes["position"], node_mask(graph)
    n, d = position.shape
    sides = None
    if "cell" in graph.globals:
        sides = jnp.diagonal(graph.globals["cell"][0])
    place = _cells(position, sides, spec.reach, grid)
    *across, along = grid
    wide = jnp.asarray(across, jnp.int32)
    strides = jnp.asarray([math.prod(across[k + 1 :]) for k in range(d - 1)], jnp.int32)
    line = jnp.sum(place[:, :-1] * strides[None], axis=1, dtype=jnp.int32)
    number = jnp.where(mask, line * along + place[:, -1], math.prod(grid))
    order = jnp.argsort(number).astype(jnp.int32)
    cells = jnp.arange(math.prod(grid) + 1, dtype=jnp.int32)
    first = jnp.searchsorted(number[order], cells).astype(jnp.int32)
    steps = list(itertools.product(*[_around(k) for k in across]))
    runs, words = len(steps), -(-len(steps) * capacity // WORD)
    towards = jnp.asarray(steps, jnp.int32).reshape(runs, d - 1)
    sorted_position = [position[order, k] for k in range(d)]

    def rows(block: tuple[Array, Array]) -> tuple[Array, Array]:
        """Neighbours `[B m]` of the bodies at these places of the order, and their number."""
        at, cells = block
        near = (cells[:, None, :-1] + towards[None]) % wide[None, None]
        line = along * jnp.sum(near * strides[None, None], axis=-1, dtype=jnp.int32)
        start, end = first[line], first[line + along]
        low, count = start, end - start
        if len(_around(along)) < along:
            last, next_ = ((cells[:, -1:] + step) % along for step in (-2, 2))
            low, high = first[line + last], first[line + next_ + 1]
            count = high - low + jnp.where(next_ < last, count, 0)

        def member(low: Array, start: Array, end: Array, k: Array) -> Array:
            """The k-th of a run, which goes on where the line starts."""
            index = low + k
            return jnp.minimum(jnp.where(index < end, index, index - end + start), n - 1)

        k = jnp.arange(capacity, dtype=jnp.int32)[None, None]
        index = member(low[:, :, None], start[:, :, None], end[:, :, None], k)
        square = jnp.zeros(index.shape, position.dtype)
        for axis, x in enumerate(sorted_position):
            apart = x[index] - x[at][:, None, None]
            if sides is not None:
                apart = apart - sides[axis] * jnp.round(apart / sides[axis])
            square = square + apart**2
        found = (k < count[:, :, None]) & (square < spec.reach**2) & (index != at[:, None, None])
        spare = words * WORD - runs * capacity
        found = jnp.pad(found.reshape(-1, runs * capacity), ((0, 0), (0, spare)))
        marks = sum(
            marked.astype(jnp.uint32) << jnp.uint32(bit)
            for bit, marked in enumerate(jnp.split(found, WORD, axis=1))
        )
        chosen, number = places(marks, slots)
        run = jnp.minimum(chosen // capacity, runs - 1)
        low, start, end = (jnp.take_along_axis(a, run, axis=1) for a in (low, start, end))
        sender = order[member(low, start, end, chosen - run * capacity)]
        return jnp.where(chosen < WORD * words, sender, n - 1), number

    size = max(1, min(portion().candidates // (words * WORD), n))
    blocks = -(-n // size)
    at = jnp.minimum(jnp.arange(blocks * size, dtype=jnp.int32), n - 1)
    split = (at.reshape(blocks, size), place[order][at].reshape(blocks, size, d))
    table, neighbours = jax.lax.map(rows, split)
    rank = jnp.zeros(n, jnp.int32).at[order].set(jnp.arange(n, dtype=jnp.int32))
    senders = table.reshape(-1, slots)[:n][rank]
    senders = jnp.where(mask[:, None], senders, n - 1).T
    most = jnp.max(jnp.where(mask[order], neighbours.reshape(-1)[:n], 0))
    fullest = jnp.max(_runs(jnp.diff(first).reshape(-1, along)))
    return NeighbourList(
        senders=senders,
        position=position,
        slots=most,
        run=fullest,
        complete=(most <= slots) & (fullest <= capacity) & _fits(spec, sides),
    )


def _fits(spec: Neighbours, sides: Array | np.ndarray | None) -> Bool[Array, ""]:
    """Whether no pair within reach is more than two cells apart, and none has two near images."""
    if sides is None:
        return jnp.array(True)
    assert spec.sizes is not None
    grid, sides = np.asarray(spec.sizes.grid), jnp.asarray(sides)
    cells = (grid <= 5) | (2 * sides >= spec.reach * grid * (1 - 1e-6))
    return jnp.all(cells & (sides >= 2 * spec.cutoff))


def _runs(inside: Int[Array, "l c"] | np.ndarray) -> Int[Array, "l c"]:
    """Bodies within reach of each cell along its line, from those in every cell."""
    around = jnp.asarray([jnp.roll(inside, -k, axis=1) for k in _around(inside.shape[1])])
    return jnp.sum(around, axis=0, dtype=jnp.int32)


def _around(cells: int) -> range:
    """Steps to the cells within reach along an axis, none of them twice."""
    return range(-2, 3) if cells >= 5 else range(cells)


def _cells(
    position: Vectors, sides: Array | np.ndarray | None, reach: float, grid: tuple[int, ...]
) -> Int[Array, "n d"]:
    """The cell of each body along each axis."""
    along = jnp.asarray(grid, jnp.int32)[None]
    if sides is None:
        cells = jnp.floor(2 * position / reach)
        return jnp.mod(cells, along.astype(position.dtype)).astype(jnp.int32)
    share = position / sides[None]
    place = ((share - jnp.floor(share)) * along.astype(position.dtype)).astype(jnp.int32)
    return jnp.minimum(place, along - 1)


def places(marks: UInt[Array, "b w"], most: int) -> tuple[Int[Array, "b {most}"], Int[Array, " b"]]:
    """Places of the bits set in the words of each row, at most so many, and their number.

    Bit k of word i stands for place `i + k w`; 32 w where there is none. Words are searched in
    turn: the places are not in order.
    """
    words = marks.shape[1]
    held = jax.lax.population_count(marks).astype(jnp.int32)
    up_to = jnp.cumsum(held, axis=1)
    k = jnp.arange(most, dtype=jnp.int32)[None]
    word = jnp.sum(up_to[:, :, None] <= k[None], axis=1).astype(jnp.int32)
    word = jnp.minimum(word, words - 1)
    rank = k - jnp.take_along_axis(up_to - held, word, axis=1)
    place = word + words * nth_bit(jnp.take_along_axis(marks, word, axis=1), rank)
    return jnp.where(k < up_to[:, -1:], place, WORD * words), up_to[:, -1]


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
