"""Pairs within reach among many bodies, inside jit: a grid of cells, half the reach wide.

Bodies are sorted by grid cell. Cells in a line along the last axis are then a range of the sorted
bodies, and those within reach of a cell one range, a *run*, for each of the lines around it. The
bodies of all runs are tested at once; fixed shapes need a capacity for runs and for neighbours.
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


class Sizes(NamedTuple):
    """What must be known to compile: neighbours of a body, bodies of a run, grid cells along each
    axis, and if the cell is diagonal."""

    slots: int
    run: int
    grid: tuple[int, ...]
    diagonal: bool = False


class _Runs(NamedTuple):
    """Ranges `[b l]` of the sorted bodies, of which each goes round within its line."""

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
    """Neighbours nearer than `reach` (length) of each body, n - 1 in slots that are empty; with the
    greatest number of neighbours and of bodies in a run, which show if `sizes` suffice.

    In free space the grid repeats periodically; only distances tell which bodies are near.
    """
    n, d = position.shape
    slots, capacity, grid = sizes[:3]
    along = grid[-1]
    index = grid_index(position, cell, reach, grid)
    number = _line(index[:, :-1], grid) * along + index[:, -1]
    number = jnp.where(mask, number, math.prod(grid))
    order = jnp.argsort(number).astype(jnp.int32)
    cells = jnp.arange(math.prod(grid) + 1, dtype=jnp.int32)
    first = jnp.searchsorted(number[order], cells).astype(jnp.int32)
    lines = math.prod(len(steps_around(k)) for k in grid[:-1])
    sorted_position = [position[order, k] for k in range(d)]

    def neighbours(block: tuple[Array, Array]) -> tuple[Array, Array]:
        """Neighbours `[b m]` of the sorted bodies `body`, and their number."""
        body, index = block
        runs = _runs_around(index, first, grid)
        k = jnp.arange(capacity, dtype=jnp.int32)[None, None]
        wide = _Runs(*(a[:, :, None] for a in runs))
        candidate = jnp.minimum(wide.member(k), n - 1)
        dx = [x[candidate] - x[body][:, None, None] for x in sorted_position]
        if cell is not None:
            dx = cell.minimum_image_components(dx)
        square = sum((x**2 for x in dx), start=jnp.zeros(candidate.shape, position.dtype))
        near = (k < wide.bodies) & (square < reach**2) & (candidate != body[:, None, None])
        place, number = unpack(pack(near.reshape(-1, lines * capacity)), slots)
        line = jnp.minimum(place // capacity, lines - 1)
        chosen = _Runs(*(jnp.take_along_axis(a, line, axis=1) for a in runs))
        sender = order[jnp.minimum(chosen.member(place - line * capacity), n - 1)]
        return jnp.where(place < WORD * words_for(lines * capacity), sender, n - 1), number

    size = max(1, min(portion().candidates // (words_for(lines * capacity) * WORD), n))
    blocks = -(-n // size)
    body = jnp.minimum(jnp.arange(blocks * size, dtype=jnp.int32), n - 1)
    split = (body.reshape(blocks, size), index[order][body].reshape(blocks, size, d))
    table, counts = jax.lax.map(neighbours, split)
    rank = jnp.zeros(n, jnp.int32).at[order].set(jnp.arange(n, dtype=jnp.int32))
    senders = table.reshape(-1, slots)[:n][rank]
    senders = jnp.where(mask[:, None], senders, n - 1).T
    most = jnp.max(jnp.where(mask[order], counts.reshape(-1)[:n], 0))
    fullest = jnp.max(run_lengths(jnp.diff(first).reshape(-1, along)))
    return senders, most, fullest


def grid_index(
    position: Vectors, cell: Cell | None, reach: float, grid: tuple[int, ...]
) -> Int[Array, "n d"]:
    """Grid cell of each body along each axis."""
    cells = jnp.asarray(grid, jnp.int32)[None]
    if cell is None:
        unbounded = jnp.floor(2 * position / reach)
        return jnp.mod(unbounded, cells.astype(position.dtype)).astype(jnp.int32)
    fraction = cell.fractional(position)
    index = ((fraction - jnp.floor(fraction)) * cells.astype(position.dtype)).astype(jnp.int32)
    return jnp.minimum(index, cells - 1)


def run_lengths(bodies: Int[Array, "l c"] | np.ndarray) -> Int[Array, "l c"]:
    """Bodies within reach of each grid cell along its line, from those in every cell."""
    around = [jnp.roll(bodies, -k, axis=1) for k in steps_around(bodies.shape[1])]
    return jnp.sum(jnp.asarray(around), axis=0, dtype=jnp.int32)


def steps_around(cells: int) -> range:
    """Steps to the grid cells within reach along an axis, none of them twice."""
    return range(-2, 3) if cells >= 5 else range(cells)


def _line(across: Int[Array, "... a"], grid: tuple[int, ...]) -> Int[Array, "..."]:
    """Number of the line of grid cells with these places along all axes but the last."""
    strides = np.array([math.prod(grid[k + 1 : -1]) for k in range(len(grid) - 1)], np.int32)
    strides = strides.reshape([1] * (across.ndim - 1) + [-1])
    return jnp.sum(across * jnp.asarray(strides), axis=-1, dtype=jnp.int32)


def _runs_around(index: Int[Array, "b d"], first: Int[Array, " c"], grid: tuple[int, ...]) -> _Runs:
    """Runs within reach of the grid cells `index`; `first` has each cell's first sorted body."""
    *across, along = grid
    steps = list(itertools.product(*[steps_around(k) for k in across]))
    towards = jnp.asarray(steps, jnp.int32).reshape(1, len(steps), len(across))
    lines = (index[:, None, :-1] + towards) % jnp.asarray(across, jnp.int32)[None, None]
    line = along * _line(lines, grid)
    start, end = first[line], first[line + along]
    if len(steps_around(along)) == along:
        return _Runs(start, end - start, start, end)
    low, high = ((index[:, -1:] + step) % along for step in (-2, 2))
    run_start, run_end = first[line + low], first[line + high + 1]
    wrapped = jnp.where(high < low, end - start, 0)
    return _Runs(run_start, run_end - run_start + wrapped, start, end)
