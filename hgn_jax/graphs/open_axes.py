"""Cells for systems that are periodic along some axes only, or along none."""

import numpy as np

from .cell import Cell, is_singular


def enclosing_cell(
    position: np.ndarray, matrix: np.ndarray | None, periodic: np.ndarray, cutoff: float
) -> np.ndarray:
    """Cell `[d d]` in which no pair within `cutoff` (length) crosses an axis that is not periodic.

    Lattice vectors of periodic axes are kept, and so are the others if they are long enough.
    Otherwise these are replaced by vectors perpendicular to the periodic ones, as long as the
    bodies' extent plus twice the cutoff.

    **Arguments:**

    - `position`: `[n d]` (length).
    - `matrix`: `[d d]`, lattice vectors as rows (length); None if there are none.
    - `periodic`: `[d]`, True for periodic axes.
    """
    d = position.shape[1]
    periodic = np.asarray(periodic, bool)
    if matrix is not None and not is_singular(matrix):
        if periodic.all():
            return matrix
        cell = Cell(np.asarray(matrix, float))
        extent = np.ptp(cell.fractional(position), axis=0) * cell.heights
        if (periodic | (cell.heights > extent + 1.001 * cutoff)).all():  # a margin for rounding
            return matrix
    rows = np.zeros((d, d)) if matrix is None else np.array(matrix, float)
    normals = np.eye(d)
    if periodic.any():
        # The last right singular vectors are perpendicular to all rows.
        normals = np.linalg.svd(rows[periodic])[2][periodic.sum() :]
    lengths = np.ptp(position @ normals.T, axis=0) + 2 * cutoff
    rows[~periodic] = normals * lengths[:, None]
    return rows
