"""Reference solver: truncated singular value decomposition."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .base import AbstractLeastSquares, LeastSquaresSolution, describe, residual
from .gram import Gram
from .triangle import Method, Triangle, column_scale


class LSTSQ(AbstractLeastSquares):
    """`jnp.linalg.lstsq` on the column-scaled triangle: simple, and less accurate than `QR`.

    Singular values below `rcond` times the greatest are cut; None takes the machine epsilon times
    the number of rows or columns, whichever is greater. Derivatives are those for a small ridge,
    not for the cut.
    """

    rcond: float | None = eqx.field(default=None, static=True)
    folds: int = eqx.field(default=0, init=False, static=True)

    def method(self, matrix: Float[Array, "r K"]) -> Method:
        return "householder"

    def _solve(self, triangle: Triangle | Gram, groups: tuple[int, ...]) -> LeastSquaresSolution:
        triangle = triangle.triangle()
        scale = column_scale(triangle.r)
        dtype = triangle.r.dtype
        larger = jnp.maximum(triangle.rows, triangle.columns).astype(dtype)
        cut = (
            larger * jnp.finfo(dtype).eps if self.rcond is None else jnp.asarray(self.rcond, dtype)
        )
        scaled = triangle.r / scale[None]
        # Already scaled: the cut is relative to the greatest singular value of unit columns.
        theta, _, rank, singular = jnp.linalg.lstsq(
            scaled,
            triangle.qu,
            rcond=cut,  # type: ignore[arg-type]
        )
        misfit = residual(triangle, theta / scale)
        spare = jnp.maximum(triangle.rows.astype(dtype) - rank.astype(dtype), 1)
        # `lstsq` keeps the singular vectors to itself, hence a second decomposition.
        # Share of every column in the kept directions.
        _, _, directions = jnp.linalg.svd(scaled, full_matrices=False)
        kept = jnp.arange(len(singular)) < rank  # singular values descend
        freedom = jnp.sum(jnp.where(kept[:, None], directions**2, 0), axis=0)
        ridge, evidence = jnp.zeros(len(groups), dtype), jnp.asarray(-jnp.inf, dtype)
        noise = misfit / jnp.sqrt(spare)
        return describe(triangle, theta / scale, singular, ridge, freedom, evidence, noise, groups)
