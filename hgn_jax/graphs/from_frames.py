"""One batch from many frames, with edges by a cutoff. Assembled in NumPy, for speed."""

import math
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import ArrayLike
from jraph import GraphsTuple

from .cell import Cell, require_cell
from .pair_search import pairs_within
from .schema import check_names

COINCIDENT = 1e-5
"""Distance, relative to the cutoff, below which two bodies count as coincident."""


def from_frames(
    position: Sequence[np.ndarray],
    *,
    cutoff: float | int,
    cell: Sequence[np.ndarray] | None = None,
    nodes: Mapping[str, ArrayLike] | None = None,
    globals_: Mapping[str, ArrayLike] | None = None,
    dtype: DTypeLike | None = None,
    names: Sequence[str] | None = None,
) -> GraphsTuple:
    """Batch of frames, in each of which bodies at most `cutoff` (length) apart are joined.

    **Arguments:**

    - `position`: `[n d]` for every frame (length). Frames may differ in n, but not in d, which is
        1 to 3.
    - `cell`: lattice vectors as rows `[d d]` for every frame (length). Bodies are joined to all
        images within the cutoff, however small the cell. None if nothing is periodic.
    - `nodes`, `globals_`: further arrays by name, of all nodes `[sum of n, ...]` and of all frames
        `[g ...]`.
    - `dtype`: dtype of floating arrays; None for JAX's default. Pairs are searched in double
        precision.
    - `names`: names of the frames in errors; None for "frame 0", "frame 1", ...

    **Raises:** `ValueError` for a cutoff that is not positive and finite, no frames, positions that
    are not finite, cells that are singular, and two bodies at the same position.
    """
    if not 0 < cutoff < math.inf:
        raise ValueError(f"cutoff must be positive and finite, got {cutoff}")
    if not len(position):
        raise ValueError("need at least one frame")
    cutoff = float(cutoff)
    nodes, globals_ = nodes or {}, globals_ or {}
    check_names("nodes", nodes)
    check_names("globals", globals_)
    names = [f"frame {k}" for k in range(len(position))] if names is None else names
    points = [np.asarray(x, float) for x in position]
    d = points[0].shape[-1]
    for name, x in zip(names, points):
        _check_sites(name, x, d)
    matrices = [None] * len(points) if cell is None else [np.asarray(c, float) for c in cell]
    senders, receivers, shifts, n_edge = [], [], [], []
    start = 0
    for name, x, matrix in zip(names, points, matrices, strict=True):
        if matrix is not None:
            require_cell(matrix, f"{name}: cell")
        pairs, shift = pairs_within(x, cutoff, None if matrix is None else Cell(matrix))
        # Without a cell all shifts are zero.
        _check_coincident(name, x, pairs, shift if matrix is None else shift @ matrix, cutoff)
        senders += [pairs[:, 0] + start, pairs[:, 1] + start]
        receivers += [pairs[:, 1] + start, pairs[:, 0] + start]
        if matrix is not None:
            shifts += [shift, -shift]
        n_edge.append(2 * len(pairs))
        start += len(x)
    dtype = jnp.result_type(float) if dtype is None else np.dtype(dtype)

    def array(values: ArrayLike) -> jnp.ndarray:
        values = np.asarray(values)
        # Species and flags keep their own dtypes.
        return jnp.asarray(values, dtype if values.dtype.kind == "f" else None)

    def integers(values: Sequence[np.ndarray]) -> jnp.ndarray:
        return jnp.asarray(np.concatenate(values).astype(np.int32))

    cells = {} if cell is None else {"cell": array(np.stack(matrices))}  # type: ignore[arg-type]
    return GraphsTuple(
        nodes={"position": array(np.concatenate(points))} | {k: array(v) for k, v in nodes.items()},
        edges={"shift": integers(shifts)} if cell is not None else {},
        senders=integers(senders),
        receivers=integers(receivers),
        globals=cells | {k: array(v) for k, v in globals_.items()},
        n_node=jnp.asarray([len(x) for x in points], jnp.int32),
        n_edge=jnp.asarray(n_edge, jnp.int32),
    )


def _check_sites(name: str, x: np.ndarray, d: int) -> None:
    if x.ndim != 2 or not x.size or x.shape[1] != d:
        raise ValueError(f"{name}: positions must be [n {d}] with at least one body, got {x.shape}")
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        raise ValueError(f"{name}: the position of atom {int(np.argmax(bad))} is NaN or Inf")


def _check_coincident(
    name: str, x: np.ndarray, pairs: np.ndarray, image: np.ndarray, cutoff: float
) -> None:
    vector = x[pairs[:, 1]] - x[pairs[:, 0]] + image
    near = np.sum(vector**2, axis=1) < (COINCIDENT * cutoff) ** 2
    if near.any():
        i, j = pairs[np.argmax(near)].tolist()
        raise ValueError(f"{name}: atoms {i} and {j} are at the same position")
