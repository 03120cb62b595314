"""Frames that turn with a graph, in which message passing sees its bodies."""

import itertools
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

from ..graphs.geometry import (
    bodies,
    graph_index,
    graph_mask,
    node_mask,
    norm,
    sum_over_graphs,
)

Frame: TypeAlias = Literal["nearest", "principal"]
"""Axes from the nodes nearest to the centre (Rahma et al., arXiv 2506.06558), or principal axes,
whose signs are averaged over (Puny et al., arXiv 2110.03336)."""
FRAMES = get_args(Frame)


def local_coordinates(
    graphs: GraphsTuple,
    position: Float[Array, "n d"],
    momentum: Float[Array, "n d"],
    frame: Frame = "nearest",
) -> Float[Array, "n x"]:
    """Centred position and momentum of every node in its graph's frame, `[n 2d]`."""
    arm = _arms(graphs, position)
    axes = (_principal if frame == "principal" else _nearest)(graphs, arm)[graph_index(graphs)]
    inside = jnp.einsum("nkd,nd->nk", axes, arm)
    return jnp.concatenate([inside, jnp.einsum("nkd,nd->nk", axes, momentum)], axis=1)


def signs(frame: Frame, x: Float[Array, "n x"]) -> Float[Array, "s 1 x"]:
    """Factors of the local coordinates x, over which features are averaged: one for the nearest
    nodes, both signs of every principal axis."""
    if frame == "nearest":
        return jnp.ones((1, 1, x.shape[1]), x.dtype)
    every = itertools.product((1, -1), repeat=x.shape[1] // 2)
    return jnp.asarray([[sign * 2] for sign in every], x.dtype)  # of positions, of momenta


def check_axes(graphs: GraphsTuple) -> None:
    """Raises `ValueError` for a graph with two principal axes of equal length; concrete only."""
    with jax.ensure_compile_time_eval():  # else jit would trace concrete data
        arm = _arms(graphs, graphs.nodes["position"])
        squares = np.asarray(jnp.linalg.eigvalsh(_moments(graphs, arm)))
    gaps = np.diff(squares, axis=1).min(axis=1) / squares[:, -1]
    if (equal := gaps < 1e3 * np.finfo(squares.dtype).eps).any():
        raise ValueError(
            f"graph {int(equal.argmax())} has two principal axes of equal length, so that it has "
            'no principal frame: displace its bodies, or use MessagePassing(frame="nearest")'
        )


def _arms(graphs: GraphsTuple, position: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Vectors from the centre of each graph to its nodes."""
    index, mask = graph_index(graphs), node_mask(graphs)[:, None]
    count = jnp.maximum(bodies(graphs), 1)[:, None]  # empty graphs have no centre
    centre = sum_over_graphs(graphs, jnp.where(mask, position, 0)) / count
    return jnp.where(mask, position - centre[index], 0)


def _moments(graphs: GraphsTuple, arm: Float[Array, "n d"]) -> Float[Array, "g d d"]:
    """Second moments of the nodes about the centre of their graph."""
    moments = sum_over_graphs(graphs, arm[:, :, None] * arm[:, None])
    # Padding has none: distinct ones, or the derivative of its axes would be NaN.
    d = arm.shape[1]
    distinct = jnp.diag(jnp.arange(1, d + 1, dtype=arm.dtype))
    return jnp.where(graph_mask(graphs)[:, None, None], moments, distinct[None])


def _principal(graphs: GraphsTuple, arm: Float[Array, "n d"]) -> Float[Array, "g d d"]:
    """Rows: eigenvectors of the second moments."""
    return jnp.swapaxes(jnp.linalg.eigh(_moments(graphs, arm))[1], 1, 2)


def _nearest(graphs: GraphsTuple, arm: Float[Array, "n d"]) -> Float[Array, "g d d"]:
    """Rows: directions of the nearest nodes, made orthogonal."""
    n, d = arm.shape
    # Lengths only order the nodes: an order has no derivative.
    length = jax.lax.stop_gradient(norm(arm))
    nearest_first = jnp.lexsort((length, graph_index(graphs)))  # by graph, then by length
    start = jnp.cumsum(graphs.n_node) - graphs.n_node
    axes: list[Array] = []
    for k in range(1 if d == 2 else d):
        last = start + jnp.maximum(graphs.n_node - 1, 0)
        # Small graphs repeat their last node, which then defines no axis.
        picked = arm[nearest_first[jnp.minimum(jnp.minimum(start + k, last), n - 1)]]
        axis = picked
        for earlier in axes:
            # Modified Gram-Schmidt: the remainder is projected, not the arm.
            axis = axis - jnp.sum(axis * earlier, axis=1, keepdims=True) * earlier
        size = norm(axis)[:, None]
        # A linearly dependent arm leaves only rounding errors: they define no axis.
        real = size > jnp.sqrt(jnp.finfo(arm.dtype).eps) * norm(picked)[:, None]
        # Two `where`s: a division by zero would make the gradient NaN even if not selected.
        axes.append(jnp.where(real, axis / jnp.where(real, size, 1), 0))
    if d == 2:
        x, y = axes[0].T
        axes.append(jnp.stack([-y, x], axis=1))
    return jnp.stack(axes, axis=1)
