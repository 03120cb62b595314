"""Evidence of the best ridges when one group of columns is left out."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .group_ridge import group_ridges
from .groups import of_columns
from .triangle import Triangle


@eqx.filter_jit
def evidence_without(
    triangle: Triangle, groups: tuple[int, ...], ridge: Float[Array, " G"]
) -> Float[Array, " G"]:
    """Log evidence without each of the groups in turn, the ridges of the others chosen again.
    `ridge` are those of all groups, where the search starts."""

    def without(group: Int[Array, ""]) -> Float[Array, ""]:
        # Columns of zeros leave the evidence of the others as it is, at any ridge of their own.
        mine = of_columns(jnp.arange(len(groups)) == group, groups)
        r = jnp.where(mine[None], 0, triangle.r)
        remaining = Triangle(r, triangle.qu, triangle.rest, triangle.rows, triangle.method)
        return group_ridges(remaining, groups, ridge).evidence

    return jax.lax.map(without, jnp.arange(len(groups)))
