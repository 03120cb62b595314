"""Coefficients that must not be negative."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .base import LeastSquaresSolution, augmented, residual
from .gram import Gram
from .triangle import Triangle, column_scale


def nonnegative(
    triangle: Triangle | Gram, solution: LeastSquaresSolution, columns: tuple[bool, ...]
) -> LeastSquaresSolution:
    """The solution with the same ridges whose marked coefficients are zero or positive, and the
    residual that remains. Its other figures are those without signs. Itself if none is marked.

    The free columns are eliminated by a QR factorisation. The equations that are left hold the
    marked coefficients alone, so that their number decides the cost.

    **Raises:** `ValueError` for rows of `FrameCV`, whose folds have coefficients of their own.
    """
    if not any(columns):
        return solution
    if isinstance(triangle, Gram):
        raise ValueError(
            "coefficients that must not be negative need another ridge than FrameCV(): fit with "
            'solver=hgn.QR(ridge="evidence")'
        )
    rows = triangle
    if solution.prior is not None:
        rows = Triangle.merge([triangle, solution.prior.rows])
    r, qu, _ = augmented(rows, solution.column_ridge)
    marked = np.array(columns)
    # Free columns first, so that QR eliminates them from the rows below theirs.
    order, free = np.argsort(marked, kind="stable"), np.count_nonzero(~marked)
    system = jnp.linalg.qr(jnp.concatenate([r[:, order], qu[:, None]], axis=1), mode="r")
    # Rows below the free columns hold the marked ones alone. Scales are positive: signs stay.
    signed = least_squares(system[free:, free:-1], system[free:, -1])
    right = system[:free, -1] - system[:free, free:-1] @ signed
    unsigned = jax.scipy.linalg.solve_triangular(system[:free, :free], right)
    scaled = jnp.zeros_like(qu).at[order].set(jnp.concatenate([unsigned, signed]))
    theta = scaled / column_scale(rows.r)
    size = triangle.target_norm  # of the data alone, without the prior
    return dataclasses.replace(
        solution,
        theta=theta,
        residual=residual(triangle, theta) / size,
        cancellation=jnp.sum(jnp.abs(theta) * column_scale(triangle.r)) / size,
        held=jnp.asarray(marked) & (theta == 0),
    )


class _Search(NamedTuple):
    x: Float[Array, " K"]
    passive: Bool[Array, " K"]
    """Coefficients that are not held at zero."""
    steps: Int[Array, ""]
    going: Bool[Array, ""]


def least_squares(matrix: Float[Array, "r K"], target: Float[Array, " r"]) -> Float[Array, " K"]:
    """x without negative entries that minimises |Z x - u|, by the method of active sets (Lawson
    and Hanson, Solving Least Squares Problems, chapter 23)."""
    columns, eps = matrix.shape[1], jnp.finfo(matrix.dtype).eps
    # Below this, a slope is rounding.
    scale = column_scale(matrix) * jnp.linalg.norm(target)
    tolerance = 10 * (len(matrix) + columns) * eps * scale

    def unsigned(passive: Bool[Array, " K"]) -> Float[Array, " K"]:
        # Held columns get a row of their own in place of zeros: R stays regular, shapes stay fixed.
        held = jnp.diag(jnp.where(passive, 0, column_scale(matrix)))
        system = jnp.concatenate([jnp.where(passive[None], matrix, 0), held])
        q, r = jnp.linalg.qr(system)
        return jnp.where(
            passive, jax.scipy.linalg.solve_triangular(r, target @ q[: len(matrix)]), 0
        )

    def step(search: _Search) -> _Search:
        x, passive = search.x, search.passive
        best = unsigned(passive)
        crossing = passive & (best <= 0)
        # Share of the way to `best` at which a coefficient crosses zero.
        share = jnp.where(crossing, x / jnp.where(x > best, x - best, 1), jnp.inf)
        least = jnp.min(share, initial=1)
        inside = ~jnp.any(crossing)
        x = jnp.where(inside, best, x + least * (best - x))
        # Held coefficients compete to be freed; slopes at the level of rounding do not count.
        slope = jnp.where(passive, -jnp.inf, (target - matrix @ x) @ matrix - tolerance)
        steepest = jnp.argmax(slope)
        further = passive.at[steepest].set(True)
        # Those that reach zero first are held again; only a feasible minimum frees another one.
        passive = jnp.where(inside, further, passive & (share > least))
        going = ~inside | (slope[steepest] > 0)
        x = jnp.where(passive, x, 0)
        return _Search(x, passive, search.steps + 1, going)

    none = jnp.zeros(columns, matrix.dtype)
    search = _Search(none, jnp.zeros(columns, bool), jnp.asarray(0), jnp.asarray(True))
    # Rounding may make the sets cycle, hence a bound.
    return jax.lax.while_loop(lambda s: s.going & (s.steps < 10 * columns), step, search).x
