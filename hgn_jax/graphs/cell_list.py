"""Neighbour search inside jit, by a grid of cells that are at least half the reach wide.

Bodies are sorted by grid cell, so that a line of cells along the last axis is a contiguous range of
the sorted bodies. On each line, the cells within reach of a given cell are one such range, a *run*.
Distances to the bodies of all runs are computed at once. Shapes are fixed under jit, so runs and
neighbours have capacities.
"""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .._block_sizes import portion
from .._types import NodeMask, Vectors
from ._bits import WORD, pack, unpack, words_for
from .cell import Cell
from .slabs import Capacity


class Sizes(NamedTuple):
    """Static sizes that a neighbour search is compiled for."""

    slots: int
    """Capacity for the neighbours of a body."""
    run: int
    """Capacity for the bodies of a run."""
    grid: tuple[int, ...]
    """Number of grid cells along each axis."""
    diagonal: bool = False
    """True if the periodic cell is diagonal."""
    slabs: Capacity | None = None
    """Sizes of a slab, if bodies are divided between devices."""


SPARE = 1.2
"""Ratio of a capacity to the number that is needed."""


def with_spare(needed: int) -> int:
    """An even capacity for that number, with some to spare."""
    return 2 * int(SPARE * needed / 2 + 2)


class _Runs(NamedTuple):
    """Ranges `[b l]` of the sorted bodies, for l lines around b bodies; periodic within a line."""

    first: Int[Array, "b l"]
    bodies: Int[Array, "b l"]
    line_start: Int[Array, "b l"]
    line_end: Int[Array, "b l"]

    def member(self, k: Int[Array, "..."]) -> Int[Array, "..."]:
        """The k-th sorted body of each run."""
        index = self.first + k
        return jnp.where(index < self.line_end, index, index - self.line_end + self.line_start)


def search(
    position: Vectors, mask: NodeMask, cell: Cell | None, reach: float, sizes: Sizes
) -> tuple[Int[Array, "m n"], Int[Array, ""], Int[Array, ""]]:
    """Neighbours nearer than `reach` (length) of each body; empty slots hold n - 1.

    Also returns the greatest numbers of neighbours and of bodies in a run: if one exceeds its
    capacity in `sizes`, neighbours are missing.
    """
    n, d = position.shape
    slots, capacity, grid = sizes[:3]
    along = grid[-1]
    index = grid_index(position, cell, reach, grid)
    grid_cell = _line(index[:, :-1], grid) * along + index[:, -1]
    # Padding is sorted behind the last grid cell, where no run ends.
    grid_cell = jnp.where(mask, grid_cell, math.prod(grid))
    order = jnp.argsort(grid_cell).astype(jnp.int32)
    # One more than there are cells, so that first[c + 1] is where cell c stops.
    cells = jnp.arange(math.prod(grid) + 1, dtype=jnp.int32)
    first = jnp.searchsorted(grid_cell[order], cells).astype(jnp.int32)
    lines = math.prod(len(steps_around(k)) for k in grid[:-1])
    sorted_position = [position[order, k] for k in range(d)]  # arrays [n d] with a small d are slow

    def neighbours(block: tuple[Array, Array]) -> tuple[Array, Array]:
        """Neighbours `[b m]` of a block of b sorted bodies, and their numbers `[b]`."""
        body, index = block
        runs = _runs_around(index, first, grid)
        k = jnp.arange(capacity, dtype=jnp.int32)[None, None]
        # Candidates [b lines capacity]: the k-th body of every run.
        wide = _Runs(*(a[:, :, None] for a in runs))
        candidate = jnp.minimum(wide.member(k), n - 1)  # past the end of a run; `near` drops them
        dx = [x[candidate] - x[body][:, None, None] for x in sorted_position]
        if cell is not None:
            dx = cell.minimum_image_components(dx)
        square = sum((x**2 for x in dx), start=jnp.zeros(candidate.shape, position.dtype))
        near = (k < wide.bodies) & (square < reach**2) & (candidate != body[:, None, None])
        entry, count = unpack(pack(near.reshape(-1, lines * capacity)), slots)
        line = jnp.minimum(entry // capacity, lines - 1)  # empty slots hold a greater index
        chosen = _Runs(*(jnp.take_along_axis(a, line, axis=1) for a in runs))
        sender = order[jnp.minimum(chosen.member(entry - line * capacity), n - 1)]
        return jnp.where(entry < WORD * words_for(lines * capacity), sender, n - 1), count

    # The candidates of a block are in memory together.
    size = max(1, min(portion().candidates // (words_for(lines * capacity) * WORD), n))
    blocks = -(-n // size)
    # The last block is filled up with copies of the last body, which are cut off below.
    body = jnp.minimum(jnp.arange(blocks * size, dtype=jnp.int32), n - 1)
    split = (body.reshape(blocks, size), index[order][body].reshape(blocks, size, d))
    table, counts = jax.lax.map(neighbours, split)
    # The inverse of the sort, to return to the order of the bodies.
    rank = jnp.zeros(n, jnp.int32).at[order].set(jnp.arange(n, dtype=jnp.int32))
    senders = table.reshape(-1, slots)[:n][rank]
    senders = jnp.where(mask[:, None], senders, n - 1).T  # slot by slot, as in `SlottedGraphs`
    most = jnp.max(jnp.where(mask[order], counts.reshape(-1)[:n], 0))  # counts are in sorted order
    fullest = jnp.max(run_lengths(jnp.diff(first).reshape(-1, along)))
    return senders, most, fullest


def grid_index(
    position: Vectors, cell: Cell | None, reach: float, grid: tuple[int, ...]
) -> Int[Array, "n d"]:
    """Index of each body's grid cell along each axis.

    In free space the grid repeats periodically: distances decide which bodies are near.
    """
    cells = jnp.asarray(grid, jnp.int32)[None]  # axes are explicit: the tests forbid rank promotion
    if cell is None:
        unbounded = jnp.floor(2 * position / reach)
        # Before the cast: the index of a distant body may exceed 32 bits.
        return jnp.mod(unbounded, cells.astype(position.dtype)).astype(jnp.int32)
    fraction = cell.fractional(position)
    index = ((fraction - jnp.floor(fraction)) * cells.astype(position.dtype)).astype(jnp.int32)
    # A fraction just below one times the number of cells may round up to it.
    return jnp.minimum(index, cells - 1)


def run_lengths(bodies: Int[Array, "l c"] | np.ndarray) -> Int[Array, "l c"]:
    """Number of bodies in the run around each grid cell, from the number in every cell."""
    around = [jnp.roll(bodies, -k, axis=1) for k in steps_around(bodies.shape[1])]
    return jnp.sum(jnp.asarray(around), axis=0, dtype=jnp.int32)


def steps_around(cells: int) -> range:
    """Offsets of the grid cells within reach along an axis, without duplicates on short axes."""
    return range(-2, 3) if cells >= 5 else range(cells)


def _line(across: Int[Array, "... a"], grid: tuple[int, ...]) -> Int[Array, "..."]:
    """Number of the line of grid cells with these indices along all axes but the last."""
    strides = np.array([math.prod(grid[k + 1 : -1]) for k in range(len(grid) - 1)], np.int32)
    strides = strides.reshape([1] * (across.ndim - 1) + [-1])
    return jnp.sum(across * jnp.asarray(strides), axis=-1, dtype=jnp.int32)


def _runs_around(index: Int[Array, "b d"], first: Int[Array, " c"], grid: tuple[int, ...]) -> _Runs:
    """Runs around the grid cells `index`; `first` holds the first sorted body of each cell."""
    *across, along = grid
    steps = list(itertools.product(*[steps_around(k) for k in across]))
    towards = jnp.asarray(steps, jnp.int32).reshape(1, len(steps), len(across))
    lines = (index[:, None, :-1] + towards) % jnp.asarray(across, jnp.int32)[None, None]
    line = along * _line(lines, grid)
    start, end = first[line], first[line + along]
    # The run is the whole line. Wrapping it would count cells twice.
    if len(steps_around(along)) == along:
        return _Runs(start, end - start, start, end)
    low, high = ((index[:, -1:] + step) % along for step in (-2, 2))
    run_start, run_end = first[line + low], first[line + high + 1]
    # A run that passes the end of its line continues at the start of it.
    wrapped = jnp.where(high < low, end - start, 0)
    return _Runs(run_start, run_end - run_start + wrapped, start, end)
