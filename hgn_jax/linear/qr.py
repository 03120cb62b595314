"""Column-scaled Householder QR with a tiny ridge: the default solver."""

import equinox as eqx
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float

from .base import AbstractLeastSquares, LeastSquaresSolution, column_scale, describe


class QR(AbstractLeastSquares):
    r"""Householder QR of $[Z/s \; u; \lambda I \; 0]$, s the column norms; only R is formed.

    Random features are nearly dependent; unpivoted QR of the scaled columns keeps more digits than
    an SVD with a cut, and the ridge $\lambda$, by augmentation, keeps it from dividing by rounding
    errors. The normal equations would square the condition number. `ridge` is relative to the
    column norms; None means five times the rounding unit.

    Golub and Van Loan, Matrix Computations, 4th ed., sections 5.3 and 6.1.
    """

    ridge: float | None = eqx.field(default=None, static=True)

    def __call__(
        self, matrix: Float[Array, "r K"], target: Float[Array, " r"]
    ) -> LeastSquaresSolution:
        columns = matrix.shape[1]
        dtype = matrix.dtype
        ridge = jnp.asarray(5 * jnp.finfo(dtype).eps if self.ridge is None else self.ridge, dtype)
        scale = column_scale(matrix)
        system = jnp.concatenate([matrix / scale[None], target[:, None]], axis=1)
        below = jnp.concatenate(
            [ridge * jnp.eye(columns, dtype=dtype), jnp.zeros((columns, 1), dtype)], axis=1
        )
        triangle = jnp.linalg.qr(jnp.concatenate([system, below]), mode="r")
        r, qu = triangle[:columns, :columns], triangle[:columns, columns]
        theta = jsl.solve_triangular(r, qu) / scale
        squares = jnp.linalg.svd(r, compute_uv=False) ** 2
        singular = jnp.sqrt(jnp.maximum(squares - ridge**2, 0))
        return describe(matrix, target, theta, singular, ridge)
