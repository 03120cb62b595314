"""Consecutive groups of columns, each given by its width."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def of_columns(values: Float[Array, "*m G"], groups: tuple[int, ...]) -> Float[Array, "*m K"]:
    """Value of each column's group."""
    # NumPy: widths are static, so the indices are a constant of the program.
    return values[..., np.repeat(np.arange(len(groups)), groups)]


def sums(values: Float[Array, "*m K"], groups: tuple[int, ...]) -> Float[Array, "*m G"]:
    """Sums over the columns of each group."""
    parts = jnp.split(values, np.cumsum(groups)[:-1], axis=-1)
    return jnp.stack([jnp.sum(part, axis=-1) for part in parts], axis=-1)
