"""Rotations of axes in two and three dimensions.

An angular velocity, an angular momentum or a torque has the components `[n 1]` in two dimensions
and `[n 3]` in three; further axes, such as the columns of a fit, may follow.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import Vectors
from .geometry import node_mask, norm


def crossed(a: Float[Array, "n d"], b: Float[Array, "n d ..."]) -> Float[Array, "n w ..."]:
    r"""$a \times b$."""
    a = a.reshape(*a.shape, *[1] * (b.ndim - 2))
    if a.shape[1] == 2:
        return (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])[:, None]
    return jnp.stack(
        [a[:, i] * b[:, j] - a[:, j] * b[:, i] for i, j in ((1, 2), (2, 0), (0, 1))], axis=1
    )


def carried(rate: Float[Array, "n w ..."], axis: Vectors) -> Float[Array, "n d ..."]:
    r"""$\omega \times n$, the velocity of an axis n at the angular velocity `rate`."""
    if axis.shape[1] == 3:
        return -crossed(axis, rate)
    n = axis.reshape(*axis.shape, *[1] * (rate.ndim - 2))
    return jnp.stack([-n[:, 1] * rate[:, 0], n[:, 0] * rate[:, 0]], axis=1)


def along_geodesic(axis: Vectors, step: Vectors) -> Vectors:
    """Axes after a rotation along the great circle in the direction of the tangent vector `step`,
    by the angle |step|."""
    angle = norm(step)[:, None]
    turned = axis * jnp.cos(angle) + step * jnp.sinc(angle / jnp.pi)
    length = norm(turned)[:, None]  # zero for padding
    return turned / jnp.where(length > 0, length, 1)  # else rounding would add up over many steps


def angular_velocity_of(graphs: GraphsTuple) -> Float[Array, "n w"]:
    """Angular velocity, angular momentum over the moment of inertia; zero for padding."""
    real = node_mask(graphs)
    inertia = jnp.where(real, graphs.nodes["inertia"], 1)
    return jnp.where(real[:, None], graphs.nodes["angular_momentum"] / inertia[:, None], 0)
