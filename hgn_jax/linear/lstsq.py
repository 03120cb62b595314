"""The reference: singular value decomposition with a cut."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .base import AbstractLeastSquares, LeastSquaresSolution, column_scale, describe


class LSTSQ(AbstractLeastSquares):
    """`jnp.linalg.lstsq` on the column-scaled matrix: simple, slower, and less accurate than QR.

    `rcond` cuts singular values below that fraction of the greatest; None is JAX's default. The
    derivative is NaN where singular values coincide, as those of dependent features do at zero:
    differentiate through `QR`.
    """

    rcond: float | None = eqx.field(default=None, static=True)

    def __call__(
        self, matrix: Float[Array, "r K"], target: Float[Array, " r"]
    ) -> LeastSquaresSolution:
        scale = column_scale(matrix)
        theta, _, _, singular = jnp.linalg.lstsq(matrix / scale[None], target, rcond=self.rcond)
        return describe(matrix, target, theta / scale, singular, jnp.zeros((), matrix.dtype))
