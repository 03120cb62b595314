"""Removes rows from a triangle."""

import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Bool, Float

from .triangle import Triangle, column_scale

FLOOR = 1e3
"""Ridge, in machine epsilons relative to the column norms, that keeps dependent columns from
dividing by rounding errors."""
EXCESS = 0.01
"""Share by which removed rows may exceed all rows in some direction, because of rounding."""


def downdated(triangle: Triangle, removed: Triangle) -> tuple[Triangle, Bool[Array, ""]]:
    r"""Triangle without the rows of `removed`, and True if some of them cannot have been in it.

    With S the triangle and its target, $S = [R \; Q^T u; 0 \; rest]$, W that of the removed rows,
    and $W S^{-1} = U \, \mathrm{diag}(s) \, V^T$,
    $S^T S - W^T W = S^T V \, \mathrm{diag}(1 - s^2) \, V^T S$, so that a QR factorisation of
    $\mathrm{diag}(\sqrt{1 - s^2}) \, V^T S$ gives the result (Bjoerck, Numerical Methods for Least
    Squares Problems, section 3.2). It is accurate to rounding as long as s is not close to one.
    Where the removed rows alone determine a direction, half of the digits are lost. Rows that are
    part of the triangle have s of at most one.
    """
    eps = jnp.finfo(triangle.r.dtype).eps
    # The target is one more column, so that the residual is downdated, too.
    above, below = _system(triangle), _system(removed)
    scale = column_scale(above)
    # Below the triangle, the shift makes it regular: W S^-1 exists even for dependent columns.
    shift = FLOOR * eps * jnp.eye(len(scale), dtype=above.dtype)
    s = jnp.linalg.qr(jnp.concatenate([above / scale[None], shift]), mode="r")
    shares = jsl.solve_triangular(s, (below / scale[None]).T, trans=1).T
    _, share, axes = jnp.linalg.svd(shares)
    kept = jnp.sqrt(jnp.maximum((1 - share) * (1 + share), 0))  # 1 - s^2 without cancellation
    r = jnp.linalg.qr(kept[:, None] * (axes @ s), mode="r") * scale[None]
    rows = triangle.rows - removed.rows
    foreign = ~(jnp.max(share) <= 1 + EXCESS) | (rows < 0)  # true for NaN, too
    columns = triangle.columns
    rest = jnp.abs(r[columns, columns])  # QR leaves the sign open
    return Triangle(
        r[:columns, :columns], r[:columns, columns], rest, rows, triangle.method
    ), foreign


def _system(triangle: Triangle) -> Float[Array, "k k"]:
    """The triangle with its target as one more column."""
    columns = triangle.columns
    system = jnp.zeros((columns + 1, columns + 1), triangle.r.dtype)
    system = system.at[:columns, :columns].set(triangle.r).at[:columns, columns].set(triangle.qu)
    return system.at[columns, columns].set(triangle.rest)
