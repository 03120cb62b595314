"""Pairs within a cutoff, all periodic images included, found by vesin on the host."""

import numpy as np
import vesin  # type: ignore[import-untyped]

from .cell import Cell

GRID = 1e5
"""Most grid cells that vesin 0.6 makes; it divides by zero if that leaves an axis without any."""
MARGIN = 1 + 1e-9
"""Ratio of the searched distance to the cutoff: vesin omits pairs exactly at its cutoff."""


def pairs_within(
    position: np.ndarray, cutoff: float, cell: Cell | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs `[p 2]` at most `cutoff` (length) apart, each once, and their shifts `[p d]`, sorted.

    The distance of pair (i, j) is |x[j] - x[i] + shift @ cell|, with i < j, or i = j for a body and
    its own image. Positions `[n d]` need not be wrapped; d is 1 to 3.

    **Raises:** `ValueError` for more than three dimensions.
    """
    points = np.asarray(position, float)
    steps = np.zeros(points.shape, np.int64)
    if cell is not None:
        # vesin gets wrapped positions; the shifts are corrected below.
        steps = np.floor(_in_double(cell).fractional(points)).astype(np.int64)
        points = points - steps @ np.asarray(cell.matrix, float)
    pairs, shift = _search(points, cutoff, cell)
    # Wrapping changed x[j] - x[i] by -(steps[j] - steps[i]) @ cell.
    shift = shift + steps[pairs[:, 0]] - steps[pairs[:, 1]]
    swap = _reversed(pairs, shift)[:, None]
    pairs = np.where(swap, pairs[:, ::-1], pairs)
    shift = np.where(swap, -shift, shift)
    order = np.lexsort([*shift.T[::-1], *pairs.T[::-1]])  # reversed, since the last key sorts first
    return pairs[order], shift[order]


def most_neighbours(position: np.ndarray, reach: float, cell: Cell | None) -> int:
    """Greatest number of bodies within `reach` (length) of a body, itself included."""
    points = np.asarray(position, float)
    if cell is not None:
        points = _in_double(cell).wrap(points)
    pairs, _ = _search(points, reach, cell)
    if cell is not None and min(_in_double(cell).heights) < 2 * reach:
        # Several images of a body may be near; it counts once.
        pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    # `minlength`, because max() refuses an empty array.
    return 1 + int(np.bincount(pairs.ravel(), minlength=1).max())


def _search(points: np.ndarray, cutoff: float, cell: Cell | None) -> tuple[np.ndarray, np.ndarray]:
    """Pairs at most `cutoff` apart, each in one direction, and their shifts, in any order."""
    n, d = points.shape
    if d > 3:
        raise ValueError(f"neighbours can be searched in 1 to 3 dimensions, position has {d}")
    if n == 0:
        return np.zeros((0, 2), np.int64), np.zeros((0, d), np.int64)
    # Lengths in units of the cutoff: vesin refuses cutoffs below 1e-6.
    points = np.pad(points / cutoff, ((0, 0), (0, 3 - d)))  # vesin needs three dimensions
    box, reach = _box(points, None if cell is None else _in_double(cell).matrix / cutoff)
    search = vesin.NeighborList(cutoff=reach, full_list=False)
    pairs, shift, distance = search.compute(points, box, True, quantities="PSd")
    near = distance <= 1  # drops what only MARGIN, or a longer reach, has found
    return pairs[near].astype(np.int64), shift[near, :d].astype(np.int64)


def _box(points: np.ndarray, matrix: np.ndarray | None) -> tuple[np.ndarray, float]:
    """Cell `[3 3]` for vesin, and the distance to search, for pairs at most one apart.

    Axes that are not periodic get a lattice vector that no pair reaches across.
    """
    box = np.diag(np.ptp(points, axis=0) + 3)
    if matrix is not None:
        d = len(matrix)
        box[:d, :d] = matrix
    periodic = np.arange(3) < (0 if matrix is None else len(matrix))
    third, second, first = np.argsort(Cell(box).heights)
    # vesin divides too large a grid by one factor along all axes, which can leave a short axis
    # without cells. Axes that are not periodic are therefore made long enough.
    for axis, others in ((second, [first]), (third, [first, second])):
        if not periodic[axis]:
            least = (np.prod(Cell(box).heights[others]) / GRID) ** (1 / len(others))
            box[axis, axis] = max(box[axis, axis], least + 2)
    # Periodic axes must keep their length: a longer reach gives a grid of fewer cells instead.
    reach, heights = MARGIN, Cell(box).heights
    if min(_grid(heights, reach)) * (GRID / np.prod(_grid(heights, reach))) ** (1 / 3) < 1.01:
        while np.prod(_grid(heights, reach)) > GRID:
            reach *= 1.2
    return box, reach


def _grid(heights: np.ndarray, reach: float) -> np.ndarray:
    """Number of vesin's grid cells along each axis, before it applies its limit."""
    return np.maximum(1, np.trunc(heights / reach))


def _in_double(cell: Cell) -> Cell:
    return Cell(np.asarray(cell.matrix, float))


def _reversed(pairs: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """True for pairs in the wrong order: i > j, or i = j and the first non-zero shift negative."""
    step = np.take_along_axis(shift, np.argmax(shift != 0, axis=1)[:, None], axis=1)[:, 0]
    return (pairs[:, 0] > pairs[:, 1]) | ((pairs[:, 0] == pairs[:, 1]) & (step < 0))
