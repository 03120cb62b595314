"""Rotations of axes in three dimensions."""

import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import Vectors
from .geometry import node_mask, norm


def cross(a: Vectors, b: Float[Array, "n d ..."]) -> Float[Array, "n d ..."]:
    r"""$a \times b$ of every node; b may have further axes, such as the columns of a fit."""
    return jnp.cross(a.reshape(*a.shape, *[1] * (b.ndim - 2)), b, axis=1)


def along_geodesic(axis: Vectors, step: Vectors) -> Vectors:
    """Axes after a rotation along the great circle in the direction of the tangent vector `step`,
    by the angle |step|."""
    angle = norm(step)[:, None]
    turned = axis * jnp.cos(angle) + step * jnp.sinc(angle / jnp.pi)
    length = norm(turned)[:, None]  # zero for padding
    return turned / jnp.where(length > 0, length, 1)  # else rounding would add up over many steps


def angular_velocity_of(graphs: GraphsTuple) -> Vectors:
    """Angular velocity, angular momentum over the moment of inertia; zero for padding."""
    real = node_mask(graphs)
    inertia = jnp.where(real, graphs.nodes["inertia"], 1)
    return jnp.where(real[:, None], graphs.nodes["angular_momentum"] / inertia[:, None], 0)
