"""Evidence of one ridge per group of columns, and its derivatives."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float

from .base import augmented
from .groups import of_columns, sums
from .triangle import Triangle


class GroupEvidence(eqx.Module):
    r"""Figures of merit of ridges $\lambda_g$ for G groups of $K_g$ columns, relative to the column
    norms.

    With S the column-scaled R, $\Lambda$ the ridge of every column, $A = S^T S + \Lambda^2$, t the
    coefficients of scaled columns and n rows:

    - `effective_dof`, the effective degrees of freedom of each group,
      $\gamma_g = K_g - \lambda_g^2 \, \mathrm{tr} (A^{-1})_{gg}$;
    - `noise`, the standard deviation of a weighted row under the evidence,
      $\sigma^2 = (|Z\theta - u|^2 + |\Lambda t|^2) / n$;
    - `evidence`, the log marginal likelihood with prior $t_g \sim N(0, \sigma^2 / \lambda_g^2)$,
      $-\frac{n}{2} \log \sigma^2 + \sum_g K_g \log \lambda_g - \frac{1}{2} \log \det A$, up to the
      constant that `RidgePath` leaves out;
    - `slope` and `curvature`, its derivatives with respect to $\log \lambda_g^2$. The slope is
      $\frac{1}{2} (\gamma_g - \lambda_g^2 |t_g|^2 / \sigma^2)$; it is zero at the fixed point of
      MacKay (Neural Comput. 4, 1992), $\lambda_g^2 = \sigma^2 \gamma_g / |t_g|^2$.
    """

    ridge: Float[Array, " G"]
    effective_dof: Float[Array, " G"]
    noise: Float[Array, ""]
    evidence: Float[Array, ""]
    slope: Float[Array, " G"]
    curvature: Float[Array, "G G"]


@jax.default_matmul_precision("highest")
def group_evidence(
    triangle: Triangle, groups: tuple[int, ...], ridge: Float[Array, " G"]
) -> GroupEvidence:
    """Figures of merit of these ridges, from one QR factorisation; `groups` are the widths K_g."""
    n = triangle.rows.astype(ridge.dtype)
    # Squares of small targets would underflow.
    size = jnp.maximum(jnp.max(jnp.abs(triangle.qu)), triangle.rest)
    size = jnp.where(size > 0, size, 1)
    qu, rest = triangle.qu / size, triangle.rest / size
    scaled = Triangle(triangle.r, qu, rest, triangle.rows, triangle.method)
    pull = of_columns(ridge, groups)
    r, qu, rest = augmented(scaled, pull)  # this rest includes |Lambda t|^2
    variance = jnp.maximum(rest**2 / n, jnp.finfo(ridge.dtype).tiny)  # exact fits: finite logarithm
    # Lambda A^-1 Lambda: no entry exceeds one, however small or large the ridges are.
    half = jsl.solve_triangular(r, jnp.diag(pull), trans=1)
    shrunk = half.T @ half
    t = pull * jsl.solve_triangular(r, qu) / jnp.sqrt(variance)  # Lambda t / sigma

    def in_groups(matrix: Float[Array, "K K"]) -> Float[Array, "G G"]:
        return sums(sums(matrix, groups).T, groups)

    prior, square = sums(jnp.diagonal(shrunk), groups), sums(t**2, groups)
    freedom = sums(1 - jnp.diagonal(shrunk), groups)
    determinants = jnp.sum(jnp.log(pull) - jnp.log(jnp.abs(jnp.diagonal(r))))  # signs are arbitrary
    curvature = in_groups(shrunk**2 + 2 * t[:, None] * shrunk * t[None])
    curvature += square[:, None] * square[None] / n - jnp.diag(prior + square)
    return GroupEvidence(
        ridge,
        freedom,
        noise=size * rest / jnp.sqrt(n),
        # The target was divided by its size above.
        evidence=determinants - n / 2 * jnp.log(variance) - n * jnp.log(size),
        slope=(freedom - square) / 2,
        curvature=curvature / 2,
    )
