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

LEAST, GREATEST, STEPS = 1e-11, 1e-4, 15
"""Squared ridges to try, relative to the greatest eigenvalue: half a decade apart."""


class FrameCV(eqx.Module):
    """Ridge that predicts held-out frames best, for `QR(ridge=FrameCV())`.

    Batches of whole frames are assigned to `folds` folds in turn, and each fold is predicted from
    the others. Use it if the misfit is an error of the model and not noise, as with energies and
    forces from quantum mechanics: errors of one frame are then correlated, and the ridge of
    greatest evidence is wrong by orders of magnitude. Rows are kept as normal equations of each
    fold. Data must be concrete, and are processed in batches.

    **Raises:** `ValueError` for fewer than 2 folds.
    """

    folds: int = eqx.field(default=5, static=True)

    def __check_init__(self) -> None:
        whole_number("folds", self.folds, 2)


def cross_validated(gram: Gram, groups: tuple[int, ...]) -> LeastSquaresSolution:
    """Solution with the ridge of least squared error on held-out rows."""
    norm = gram.norm()
    projected = jnp.sum(gram.projected, axis=0) / norm

    def scaled(matrix: Array) -> Array:
        return matrix / (norm[:, None] * norm[None])

    total = scaled(jnp.sum(gram.matrix, axis=0))
    columns, rows = gram.columns, gram.rows.astype(gram.matrix.dtype)
    eigenvalues = jnp.linalg.eigvalsh(total)
    largest = eigenvalues[-1]
    exponents = jnp.linspace(0, 1, STEPS, dtype=gram.matrix.dtype)
    # In single precision smaller ridges are lost in rounding errors.
    least = max(LEAST, 10 * columns * float(jnp.finfo(gram.matrix.dtype).eps))
    # At least two decades, also where rounding raises the least ridge.
    squares = least * (max(GREATEST, 100 * least) / least) ** exponents * largest
    identity = jnp.eye(columns, dtype=gram.matrix.dtype)

    def without(fold: Array, square: Array) -> tuple[Array, Array]:
        """Coefficients from all other folds, and their squared error on this one."""
        # One fold at a time: a scaled copy of all would take as much memory as they do.
        own, right = scaled(gram.matrix[fold]), gram.projected[fold] / norm
        factor = jsl.cho_factor(total - own + square * identity)
        theta = jsl.cho_solve(factor, projected - right)
        return theta, theta @ own @ theta - 2 * theta @ right + gram.square[fold]

    def of_ridge(square: Array) -> tuple[Array, Array]:
        folds = jnp.arange(len(gram.square))
        return jax.lax.map(lambda fold: without(fold, square), folds)

    # One factor at a time: vmap would hold one K x K factor for each ridge and fold.
    _, errors = jax.lax.map(of_ridge, squares)
    square = squares[jnp.argmin(jnp.sum(errors, axis=1))]
    of_folds, errors = of_ridge(square)  # solved again: the path keeps only errors
    held_out = jnp.sqrt(jnp.maximum(jnp.sum(errors), 0))

    factor = jsl.cho_factor(total + square * identity)
    theta = jsl.cho_solve(factor, projected)
    # A difference of squares, which rounding may make negative.
    misfit = jnp.maximum(jnp.sum(gram.square) - 2 * theta @ projected + theta @ total @ theta, 0)
    freedom = 1 - square * jnp.diagonal(jsl.cho_solve(factor, identity))
    # At the minimum |u|^2 - theta Z^T u equals |Z theta - u|^2 + ridge^2 |theta|^2.
    variance = jnp.maximum(
        jnp.sum(gram.square) - theta @ projected, jnp.finfo(gram.matrix.dtype).tiny
    )
    determinant = 2 * jnp.sum(jnp.log(jnp.diagonal(factor[0])))  # log det A
    evidence = (columns * jnp.log(square) - determinant - rows * jnp.log(variance / rows)) / 2
    rounding = columns * jnp.finfo(gram.matrix.dtype).eps * largest
    size = gram.target_norm
    return LeastSquaresSolution(
        theta / norm,  # back to the units of the columns
        rank=jnp.sum(eigenvalues > rounding),
        condition=jnp.sqrt(largest / jnp.maximum(eigenvalues[0], rounding)),
        residual=jnp.sqrt(misfit) / size,
        ridge=jnp.broadcast_to(jnp.sqrt(square), len(groups)),
        group_dof=sums(freedom, groups),
        evidence=evidence,
        noise=held_out / jnp.sqrt(jnp.maximum(rows, 1)),
        cancellation=jnp.sum(jnp.abs(theta)) / size,  # scaled columns have the norm 1
        method="cholesky",
        groups=groups,
        held_out=held_out / size,
        of_folds=of_folds / norm[None],
    )
