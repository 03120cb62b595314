"""All that least squares needs of the rows seen so far."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float, Int

Method: TypeAlias = Literal["householder", "cholesky"]

BLOCK = 2**24
"""Entries of a matrix that is factorised in one piece; a larger one goes block by block."""


class Triangle(eqx.Module):
    r"""R and $Q^T u$ of the QR factorisation $Z = QR$, and what of u lies outside of Z's span.

    $|Z\theta - u|^2 = |R\theta - Q^T u|^2 + rest^2$ for every $\theta$: rows may be forgotten once
    they are in the triangle, and triangles of separate rows merge into that of all (TSQR: Demmel,
    Grigori, Hoemmen, Langou, SIAM J. Sci. Comput. 34, 2012). u may be one target or m.
    """

    r: Float[Array, "K K"]
    qu: Float[Array, " K"] | Float[Array, "K m"]
    rest: Float[Array, ""] | Float[Array, " m"]
    rows: Int[Array, ""]
    """Equations that count: those of weight zero do not."""
    method: Method = eqx.field(static=True)

    @property
    def columns(self) -> int:
        return self.r.shape[1]


def triangle(
    matrix: Float[Array, "r K"],
    target: Float[Array, " r"] | Float[Array, "r m"],
    rows: Int[Array, ""] | None = None,
    method: Method = "householder",
) -> Triangle:
    """Triangle of Z `[r K]` and u, one target `[r]` or m of them `[r m]`.

    Householder QR is backward stable column by column: columns need not be scaled first. For the
    many matrix products that a GPU runs best, "cholesky" is shifted Cholesky QR in three passes
    (Fukaya, Kannan, Nakatsukasa, Yamamoto, Yanagisawa, SIAM J. Sci. Comput. 42, 2020).
    """
    count = jnp.asarray(len(matrix) if rows is None else rows)
    step = max(BLOCK // (matrix.shape[1] + 1), 4 * matrix.shape[1])
    if len(matrix) <= 2 * step:
        return _factorise([(matrix, target)], jnp.zeros_like(target[0]), count, method)
    whole = len(matrix) // step * step
    first = _factorise([(matrix[whole:], target[whole:])], jnp.zeros_like(target[0]), count, method)

    def append(before: Triangle, start: Int[Array, ""]) -> tuple[Triangle, None]:
        block = [jax.lax.dynamic_slice_in_dim(a, start, step) for a in (matrix, target)]
        pieces = [(before.r, before.qu), (block[0], block[1])]
        return _factorise(pieces, before.rest, count, method), None

    return jax.lax.scan(append, first, jnp.arange(0, whole, step))[0]


def merge(triangles: Sequence[Triangle]) -> Triangle:
    """The triangle of all their rows."""
    rest = jnp.linalg.norm(jnp.stack([t.rest for t in triangles]), axis=0)
    count = jnp.sum(jnp.stack([t.rows for t in triangles]))
    return _factorise([(t.r, t.qu) for t in triangles], rest, count, triangles[0].method)


def append(
    before: Triangle,
    matrix: Float[Array, "r K"],
    target: Float[Array, " r"] | Float[Array, "r m"],
    rows: Int[Array, ""],
) -> Triangle:
    """The triangle with these rows added."""
    pieces = [(before.r, before.qu), (matrix, target)]
    return _factorise(pieces, before.rest, before.rows + rows, before.method)


def _factorise(
    pieces: Sequence[tuple[Array, Array]], rest: Array, rows: Array, method: Method
) -> Triangle:
    matrix = jnp.concatenate([z for z, _ in pieces])
    target = jnp.concatenate([u for _, u in pieces])
    r, qu, left = _METHODS[method](matrix, target.reshape(len(target), -1))
    rest = jnp.hypot(rest, left.reshape(rest.shape))
    return Triangle(r, qu.reshape(-1, *target.shape[1:]), rest, rows, method)


def _householder(
    matrix: Float[Array, "r K"], target: Float[Array, "r m"]
) -> tuple[Float[Array, "K K"], Float[Array, "K m"], Float[Array, " m"]]:
    columns = matrix.shape[1]
    system = jnp.concatenate([matrix, target], axis=1)
    missing = max(system.shape[1] - len(system), 0)
    r = jnp.linalg.qr(jnp.pad(system, ((0, missing), (0, 0))), mode="r")
    return (
        r[:columns, :columns],
        r[:columns, columns:],
        jnp.linalg.norm(r[columns:, columns:], axis=0),
    )


def _cholesky(
    matrix: Float[Array, "r K"], target: Float[Array, "r m"]
) -> tuple[Float[Array, "K K"], Float[Array, "K m"], Float[Array, " m"]]:
    columns, eps = matrix.shape[1], jnp.finfo(matrix.dtype).eps
    scale = column_scale(matrix)
    q, r = matrix / scale[None], jnp.diag(scale)
    # Dependent columns would stop the factorisation; the shift's own effect is gone after three.
    shift = 10 * columns * eps * jnp.eye(columns, dtype=matrix.dtype)
    for _ in range(3):
        factor = jnp.linalg.cholesky(q.T @ q + shift, upper=True)
        q = jsl.solve_triangular(factor, q.T, trans=1).T
        r = factor @ r
    qu = q.T @ target
    return r, qu, jnp.linalg.norm(target - q @ qu, axis=0)


def column_scale(matrix: Float[Array, "r K"]) -> Float[Array, " K"]:
    """Norm of every column; one for columns that are all zero."""
    size = jnp.linalg.norm(matrix, axis=0)
    return jnp.where(size > 0, size, 1)


_METHODS = {"householder": _householder, "cholesky": _cholesky}
