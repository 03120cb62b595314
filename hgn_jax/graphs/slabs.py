"""Division of a periodic cell into slabs, one for each device of a mesh.

A device moves the bodies of its slab. It also holds copies of the bodies near it in the two slabs
beside it, its *halo*, so that the forces on its own bodies are complete. Bodies that have left
their slab change devices when the neighbour list is refreshed. Everything passes between
neighbours only, by `jax.lax.ppermute`. Shapes are fixed under jit, so slabs, halos and the number
of bodies that leave at once have capacities.

X-MeshGraphNet, arXiv 2411.17164; Plimpton, Fast parallel algorithms for short-range molecular
dynamics, Journal of Computational Physics 117, 1995.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from .cell import AnyArray, Cell

SLABS = "slabs"
"""Name of the mesh axis."""
PADDING = 2
"""Least number of rows of padding behind a slab's own bodies."""


class Capacity(NamedTuple):
    """Static sizes of a slab."""

    bodies: int
    """Rows for a slab's own bodies and for at least `PADDING` of padding."""
    halo: int
    """Bodies that a slab copies to each of the two beside it."""
    leavers: int
    """Bodies that leave a slab in one direction at a time."""
    span: int
    """Width of the halo in reaches: the forces on a body depend on bodies that far away."""
    axis: int
    """Lattice vector along which the slabs follow each other."""
    total: int
    """Number of bodies of all slabs."""

    @property
    def rows(self) -> int:
        """Rows of a slab with its halo."""
        return self.bodies + 2 * self.halo


class Needs(NamedTuple):
    """Numbers that must not exceed the capacities, the greatest of all devices."""

    bodies: Int[Array, ""]
    halo: Int[Array, ""]
    leavers: Int[Array, ""]

    def met(self, capacity: Capacity) -> Bool[Array, ""]:
        """True if nothing overflowed."""
        enough = (self.halo <= capacity.halo) & (self.leavers <= capacity.leavers)
        return enough & (self.bodies + PADDING <= capacity.bodies)


def slab_mesh(mesh: jax.sharding.Mesh) -> jax.sharding.Mesh:
    """The same devices along one axis named `SLABS`."""
    return jax.sharding.Mesh(mesh.devices.ravel(), (SLABS,))


def from_middle(
    position: Float[AnyArray, "n d"], cell: Cell, slab: AnyArray, slabs: int, axis: int
) -> Float[AnyArray, " n"]:
    """Distance from the middle of a slab as a fraction of the cell, in [-1/2, 1/2)."""
    x, images = _relative(position, cell, slab, slabs, axis)
    return x - images


def around_slab(
    position: Float[AnyArray, "n d"], cell: Cell, slab: AnyArray, slabs: int, axis: int
) -> Float[AnyArray, "n d"]:
    """The images nearest to the middle of a slab along its axis."""
    _, images = _relative(position, cell, slab, slabs, axis)
    return position - images[:, None] * cell.matrix[axis][None]


def _relative(
    position: AnyArray, cell: Cell, slab: AnyArray, slabs: int, axis: int
) -> tuple[AnyArray, AnyArray]:
    """Fractional distances from the middle of a slab, and the whole cells in them."""
    xp = np if isinstance(position, np.ndarray) else jnp
    middle = (xp.asarray(slab, position.dtype) + 0.5) / slabs
    x = cell.fractional(position)[:, axis] - middle
    return x, xp.floor(x + 0.5)


def search_cell(cell: Cell, slabs: int, width: float, axis: int) -> Cell:
    """Cell around a slab and its halos of this width (length), with a gap as wide between images:
    neighbours are searched there. The whole cell if that is smaller."""
    xp = np if isinstance(cell.matrix, np.ndarray) else jnp
    share = xp.minimum(1 / slabs + 3 * width / cell.heights[axis], 1.0)
    scale = xp.where(np.arange(len(cell.matrix)) == axis, share, 1.0)
    return Cell((cell.matrix * scale[:, None]).astype(cell.matrix.dtype), cell.diagonal)


def members(mask: Bool[Array, " n"], size: int) -> tuple[Int[Array, " s"], Int[Array, ""]]:
    """Rows where the mask is true, filled up by the last row, and their number."""
    rows = jnp.nonzero(mask, size=size, fill_value=mask.shape[0] - 1)[0]
    return rows.astype(jnp.int32), jnp.sum(mask, dtype=jnp.int32)


def shifted(values: PyTree[Array], slabs: int, step: int) -> PyTree[Array]:
    """Values of the slab from which one gets here by `step` slabs, 1 or -1."""
    ways = [(k, (k + step) % slabs) for k in range(slabs)]
    return jax.tree.map(lambda a: jax.lax.ppermute(a, SLABS, ways), values)


def placed(
    rows: Float[Array, "n ..."], parts: list[tuple[Array, Int[Array, ""]]], size: int
) -> Array:
    """The rows, and from the given rows on those of the parts, in an array of `size` rows of
    which the rest is zero."""
    out = jnp.zeros((size, *rows.shape[1:]), rows.dtype)
    for part, first in [(rows, jnp.zeros((), jnp.int32)), *parts]:
        out = jax.lax.dynamic_update_slice_in_dim(out, part, first, axis=0)
    return out


def migrated(
    bodies: PyTree[Array], x: Float[Array, " n"], real: Bool[Array, " n"], slabs: int,
    capacity: Capacity,
) -> tuple[PyTree[Array], Int[Array, ""], Int[Array, ""]]:  # fmt: skip
    """Own bodies after those outside of the slab have moved to the slabs beside it.

    `x` is their `from_middle`. Also returns how many are here now, and the greatest number that
    left in one direction. If a capacity is exceeded, bodies are missing.
    """
    n, half = len(x), 0.5 / slabs
    ahead, behind = real & (x >= half), real & (x < -half)
    stay, staying = members(real & ~ahead & ~behind, n)
    forward, forwards = members(ahead, capacity.leavers)
    back, backs = members(behind, capacity.leavers)
    from_behind = shifted((jax.tree.map(lambda a: a[forward], bodies), forwards), slabs, 1)
    from_ahead = shifted((jax.tree.map(lambda a: a[back], bodies), backs), slabs, -1)
    second = staying + from_behind[1]
    number = second + from_ahead[1]
    kept = jnp.arange(n, dtype=jnp.int32) < number

    def joined(own: Array, first: Array, then: Array) -> Array:
        room = n + 2 * capacity.leavers  # a slice beyond the end would be moved back
        rows = placed(own[stay], [(first, staying), (then, second)], room)[:n]
        return jnp.where(kept.reshape(-1, *[1] * (own.ndim - 1)), rows, jnp.zeros_like(rows))

    moved = jax.tree.map(joined, bodies, from_behind[0], from_ahead[0])
    return moved, number, jnp.maximum(forwards, backs)
