"""Errors of a model against observed rates. Velocity and force apart: pooling depends on units."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .graphs.geometry import movable
from .models.base import AbstractModel


@eqx.filter_jit
def relative_error(model: AbstractModel, data: GraphsTuple) -> dict[str, Float[Array, ""]]:
    r"""$|\hat v - v| / |v|$ and $|\hat f - f| / |f|$, Euclidean norms over all moving bodies.

    Returns `{"velocity": ..., "force": ...}`. The square is the mean square error relative to the
    mean square target.
    """
    mask = movable(data)[:, None]
    errors = {}
    for name, rate in zip(("velocity", "force"), model.vector_field(data), strict=True):
        target = data.nodes[name]
        wrong = jnp.where(mask, rate - target, 0)
        errors[name] = jnp.linalg.norm(wrong) / jnp.linalg.norm(jnp.where(mask, target, 0))
    return errors


@eqx.filter_jit
def mean_square_error(model: AbstractModel, data: GraphsTuple) -> Float[Array, ""]:
    """Mean square error of all rates over their mean square, as the paper's tables pool them."""
    mask = movable(data)[:, None]
    pairs = [
        (rate, data.nodes[name])
        for name, rate in zip(("velocity", "force"), model.vector_field(data), strict=True)
    ]
    wrong = sum(jnp.sum(jnp.where(mask, rate - target, 0) ** 2) for rate, target in pairs)
    return jnp.asarray(wrong / sum(jnp.sum(jnp.where(mask, t, 0) ** 2) for _, t in pairs))
