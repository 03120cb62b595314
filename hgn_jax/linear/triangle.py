"""Triangular factor of the rows so far, which is all that least squares needs."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import jax.random as jr
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float, Int

from .._block_sizes import NEAR, portion

Method: TypeAlias = Literal["householder", "cholesky"]

_SKETCHED = 4
"""Rows of a sketch, relative to its columns."""
_ALIGNED = 16
"""Columns of a product on a GPU are a multiple of it."""
_STRETCH = 100.0
"""Squared length of a column, about one unless the sketch missed it, from which it is not used."""


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
    "cholesky" is as stable, and made of the products of tall matrices that GPUs are best at: see
    `_cholesky`.
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
    """Appends rows to the triangle so far, block by block: blocks stay in a CPU's cache, and their
    copies in a GPU's memory."""
    columns = matrix.shape[1]
    # Tall matrices are fast on a GPU, but not by Householder's reflections.
    entries = (portion() if method == "cholesky" else NEAR).entries
    step = max(entries // max(columns, 1), 8 * columns)
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
    # One target is a matrix of one column.
    systems = [jnp.concatenate([z, u.reshape(len(u), rest.size)], axis=1) for z, u in pieces]
    system, columns = jnp.concatenate(systems), pieces[0][0].shape[1]
    # With fewer rows the sketch is hardly smaller than the system.
    tall = len(system) >= 2 * _SKETCHED * system.shape[1]
    r = _cholesky(system) if method == "cholesky" and tall else _householder(system)
    outside = jnp.linalg.norm(r[columns:, columns:], axis=0).reshape(rest.shape)
    qu = r[:columns, columns:].reshape(columns, *rest.shape)
    return Triangle(r[:columns, :columns], qu, jnp.hypot(rest, outside), rows, method)


def _householder(system: Float[Array, "r C"]) -> Float[Array, "C C"]:
    # With fewer rows than columns R would not be square.
    missing = max(system.shape[1] - len(system), 0)
    return jnp.linalg.qr(jnp.pad(system, ((0, missing), (0, 0))), mode="r")


@jax.default_matmul_precision("highest")
def _cholesky(system: Float[Array, "r C"]) -> Float[Array, "C C"]:
    """R by randomised Cholesky QR, Householder's wherever that does not succeed.

    The triangle of a sketch, a few random combinations of the rows, makes the columns nearly
    orthonormal. The Cholesky factor of what is left then keeps all digits, which that of the rows'
    own normal equations would not (Balabanov, arXiv 2210.09953; Higgins, Boman, Szyld, Yamazaki,
    arXiv 2309.05868). It takes two passes over the rows.
    """
    own, eps = system.shape[1], jnp.finfo(system.dtype).eps
    # Products of rows that are not aligned in memory are slow. Columns of zeros change nothing.
    padded = jnp.pad(system, ((0, 0), (0, -own % _ALIGNED)))
    # Columns that depend on others get a pivot of the size of their rounding errors, never zero.
    floor = jnp.diag(eps * column_scale(padded))
    first = _householder(jnp.concatenate([_sketch(padded), floor]))
    q = jsl.solve_triangular(first, padded.T, trans=1).T
    gram = q.T @ q
    second = jnp.linalg.cholesky(gram + 8 * eps * jnp.eye(len(gram), dtype=gram.dtype), upper=True)
    # A few rows that outweigh all others may cancel in the sketch.
    sound = jnp.all(jnp.isfinite(second)) & (jnp.max(jnp.diagonal(gram)) < _STRETCH)
    r = jax.lax.cond(
        eqxi.unvmap_all(sound),
        lambda: (second @ first)[:own, :own],
        lambda: _householder(system),
    )
    return jnp.where(jnp.any(system != 0, axis=0)[None], r, 0)  # columns of zeros have no R


def _sketch(system: Float[Array, "r C"]) -> Float[Array, "s C"]:
    """Sums of rows with random signs: of consecutive ones, and of ones that are far apart."""
    rows, columns = system.shape
    half = _SKETCHED * columns // 2
    missing = -rows % half
    sign = jr.rademacher(jr.key(0), (2, rows, 1), system.dtype)

    def signed(k: int) -> Float[Array, "p C"]:
        return jnp.pad(sign[k] * system, ((0, missing), (0, 0)))

    near = jnp.sum(signed(0).reshape(half, -1, columns), axis=1)
    far = jnp.sum(signed(1).reshape(-1, half, columns), axis=0)
    return jnp.concatenate([near, far]) / 2**0.5


def column_scale(matrix: Float[Array, "r K"]) -> Float[Array, " K"]:
    """Norm of every column; one for columns that are all zero."""
    norm = column_norm(matrix)
    return jnp.where(norm == 0, 1, norm)


@jax.jit  # traced once for all its uses
def column_norm(matrix: Float[Array, "r K"]) -> Float[Array, " K"]:
    """Norm of every column, without squares that overflow; its derivative at zero is zero."""
    # A factor that cancels needs no derivative.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(matrix), axis=0, initial=0))
    zero = largest == 0
    unit = jnp.where(zero, 1, largest)
    square = jnp.sum((matrix / unit[None]) ** 2, axis=0)
    # The inner condition keeps the derivative of the root finite at zero.
    return jnp.where(zero, 0, unit * jnp.sqrt(jnp.where(zero, 1, square)))
