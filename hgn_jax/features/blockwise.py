"""Sums over many units at many sites, in blocks that stay near the processor."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from .._block_sizes import portion


def blockwise(
    function: Callable[..., Array],
    width: int,
    *sites: Float[Array, "s ..."],
    seen: Bool[Array, " s"] | None = None,
) -> Array:
    """`function(*sites)` `[s]` of the sites' arrays, in blocks if there are many units (width).

    If it is given, sites that are not `seen` are left out as far as possible: their values mean
    nothing.
    """
    count, size = len(sites[0]), max(1, portion().units // width)
    if count <= size:
        return function(*sites)
    if seen is None:
        return _in_blocks(function, size, *sites)

    place = jnp.cumsum(seen, dtype=jnp.int32) - 1
    index = jnp.arange(count, dtype=jnp.int32)
    chosen = jnp.zeros_like(index).at[jnp.where(seen, place, count)].set(index, mode="drop")

    def some(first: Array, *block: Array) -> Array:
        nothing = jnp.zeros_like(jax.eval_shape(function, *block))
        return jax.lax.cond(first[0] < number, function, lambda *_: nothing, *block)

    number = place[-1] + 1
    return _in_blocks(some, size, index, *(array[chosen] for array in sites))[place]


def _in_blocks(function: Callable[..., Array], size: int, *sites: Num[Array, "s ..."]) -> Array:
    count = len(sites[0])

    def blocks(array: Array) -> Array:
        missing = -count % size
        filled = jnp.concatenate([array, jnp.broadcast_to(array[:1], (missing, *array.shape[1:]))])
        return filled.reshape(-1, size, *array.shape[1:])

    values = jax.lax.map(lambda block: function(*block), jax.tree.map(blocks, sites))
    return values.reshape(-1)[:count]
