"""Triangular factor of the rows so far, which is all that least squares needs."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float, Int

Method: TypeAlias = Literal["householder", "cholesky"]

BLOCK = 4096
"""Rows that are factorised at once, or eight times the columns if that is more."""


class Triangle(eqx.Module):
    r"""R and $Q^T u$ of the QR factorisation $Z = QR$, and the norm of u outside Z's span, `rest`.

    $|Z\theta - u|^2 = |R\theta - Q^T u|^2 + rest^2$ for every $\theta$: rows can be discarded once
    they are in the triangle, and triangles of separate rows merge into that of all (TSQR: Demmel,
    Grigori, Hoemmen, Langou, SIAM J. Sci. Comput. 34, 2012). u is one target or m targets.
    """

    r: Float[Array, "K K"]
    qu: Float[Array, " K"] | Float[Array, "K m"]
    rest: Float[Array, ""] | Float[Array, " m"]
    rows: Int[Array, ""]
    """Number of equations of positive weight."""
    method: Method = eqx.field(static=True)

    @property
    def columns(self) -> int:
        return self.r.shape[1]

    @property
    def target_norm(self) -> Float[Array, ""]:
        """|u| of one target; one if it is zero."""
        # Squares of small targets would underflow.
        return column_scale(jnp.append(self.qu, self.rest)[:, None])[0]

    def append(
        self,
        matrix: Float[Array, "r K"],
        target: Float[Array, " r"] | Float[Array, "r m"],
        rows: Int[Array, ""],
    ) -> "Triangle":
        """Triangle with these rows added."""
        above, count = (self.r, self.qu), self.rows + rows
        return _over_blocks(above, self.rest, matrix, target, count, self.method)

    @staticmethod
    def merge(triangles: Sequence["Triangle"]) -> "Triangle":
        """Triangle of all their rows."""
        rest = jnp.linalg.norm(jnp.stack([t.rest for t in triangles]), axis=0)
        count = jnp.sum(jnp.stack([t.rows for t in triangles]))
        # A list of triangles, whose rows are few: no blocks are needed.
        return _factorise([(t.r, t.qu) for t in triangles], rest, count, triangles[0].method)

    def triangle(self) -> "Triangle":
        """Itself, as `Gram.triangle` is the triangle of a `Gram`."""
        return self


def triangle(
    matrix: Float[Array, "r K"],
    target: Float[Array, " r"] | Float[Array, "r m"],
    rows: Int[Array, ""] | None = None,
    method: Method = "householder",
) -> Triangle:
    """Triangle of Z `[r K]` and u: one target `[r]` or m targets `[r m]`.

    Householder QR is backward stable column by column, so that columns need not be scaled first.
    "cholesky" is shifted Cholesky QR in four passes, made of the matrix products that GPUs are best
    at (Fukaya, Kannan, Nakatsukasa, Yamamoto, Yanagisawa, SIAM J. Sci. Comput. 42, 2020).
    """
    nothing = matrix[:0], target[:0]  # one path for first and further rows
    count = jnp.asarray(len(matrix) if rows is None else rows)
    rest = jnp.zeros_like(target, shape=target.shape[1:])
    return _over_blocks(nothing, rest, matrix, target, count, method)


def _over_blocks(
    above: tuple[Array, Array],
    rest: Array,
    matrix: Array,
    target: Array,
    rows: Array,
    method: Method,
) -> Triangle:
    """Appends rows to the triangle so far, block by block, so that blocks stay in the cache."""
    step = max(BLOCK, 8 * matrix.shape[1])
    # The remainder comes first: all later blocks have one shape, and one QR is compiled.
    odd = len(matrix) % step if len(matrix) > 2 * step else len(matrix)
    first = _factorise([above, (matrix[:odd], target[:odd])], rest, rows, method)
    if odd == len(matrix):
        return first

    def append(before: Triangle, start: Int[Array, ""]) -> tuple[Triangle, None]:
        z, u = (jax.lax.dynamic_slice_in_dim(a, start, step) for a in (matrix, target))
        return _factorise([(before.r, before.qu), (z, u)], before.rest, rows, method), None

    return jax.lax.scan(append, first, jnp.arange(odd, len(matrix), step))[0]


def _factorise(
    pieces: Sequence[tuple[Array, Array]], rest: Array, rows: Array, method: Method
) -> Triangle:
    matrix = jnp.concatenate([z for z, _ in pieces])
    target = jnp.concatenate([u for _, u in pieces])
    # One target is a matrix of one column.
    r, qu, outside = _METHODS[method](matrix, target.reshape(len(target), rest.size))
    rest = jnp.hypot(rest, outside.reshape(rest.shape))
    return Triangle(r, qu.reshape(len(qu), *target.shape[1:]), rest, rows, method)


def _householder(
    matrix: Float[Array, "r K"], target: Float[Array, "r m"]
) -> tuple[Float[Array, "K K"], Float[Array, "K m"], Float[Array, " m"]]:
    columns = matrix.shape[1]
    system = jnp.concatenate([matrix, target], axis=1)
    # With fewer rows than columns R would not be square.
    missing = max(system.shape[1] - len(system), 0)
    r = jnp.linalg.qr(jnp.pad(system, ((0, missing), (0, 0))), mode="r")
    return (
        r[:columns, :columns],
        r[:columns, columns:],
        jnp.linalg.norm(r[columns:, columns:], axis=0),
    )


@jax.default_matmul_precision("highest")
def _cholesky(
    matrix: Float[Array, "r K"], target: Float[Array, "r m"]
) -> tuple[Float[Array, "K K"], Float[Array, "K m"], Float[Array, " m"]]:
    columns, eps = matrix.shape[1], jnp.finfo(matrix.dtype).eps
    scale = column_scale(matrix)
    q, r = matrix / scale[None], jnp.diag(scale)  # scaled: Cholesky squares the condition number
    # Without a shift, dependent columns would make the factorisation fail.
    shift = 10 * columns * eps
    for _ in range(4):
        gram = q.T @ q + shift * jnp.eye(columns, dtype=matrix.dtype)
        factor = jnp.linalg.cholesky(gram, upper=True)
        q = jsl.solve_triangular(factor, q.T, trans=1).T
        r = factor @ r
    # The last shift shortens all columns of q by the same factor; columns of zeros have no R.
    stretch = (1 + shift) ** 0.5
    q, r = q * stretch, jnp.where(jnp.any(matrix != 0, axis=0)[None], r / stretch, 0)
    qu = q.T @ target
    return r, qu, jnp.linalg.norm(target - q @ qu, axis=0)


def column_scale(matrix: Float[Array, "r K"]) -> Float[Array, " K"]:
    """Norm of every column; one for columns that are all zero."""
    norm = column_norm(matrix)
    return jnp.where(norm == 0, 1, norm)


def column_norm(matrix: Float[Array, "r K"]) -> Float[Array, " K"]:
    """Norm of every column, without squares that overflow; its derivative at zero is zero."""
    # A factor that cancels needs no derivative.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(matrix), axis=0, initial=0))
    zero = largest == 0
    unit = jnp.where(zero, 1, largest)
    square = jnp.sum((matrix / unit[None]) ** 2, axis=0)
    # The inner condition keeps the derivative of the root finite at zero.
    return jnp.where(zero, 0, unit * jnp.sqrt(jnp.where(zero, 1, square)))


_METHODS = {"householder": _householder, "cholesky": _cholesky}
