"""Evidence of the best ridges when one group of columns is left out."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .group_ridge import group_ridges
from .triangle import Triangle

GAIN = 0.1
"""Gain of evidence below which the search for the other ridges ends (nats)."""


@eqx.filter_jit
def evidence_without(
    triangle: Triangle, groups: tuple[int, ...], ridge: Float[Array, " G"]
) -> Float[Array, " G"]:
    """Log evidence without each of the groups in turn, the ridges of the others chosen again.
    `ridge` are those of all groups, where the search starts."""

    group_of_column = jnp.asarray(np.repeat(np.arange(len(groups)), groups))

    def without(group: Int[Array, ""]) -> Float[Array, ""]:
        # Columns of zeros leave the evidence of the others as it is, at any ridge of their own.
        r = jnp.where(group_of_column[None] == group, 0, triangle.r)
        remaining = Triangle(r, triangle.qu, triangle.rest, triangle.rows, triangle.method)
        return group_ridges(remaining, groups, ridge, GAIN).evidence

    # One after another: under vmap all searches would run as long as the longest.
    return jax.lax.map(without, jnp.arange(len(groups)))
