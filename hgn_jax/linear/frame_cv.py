"""Ridge chosen by cross-validation over whole frames."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array

from .._arguments import whole_number
from .base import LeastSquaresSolution
from .gram import Gram
from .groups import sums

LEAST, GREATEST, STEPS = 1e-13, 1e-4, 9
"""Squared ridges of the path, a decade apart, relative to the sum of the squared norms of the
scaled columns. Half a step more or less is tried as well."""


class FrameCV(eqx.Module):
    """Ridge that predicts held-out frames best, for `QR(ridge=FrameCV())`.

    Batches of whole frames are assigned to `folds` folds in turn, and each fold is predicted from
    the others. Use it if the misfit is an error of the model and not noise, as with energies and
    forces from quantum mechanics: errors of one frame are then correlated, and the ridge of
    greatest evidence is wrong by orders of magnitude. Rows are kept as normal equations of each
    fold. Data must be concrete, and are processed in batches.

    The ridge is relative to the root mean square norm of a group's columns (a body order, the pairs
    of one type), not to the norm of each column as other ridges: features that hardly act on the
    data, such as those of high degree, must not grow until they do.

    **Raises:** `ValueError` for fewer than 2 folds.
    """

    folds: int = eqx.field(default=5, static=True)

    def __check_init__(self) -> None:
        whole_number("folds", self.folds, 2)


def cross_validated(gram: Gram, groups: tuple[int, ...]) -> LeastSquaresSolution:
    """Solution with the ridge of least squared error on held-out rows: the best of a path, or one
    half a step beside it."""
    columns, rows = gram.columns, gram.rows.astype(gram.matrix.dtype)
    matrix, norm, eps = jnp.sum(gram.matrix, axis=0), gram.norm(), jnp.finfo(gram.matrix.dtype).eps
    eigenvalues = jnp.linalg.eigvalsh(matrix / (norm[:, None] * norm[None]))
    scale = gram.group_norm(groups)
    projected = jnp.sum(gram.projected, axis=0) / scale

    def scaled(matrix: Array) -> Array:
        return matrix / (scale[:, None] * scale[None])

    total = scaled(matrix)
    # Smaller ridges are lost in rounding errors, of which single precision has more.
    least = max(LEAST, 10 * columns**0.5 * float(eps))
    # At least two decades, also where rounding raises the least ridge.
    step = (max(GREATEST, 100 * least) / least) ** (1 / STEPS)
    identity = jnp.eye(columns, dtype=matrix.dtype)

    def without(fold: Array, square: Array) -> tuple[Array, Array]:
        """Coefficients from all other folds, and their squared error on this one."""
        # One fold at a time: a scaled copy of all would take as much memory as they do.
        own, right = scaled(gram.matrix[fold]), gram.projected[fold] / scale
        factor = jsl.cho_factor(total - own + square * identity)
        theta = jsl.cho_solve(factor, projected - right)
        return theta, theta @ own @ theta - 2 * theta @ right + gram.square[fold]

    def of_ridge(square: Array) -> tuple[Array, Array]:
        folds = jnp.arange(len(gram.square))
        return jax.lax.map(lambda fold: without(fold, square), folds)

    def held_out_errors(squares: Array) -> Array:
        # One factor at a time: vmap would hold one K x K factor for each ridge and fold.
        errors = jax.lax.map(lambda square: jnp.sum(of_ridge(square)[1]), squares)
        return jnp.where(jnp.isnan(errors), jnp.inf, errors)  # rounding broke the factorisation

    whole = columns * least * step ** jnp.arange(STEPS + 1, dtype=matrix.dtype)
    of_whole = held_out_errors(whole)
    halves = whole[jnp.argmin(of_whole)] * step ** jnp.array([-0.5, 0.5], matrix.dtype)
    tried_errors = jnp.concatenate([of_whole, held_out_errors(halves)])
    square = jnp.concatenate([whole, halves])[jnp.argmin(tried_errors)]
    of_folds, errors = of_ridge(square)  # solved again: the path keeps only errors
    held_out = jnp.sqrt(jnp.maximum(jnp.sum(errors), 0))

    factor = jsl.cho_factor(total + square * identity)
    theta = jsl.cho_solve(factor, projected)
    # A difference of squares, which rounding may make negative.
    misfit = jnp.maximum(jnp.sum(gram.square) - 2 * theta @ projected + theta @ total @ theta, 0)
    freedom = 1 - square * jnp.diagonal(jsl.cho_solve(factor, identity))
    # At the minimum |u|^2 - theta Z^T u equals |Z theta - u|^2 + ridge^2 |theta|^2.
    variance = jnp.maximum(jnp.sum(gram.square) - theta @ projected, jnp.finfo(matrix.dtype).tiny)
    determinant = 2 * jnp.sum(jnp.log(jnp.diagonal(factor[0])))  # log det A
    evidence = (columns * jnp.log(square) - determinant - rows * jnp.log(variance / rows)) / 2
    largest = eigenvalues[-1]
    rounding = columns * eps * largest
    size = gram.target_norm
    return LeastSquaresSolution(
        theta / scale,  # back to the units of the columns
        rank=jnp.sum(eigenvalues > rounding),
        condition=jnp.sqrt(largest / jnp.maximum(eigenvalues[0], rounding)),
        residual=jnp.sqrt(misfit) / size,
        ridge=jnp.broadcast_to(jnp.sqrt(square), len(groups)),
        group_dof=sums(freedom, groups),
        evidence=evidence,
        noise=held_out / jnp.sqrt(jnp.maximum(rows, 1)),
        cancellation=jnp.sum(jnp.abs(theta) * norm / scale) / size,
        method="cholesky",
        groups=groups,
        held_out=held_out / size,
        of_folds=of_folds / scale[None],
        ridge_scale=scale / norm,
    )
