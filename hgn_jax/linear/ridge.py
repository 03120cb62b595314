"""Ridge chosen from the data: a path of ridges from one singular value decomposition."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .triangle import Triangle, column_scale

STEPS = 128
"""Number of ridges on a path."""


class RidgePath(eqx.Module):
    r"""Figures of merit of every ridge $\lambda$ `[p]`, relative to the column norms.

    With singular values s of the column-scaled R, $b = U^T Q^T u$, $f = \lambda^2 / (s^2 +
    \lambda^2)$ and n rows:

    - `effective_dof`, the effective degrees of freedom $\gamma = \sum_i (1 - f_i)$;
    - `residual`, $|Z\theta - u|$, its square $rest^2 + \sum_i f_i^2 b_i^2$;
    - `noise`, the standard deviation of a weighted row under the evidence,
      $\sigma^2 = (rest^2 + \sum_i f_i b_i^2) / n$;
    - `evidence`, the log marginal likelihood of Bayesian linear regression with prior
      $\theta_k |z_k| \sim N(0, \sigma^2 / \lambda^2)$, up to a constant:
      $-\frac{n}{2} \log \sigma^2 + \frac{1}{2} \sum_i \log f_i$ (MacKay, Neural Comput. 4, 1992);
    - `gcv`, generalised cross-validation, $n |Z\theta - u|^2 / (n - \gamma)^2$ (Golub, Heath,
      Wahba, Technometrics 21, 1979).
    """

    ridge: Float[Array, "*p"]
    effective_dof: Float[Array, "*p"]
    residual: Float[Array, "*p"]
    noise: Float[Array, "*p"]
    evidence: Float[Array, "*p"]
    gcv: Float[Array, "*p"]


def floor(dtype: jnp.dtype) -> float:
    """Least ridge, which keeps dependent columns from dividing by rounding errors."""
    return 5 * float(jnp.finfo(dtype).eps)


def ridges(dtype: jnp.dtype) -> Float[Array, " p"]:
    """Ridges from the floor to 30 times the column norms, evenly spaced in the logarithm."""
    low = floor(dtype)
    return low * (30 / low) ** jnp.linspace(0, 1, STEPS, dtype=dtype)


def spectrum(
    triangle: Triangle,
) -> tuple[Float[Array, " K"], Float[Array, " K"], Float[Array, "K K"]]:
    """Singular values s and right vectors V^T of the column-scaled R, and b = U^T Q^T u, of one
    target: (s, b, V^T)."""
    u, s, vt = jnp.linalg.svd(triangle.r / column_scale(triangle.r)[None], full_matrices=False)
    return s, u.T @ triangle.qu, vt


def path(
    triangle: Triangle,
    s: Float[Array, " K"],
    b: Float[Array, " K"],
    ridge: Float[Array, " p"],
) -> RidgePath:
    """Figures of merit of every ridge; s and b are from `spectrum`."""
    n = triangle.rows.astype(s.dtype)
    tiny = jnp.finfo(s.dtype).tiny
    # Squares of small targets would underflow.
    size = jnp.maximum(jnp.max(jnp.abs(b)), triangle.rest)
    size = jnp.where(size > 0, size, 1)
    b, rest = b / size, triangle.rest / size

    def at(ridge: Float[Array, ""]) -> RidgePath:
        f = ridge**2 / (s**2 + ridge**2)
        freedom = jnp.sum(1 - f)
        squares = rest**2 + jnp.sum((f * b) ** 2)
        variance = (rest**2 + jnp.sum(f * b**2)) / n
        evidence = (jnp.sum(jnp.log(f)) - n * jnp.log(jnp.maximum(variance, tiny))) / 2
        spare = jnp.maximum(n - freedom, jnp.finfo(s.dtype).eps * n)  # n columns leave no freedom
        gcv = n * squares / spare**2 * size**2
        noise = size * jnp.sqrt(variance)
        evidence = evidence - n * jnp.log(size)
        return RidgePath(ridge, freedom, size * jnp.sqrt(squares), noise, evidence, gcv)

    return jax.vmap(at)(ridge)


def keeping_digits(
    path: RidgePath,
    best: Int[Array, ""],
    s: Float[Array, " K"],
    b: Float[Array, " K"],
    vt: Float[Array, "K K"],
    target: Float[Array, ""],
) -> Int[Array, ""]:
    r"""Index of the first ridge, from `best` on, at which rounding errors of cancelling terms stay
    below a tenth of the residual; `target` is $|u|$.

    A smooth misfit is not noise: the evidence would let terms cancel until the rounding errors of
    predictions are as large as the misfit. A residual below the square root of the machine epsilon
    consists of rounding errors itself, and sets no bound.
    """
    eps = jnp.finfo(s.dtype).eps

    def loses_digits(k: Int[Array, ""]) -> Bool[Array, ""]:
        # Sizes of terms: coefficients of columns of unit norm.
        scaled = (s * b / (s**2 + path.ridge[k] ** 2)) @ vt
        lost = 10 * eps * jnp.sum(jnp.abs(scaled)) > path.residual[k]
        # The last condition stops the search at the greatest ridge.
        return lost & (path.residual[k] > jnp.sqrt(eps) * target) & (k < len(path.ridge) - 1)

    return jax.lax.while_loop(loses_digits, lambda k: k + 1, best)
