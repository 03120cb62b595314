"""The least-squares seam."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class LeastSquaresSolution(eqx.Module):
    """Coefficients and what is known of their quality."""

    theta: Float[Array, " K"]
    rank: Int[Array, ""]
    """Singular values of the column-scaled matrix above the rounding level."""
    condition: Float[Array, ""]
    """Condition number of the column-scaled matrix, before the ridge; inf if singular."""
    residual: Float[Array, ""]
    """|Z theta - u| / |u| over the weighted rows."""
    ridge: Float[Array, ""]
    """lambda, relative to the column norms."""
    growth: Float[Array, ""]
    """sum_k |theta_k| |z_k| / |u|: by how much the terms exceed their sum. Its decimal logarithm
    is the number of digits lost to cancellation."""


class AbstractLeastSquares(eqx.Module):
    """Solves min |Z theta - u|^2 (+ ridge)."""

    @abstractmethod
    def __call__(
        self, matrix: Float[Array, "r K"], target: Float[Array, " r"]
    ) -> LeastSquaresSolution:
        """Z `[r K]`, already weighted, and u `[r]`."""


def column_scale(matrix: Float[Array, "r K"]) -> Float[Array, " K"]:
    """Norm of every column; one for columns that are all zero."""
    size = jnp.linalg.norm(matrix, axis=0)
    return jnp.where(size > 0, size, 1)


def describe(
    matrix: Float[Array, "r K"],
    target: Float[Array, " r"],
    theta: Float[Array, " K"],
    singular: Float[Array, " k"],
    ridge: Float[Array, ""],
) -> LeastSquaresSolution:
    """Completes a solution from the singular values of the column-scaled matrix."""
    largest, smallest = singular[0], singular[-1]
    rounding = max(matrix.shape) * jnp.finfo(matrix.dtype).eps * largest
    # Below the second level nothing is left of a singular value once the ridge is taken off.
    level = jnp.maximum(rounding, jnp.sqrt(rounding * ridge))
    regular = smallest > jnp.sqrt(jnp.finfo(matrix.dtype).eps * largest * ridge)
    size = jnp.linalg.norm(target)
    size = jnp.where(size > 0, size, 1)
    return LeastSquaresSolution(
        theta,
        rank=jnp.sum(singular > level),
        condition=jnp.where(regular, largest / jnp.where(regular, smallest, 1), jnp.inf),
        residual=jnp.linalg.norm(matrix @ theta - target) / size,
        ridge=ridge,
        growth=jnp.sum(jnp.abs(theta) * column_scale(matrix)) / size,
    )
