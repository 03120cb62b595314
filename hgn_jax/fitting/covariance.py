"""Covariance of combinations of a fit's coefficients."""

import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jaxtyping import Array, Float

from ..linear.base import LeastSquaresSolution, factor
from ..linear.gram import Gram
from ..linear.triangle import Triangle


def covariance_of(
    triangle: Triangle | Gram,
    solution: LeastSquaresSolution,
    rows: Float[Array, "c _"],
    start: int,
) -> Float[np.ndarray, "c c"]:
    """Covariance of `rows` times the coefficients from column `start` on."""
    r, scale = factor(triangle, solution.column_ridge)
    own = slice(start, start + rows.shape[1])
    padded = jnp.zeros((len(rows), len(scale)), r.dtype).at[:, own].set(rows / scale[None, own])
    half = solution.noise * jsl.solve_triangular(r, padded.T, trans=1)
    return np.asarray(half.T @ half)
