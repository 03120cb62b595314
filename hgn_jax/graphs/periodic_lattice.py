"""Periodic lattices of sites that carry one number each: builder, patches of sites, checks.

`globals["lattice"]` holds the number of sites along each axis. The nodes are the sites in row-major
order, and their `position` is a displacement, not a place: the place follows from the order.
"""

import itertools
import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Int
from jraph import GraphsTuple

from .builders import from_pairs
from .check_values import Frames
from .geometry import graph_index, node_mask

SHORTEST = 3
"""Fewest sites along an axis: with two, both neighbours of a site would be the same site."""


def periodic_lattice(
    shape: Sequence[int], *, displacement: ArrayLike = 0.0, mass: ArrayLike = 1.0
) -> GraphsTuple:
    """Periodic lattice (chain, square, cubic, ...) with one displacement at each site.

    Nodes are the sites in row-major order, edges join nearest neighbours, and `globals["lattice"]`
    is the shape. Edges are hoppings to the electrons of `hgn.systems.Holstein` and `hgn.Walks`,
    with the `coupling` as amplitude, one if absent.

    **Arguments:**

    - `shape`: number of sites along each axis.
    - `displacement`: Q, of that shape or one number for all sites; `nodes["position"]` is `[n 1]`.
    - `mass`: of the displacements, `[n]` or one number for all.

    **Raises:** `ValueError` for less than three sites along an axis, or displacements of another
    shape.
    """
    shape = tuple(shape)
    if not shape or min(shape) < SHORTEST:
        raise ValueError(
            f"a periodic lattice needs at least {SHORTEST} sites along each axis, got {shape}"
        )
    q = jnp.asarray(displacement)
    if q.shape not in ((), shape):
        raise ValueError(f"displacement must be {shape}, got {q.shape}")
    q = jnp.broadcast_to(q, shape)
    graph = from_pairs(q.reshape(-1, 1), _pairs(shape), mass=mass)
    return graph._replace(globals={"lattice": jnp.asarray([shape], jnp.int32)})


def disc(radius: float, axes: int) -> Int[np.ndarray, "P k"]:
    """Integer vectors of at most that length, on that number of axes."""
    steps = range(-math.floor(radius), math.floor(radius) + 1)
    vectors = np.array(list(itertools.product(steps, repeat=axes)))
    return vectors[np.sum(vectors**2, axis=1) <= radius**2]


def patches(graphs: GraphsTuple, offsets: Int[np.ndarray, "P k"]) -> Int[Array, "n P"]:
    """Numbers of the sites at these offsets from every site. Padding is its own patch."""
    index = graph_index(graphs)
    number = jnp.arange(len(graphs.nodes["position"]), dtype=jnp.int32)
    first = (jnp.cumsum(graphs.n_node) - graphs.n_node).astype(jnp.int32)[index]
    # The lattice of padding is zero.
    shape = jnp.maximum(graphs.globals["lattice"].astype(jnp.int32), 1)[index]
    stride, patch = jnp.ones_like(number), first[:, None]
    # Row-major order: the last axis runs fastest.
    for size, along in zip(reversed(shape.T), reversed(offsets.T)):
        place = ((number - first) // stride % size)[:, None] + jnp.asarray(along, jnp.int32)[None]
        patch = patch + stride[:, None] * (place % size[:, None])
        stride = stride * size
    return jnp.where(node_mask(graphs)[:, None], patch, number[:, None])


def check_lattices(graphs: GraphsTuple, frames: Frames, padding: np.ndarray) -> None:
    """Raises `ValueError` for a graph that is not the lattice that its globals name."""
    if "lattice" not in graphs.globals:
        return
    if graphs.nodes["position"].shape[1] != 1:
        raise ValueError(
            'a graph with globals["lattice"] has one displacement at each site, nodes["position"] '
            f"[n 1], but it is {list(graphs.nodes['position'].shape)}"
        )
    first = np.cumsum(graphs.n_node) - graphs.n_node
    ends = np.stack([graphs.senders, graphs.receivers], axis=1).astype(np.int64)
    for frame in np.flatnonzero(~padding):
        shape = tuple(graphs.globals["lattice"][frame].tolist())
        if min(shape) < SHORTEST or math.prod(shape) != graphs.n_node[frame]:
            raise ValueError(
                f'frame {frame}: globals["lattice"] is {shape}, but the frame has '
                f"{graphs.n_node[frame]} sites; an axis has at least {SHORTEST}"
            )
        own = frames.of["edges"] == frame
        # One number for each edge; `check_pairs` has found the reverse edges.
        n = int(graphs.n_node[frame])
        edges = (ends[own] - first[frame]) @ np.array([n, 1])
        missing = np.setdiff1d(_pairs(shape) @ np.array([n, 1]), edges)
        if len(missing):
            a, b = divmod(int(missing[0]), n)
            raise ValueError(
                f"frame {frame}: sites {a} and {b} are neighbours on the lattice {shape}, but no "
                "edge joins them. Sites are in row-major order: use hgn.graphs.periodic_lattice"
            )


def _pairs(shape: tuple[int, ...]) -> Int[np.ndarray, "p 2"]:
    """Nearest neighbours, each pair once."""
    number = np.arange(math.prod(shape)).reshape(shape)
    ahead = [np.roll(number, -1, axis) for axis in range(len(shape))]
    return np.concatenate([np.stack([number, there], axis=-1).reshape(-1, 2) for there in ahead])
