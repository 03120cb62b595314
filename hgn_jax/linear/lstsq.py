"""The reference: singular value decomposition with a cut."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .base import AbstractLeastSquares, LeastSquaresSolution, describe
from .triangle import Method, Triangle, column_scale


class LSTSQ(AbstractLeastSquares):
    """`jnp.linalg.lstsq` on the column-scaled triangle: simple, and less accurate than QR.

    `rcond` cuts singular values below that fraction of the greatest; None is JAX's default.
    Derivatives are those of the least ridge, not of the cut.
    """

    rcond: float | None = eqx.field(default=None, static=True)

    def method(self, matrix: Float[Array, "r K"]) -> Method:
        return "householder"

    def _solve(self, triangle: Triangle) -> LeastSquaresSolution:
        scale = column_scale(triangle.r)
        theta, _, rank, singular = jnp.linalg.lstsq(
            triangle.r / scale[None], triangle.qu, rcond=self.rcond
        )
        left = jnp.hypot(jnp.linalg.norm(triangle.r @ (theta / scale) - triangle.qu), triangle.rest)
        freedom = rank.astype(left.dtype)
        spare = jnp.maximum(triangle.rows.astype(left.dtype) - freedom, 1)
        ridge = jnp.zeros((), left.dtype)
        noise = left / jnp.sqrt(spare)
        return describe(triangle, theta / scale, singular, ridge, freedom, noise)
