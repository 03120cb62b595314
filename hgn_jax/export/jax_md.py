"""Energy functions for jax-md."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int
from jraph import GraphsTuple

from .._tree import is_concrete
from ..graphs.padding import PADDING_GRAPHS
from ..models.base import AbstractModel


def jax_md_energy(
    model: AbstractModel,
    box: ArrayLike | None = None,
    species: ArrayLike | None = None,
) -> Callable[..., Float[Array, ""]]:
    """Potential energy as a function `energy(position, neighbor)` of jax-md, for `quantity.force`
    and its simulations.

        neighbors = partition.neighbor_list(displacement, box, cutoff,
                                            format=partition.NeighborListFormat.Sparse)
        energy = hgn.export.jax_md_energy(model, box)
        init, step = simulate.nve(energy, shift, dt)

    `neighbor` is a list in the format Sparse. Its padding, index N, becomes a graph of its own that
    has no energy. Pairs beyond the model's cutoff do not count.

    **Arguments:**

    - `model`: a model of positions; momenta are zero.
    - `box`: side, sides `[d]` or column vectors `[d d]` of the periodic box, as in `space.periodic`
        (not fractional coordinates); None without one. Each pair counts once, by the nearest image:
        a side is at least twice the cutoff.
    - `species`: species of every particle, if the model knows several.

    **Raises:** `ValueError` for a neighbour list in another format, or a box whose sides are
    shorter than twice the model's cutoff.
    """
    matrix = None if box is None else _cell(jnp.asarray(box))
    if matrix is not None and is_concrete(matrix):
        _require_width(np.asarray(matrix), model.reach)

    def energy(position: Float[Array, "n d"], neighbor: Any, **_: Any) -> Float[Array, ""]:
        index = jnp.asarray(neighbor.idx)
        if index.ndim != 2 or len(index) != 2:
            raise ValueError(
                f"idx of the neighbour list must be [2 e], got {index.shape}: make it with "
                "format=partition.NeighborListFormat.Sparse"
            )
        return model(_graph(position, index, matrix, species))[0]  # the other graphs are padding

    return energy


def _require_width(cell: np.ndarray, reach: float) -> None:
    """Raises `ValueError` if a second image could be within reach."""
    width = (
        cell.min() if cell.ndim == 0 else (1 / np.linalg.norm(np.linalg.inv(cell), axis=0)).min()
    )
    if not width >= 2 * reach:  # NaN is refused, too
        raise ValueError(
            f"the box is {width:.6g} wide, less than twice the model's cutoff {reach:.6g}: nearest "
            "images are not enough; repeat the box"
        )


def _cell(box: Float[Array, "..."]) -> Float[Array, "d d"] | Float[Array, ""]:
    """Row vectors of the box, or its side."""
    return jnp.diag(box) if box.ndim == 1 else box.T


def _graph(
    position: Float[Array, "n d"],
    index: Int[Array, "2 e"],
    box: Array | None,
    species: ArrayLike | None,
) -> GraphsTuple:
    n, d = position.shape
    real = jnp.all(index < n, axis=0) & (index[0] != index[1])
    receivers, senders = (jnp.where(real, i, n).astype(jnp.int32) for i in index)
    # Real edges first, as padding demands.
    order = jnp.argsort(~real)
    receivers, senders = receivers[order], senders[order]
    padded = jnp.concatenate([position, jnp.zeros((1, d), position.dtype)])
    nodes = {"position": padded, "momentum": jnp.zeros_like(padded)}
    nodes["mass"] = jnp.ones(n + 1, position.dtype).at[n].set(0)
    if species is not None:
        nodes["species"] = jnp.append(jnp.asarray(species, jnp.int32), jnp.int32(0))
    edges, globals_ = {}, {}
    if box is not None:
        # Only the positions say how many dimensions a box has whose side is one number.
        cell = box * jnp.eye(d, dtype=position.dtype) if box.ndim == 0 else box
        apart = padded[receivers] - padded[senders]
        fraction = jnp.matmul(apart, jnp.linalg.inv(cell), precision="highest")
        # Displacement + shift @ cell is then the nearest image.
        edges["shift"] = -jnp.round(fraction).astype(jnp.int32)
        globals_["cell"] = jnp.broadcast_to(cell, (1 + PADDING_GRAPHS, d, d))
    count = jnp.sum(real, dtype=jnp.int32)
    return GraphsTuple(
        nodes=nodes,
        edges=edges,
        senders=senders,
        receivers=receivers,
        globals=globals_,
        # The particles, the padding, and the empty graph that marks it as such.
        n_node=jnp.array([n, 1, 0], jnp.int32),
        n_edge=jnp.stack([count, len(order) - count, jnp.zeros_like(count)]),
    )
