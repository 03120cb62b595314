"""Cells for systems that repeat along some axes only, or along none."""

import numpy as np

from .cell import Cell, is_singular


def enclosing_cell(
    position: np.ndarray, matrix: np.ndarray | None, periodic: np.ndarray, cutoff: float
) -> np.ndarray:
    """Cell `[d d]` in which no pair within `cutoff` (length) crosses an axis without period.

    Lattice vectors of periodic axes stay. The others stay too if they are long enough, else they
    become perpendicular to the periodic ones, of the bodies' extent plus twice the cutoff.
    """
    d = position.shape[1]
    closed = np.asarray(periodic, bool)
    if matrix is not None and not is_singular(matrix):
        if closed.all():
            return matrix
        cell = Cell(np.asarray(matrix, float))
        extent = np.ptp(cell.fractional(position), axis=0) * cell.heights
        if (closed | (cell.heights > extent + 1.001 * cutoff)).all():
            return matrix
    rows = np.zeros((d, d)) if matrix is None else np.array(matrix, float)
    normals = np.eye(d)
    if closed.any():
        normals = np.linalg.svd(rows[closed])[2][closed.sum() :]
    lengths = np.ptp(position @ normals.T, axis=0) + 2 * cutoff
    rows[~closed] = normals * lengths[:, None]
    return rows
