"""Normal equations of the rows so far, separate for each fold of the data."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float, Int

from .groups import of_columns, sums
from .triangle import Triangle


class Gram(eqx.Module):
    r"""$Z^T Z$, $Z^T u$ and $u^T u$ of F folds, for cross-validation over whole batches.

    They square the condition number and lose half of the digits: accurate enough if the misfit is
    far above the square root of the machine epsilon. A row costs half as much as in QR.
    """

    matrix: Float[Array, "F K K"]
    projected: Float[Array, "F K"]
    square: Float[Array, " F"]
    fold_rows: Int[Array, " F"]
    """Number of equations of positive weight in each fold."""
    batches: Int[Array, ""]
    """Index of the next batch, from 0: batches are assigned to folds in turn."""

    @property
    def columns(self) -> int:
        return self.matrix.shape[-1]

    @property
    def rows(self) -> Int[Array, ""]:
        """Number of equations of positive weight."""
        return jnp.sum(self.fold_rows)

    @property
    def _squares(self) -> Float[Array, " K"]:
        """Squared norm of every column over all folds."""
        return jnp.sum(jnp.diagonal(self.matrix, axis1=1, axis2=2), axis=0)

    @property
    def target_norm(self) -> Float[Array, ""]:
        """|u|; one if it is zero."""
        square = jnp.sum(self.square)
        return jnp.sqrt(jnp.where(square > 0, square, 1))

    def append(
        self, matrix: Float[Array, "r K"], target: Float[Array, " r"], rows: Int[Array, ""]
    ) -> "Gram":
        """Normal equations with a batch of rows added to the fold whose turn it is."""
        fold = self.batches % len(self.square)
        # GPUs may multiply float32 in TF32, too coarse for a squared condition number.
        return Gram(
            self.matrix.at[fold].add(jnp.dot(matrix.T, matrix, precision="highest")),
            self.projected.at[fold].add(jnp.dot(target, matrix, precision="highest")),
            self.square.at[fold].add(jnp.sum(target**2)),
            self.fold_rows.at[fold].add(rows.astype(self.fold_rows.dtype)),
            self.batches + 1,
        )

    @staticmethod
    def merge(grams: Sequence["Gram"]) -> "Gram":
        """Normal equations of all their rows, fold by fold."""

        def total(name: str) -> Array:
            return jnp.sum(jnp.stack([getattr(g, name) for g in grams]), axis=0)

        names = ("matrix", "projected", "square", "fold_rows")
        # Every worker counts the batches of all of them, see `with_turn`.
        latest = jnp.max(jnp.stack([g.batches for g in grams]))
        return Gram(**{name: total(name) for name in names}, batches=latest)

    def without(self, fold: int) -> "Gram":
        """Normal equations of all other folds."""
        # Zeros in place, so that shapes and the numbers of the other folds stay.
        empty = jnp.zeros_like(self.matrix[fold])
        return Gram(
            self.matrix.at[fold].set(empty),
            self.projected.at[fold].set(empty[0]),
            self.square.at[fold].set(0),
            self.fold_rows.at[fold].set(0),
            self.batches,
        )

    def norm(self) -> Float[Array, " K"]:
        """Norm of every column over all folds; one for columns of zeros."""
        return _root_or_one(self._squares)

    def group_norm(self, groups: tuple[int, ...]) -> Float[Array, " K"]:
        """Root mean square norm of the columns of each column's group; one for groups of zeros."""
        mean = sums(self._squares, groups) / jnp.array(groups, self.matrix.dtype)
        return of_columns(_root_or_one(mean), groups)

    def factor(self, ridge: Float[Array, " K"]) -> tuple[Float[Array, "K K"], Float[Array, " K"]]:
        """R and the column norms D of all rows with a ridge: (R D)^T (R D) is the inverse
        covariance of the coefficients, up to the noise."""
        norm = self.norm()
        # Without a shift, dependent columns would make the factorisation fail.
        shift = 10 * self.columns * jnp.finfo(self.matrix.dtype).eps
        scaled = jnp.sum(self.matrix, axis=0) / (norm[:, None] * norm[None])
        return jnp.linalg.cholesky(scaled + jnp.diag(ridge**2 + shift), upper=True), norm

    def triangle(self) -> Triangle:
        """Triangle of all rows, by Cholesky of the scaled normal equations.

        Singular values below about the square root of the machine epsilon are lost.
        """
        r, norm = self.factor(jnp.zeros(self.columns, self.matrix.dtype))
        qu = jsl.solve_triangular(r, jnp.sum(self.projected, axis=0) / norm, trans=1)
        # A difference of squares, which rounding may make negative.
        rest = jnp.sqrt(jnp.maximum(jnp.sum(self.square) - jnp.sum(qu**2), 0))
        return Triangle(r * norm[None], qu, rest, self.rows, "cholesky")


def gram(
    matrix: Float[Array, "r K"], target: Float[Array, " r"], rows: Int[Array, ""], folds: int
) -> Gram:
    """Normal equations of one batch, in the first of the folds."""
    columns, dtype = matrix.shape[1], matrix.dtype
    empty = Gram(
        jnp.zeros((folds, columns, columns), dtype),
        jnp.zeros((folds, columns), dtype),
        jnp.zeros(folds, dtype),
        jnp.zeros(folds, rows.dtype),
        jnp.zeros((), jnp.int32),
    )
    return empty.append(matrix, target, rows)


def _root_or_one(squares: Float[Array, " n"]) -> Float[Array, " n"]:
    return jnp.where(squares > 0, jnp.sqrt(squares), 1)
