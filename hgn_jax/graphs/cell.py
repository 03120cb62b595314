"""Periodic cells of any shape: images, wrapping, and checks that a cell can be used."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from jraph import GraphsTuple

AnyArray: TypeAlias = Any
"""Array of JAX or NumPy."""

FLATTEST = 1e-6
"""Volume below which a cell counts as singular, its rows scaled to length one."""

ROUNDING = 1 - 1e-6
"""Factor on the required heights of a cell, to allow for their rounding."""


class Cell(eqx.Module):
    """Periodic cell of any shape. NumPy arrays give NumPy results, in their own precision.

    Row k of `matrix` `[d d]` is the k-th lattice vector (length); left-handed cells are allowed.
    """

    matrix: Float[AnyArray, "d d"]
    diagonal: bool = eqx.field(default=False, static=True)
    """True if the matrix is known at compile time to be diagonal, which makes images cheaper."""

    @property
    def inverse(self) -> Float[AnyArray, "d d"]:
        """Inverse of `matrix`: reciprocal vectors as columns (1 / length)."""
        xp, d = _namespace(self.matrix), len(self.matrix)
        scale = xp.max(xp.abs(self.matrix))  # products of SI lengths leave the range of float32
        rows = self.matrix / scale
        if d > 3 or xp is np:
            return xp.linalg.inv(rows) / scale
        # Cross products instead of LAPACK, which is slow inside a compiled loop.
        # Missing axes get unit vectors, since a cross product needs three components.
        padding = xp.asarray(np.diag(np.arange(3) >= d), rows.dtype)
        a, b, c = xp.pad(rows, (0, 3 - d)) + padding
        columns = xp.stack([xp.cross(b, c), xp.cross(c, a), xp.cross(a, b)], axis=1)
        # The determinant a . (b x c) keeps its sign, which is negative for left-handed cells.
        return columns[:d, :d] / (xp.sum(a * columns[:, 0]) * scale)

    @property
    def volume(self) -> Float[AnyArray, ""]:
        """Volume (length^d)."""
        return abs(_namespace(self.matrix).linalg.det(self.matrix))

    @property
    def heights(self) -> Float[AnyArray, " d"]:
        """Distances between opposite faces (length): the sides of an orthorhombic cell."""
        xp = _namespace(self.matrix)
        # A reciprocal vector is normal to a face, and 1 / height long.
        return 1 / xp.sqrt(xp.sum(self.inverse**2, axis=0))

    @property
    def skewed(self) -> Bool[AnyArray, ""]:
        """True unless all lattice vectors are perpendicular."""
        xp = _namespace(self.matrix)
        products = xp.sum(self.matrix[:, None] * self.matrix[None], axis=2)
        # No tolerance: a rotated box may count as skewed, which only makes the checks stricter.
        return xp.any((products != 0) & ~np.eye(len(self.matrix), dtype=bool))

    def fractional(self, x: Float[AnyArray, "... d"]) -> Float[AnyArray, "... d"]:
        """Fractional coordinates: x = fractional(x) @ matrix."""
        return _namespace(x).stack(_product(_components(x), self.inverse), axis=-1)

    def wrap(self, x: Float[AnyArray, "... d"]) -> Float[AnyArray, "... d"]:
        """Image of x inside the cell, up to rounding."""
        xp = _namespace(x)
        steps = xp.floor(self.fractional(x))
        return x - xp.stack(_product(_components(steps), self.matrix), axis=-1)

    def minimum_image(self, dx: Float[AnyArray, "... d"]) -> Float[AnyArray, "... d"]:
        """Shortest image of displacements, by rounding their fractional coordinates.

        The result is exact if some image is shorter than half the smallest height h. Each
        fractional coordinate of that image is its projection onto a face's normal, divided by a
        height, so it is less than (h/2)/h = 1/2. In cells that are not skewed the result is always
        exact.
        """
        return _namespace(dx).stack(self.minimum_image_components(_components(dx)), axis=-1)

    def minimum_image_components(self, dx: Sequence[AnyArray]) -> list[AnyArray]:
        """`minimum_image` of components `dx[k]`: arrays [e d] with so small a d are slow."""
        if self.diagonal:
            sides = [self.matrix[k, k] for k in range(len(dx))]
            return [x - side * _namespace(x).round(x / side) for x, side in zip(dx, sides)]
        # Rounding has derivative zero, so gradients treat the image as fixed.
        steps = [_namespace(x).round(x) for x in _product(dx, self.inverse)]
        return [x - image for x, image in zip(dx, _product(steps, self.matrix))]


def require_cell(matrix: np.ndarray, name: str = "cell") -> None:
    """Raises `ValueError`, beginning with `name`, for a matrix `[d d]` that spans no volume."""
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be finite, got {matrix.tolist()}")
    if is_singular(matrix):
        raise ValueError(
            f"{name} is singular: its rows must be linearly independent lattice vectors, got "
            f"{matrix.tolist()}. For an axis that is not periodic, give a vector longer than the "
            "bodies' extent plus the cutoff"
        )


def require_shift(graphs: GraphsTuple) -> None:
    """Raises `ValueError` for edges in a periodic cell without `shift`: their image is unknown."""
    if "cell" in graphs.globals and "shift" not in graphs.edges and len(graphs.senders):
        raise ValueError(
            "edges carry no `shift`: use hgn.graphs.radius(..., cell=), or shift of zeros if no "
            "edge crosses the cell's boundary"
        )


def is_singular(matrix: Float[np.ndarray, "*g d d"]) -> Bool[np.ndarray, "*g"] | np.bool:
    """True for finite cells whose rows are linearly dependent."""
    lengths = np.linalg.norm(np.asarray(matrix, float), axis=-1, keepdims=True)
    # A zero row must give the determinant zero, not NaN, which is below no bound.
    return np.abs(np.linalg.det(matrix / np.where(lengths == 0, 1, lengths))) < FLATTEST


def _product(coordinates: Sequence[Any], matrix: Any) -> list[Any]:
    """Components of row vectors times the matrix. Not a dot, whose factors GPUs may round."""
    columns = range(matrix.shape[1])
    return [sum(x * row[j] for x, row in zip(coordinates, matrix)) for j in columns]


def _components(x: Any) -> list[Any]:
    return [x[..., k] for k in range(x.shape[-1])]


def _namespace(array: Any) -> ModuleType:
    # An element of a NumPy array is an `np.generic`.
    return np if isinstance(array, np.ndarray | np.generic) else jnp
