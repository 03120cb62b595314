"""Random states of bodies with an axis."""

import jax.numpy as jnp
import jax.random as jr
from jax.typing import DTypeLike
from jaxtyping import Array

from .._types import Key
from ..graphs.geometry import norm
from .start import AbstractStart


def random_axes(
    key: Key, shape: tuple[int, ...], start: AbstractStart, dtype: DTypeLike
) -> dict[str, Array]:
    """Axes of that shape in all directions alike, and angular momenta drawn as momenta are."""
    turn, spin = jr.split(key)
    momentum = start.offsets(spin, shape, dtype)[1]
    # Normal vectors, normalised, are uniform on the sphere.
    return perpendicular(jr.normal(turn, shape, dtype), momentum)


def perpendicular(axis: Array, momentum: Array) -> dict[str, Array]:
    """Axes of unit length, and the parts of the angular momenta that are perpendicular to them."""
    axis = axis / norm(axis)[..., None]
    along = jnp.sum(axis * momentum, axis=-1, keepdims=True)
    return {"axis": axis, "angular_momentum": momentum - along * axis}
