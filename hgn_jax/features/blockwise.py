"""Sums over many units at many sites, in blocks that fit into the processor's cache."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from .._block_sizes import portion


def blockwise(
    function: Callable[..., Array],
    width: int,
    *sites: Float[Array, "s ..."],
    active: Bool[Array, " s"] | None = None,
) -> Array:
    """`function(*sites)`, `[s]`, in blocks of sites if there are many units (`width`).

    Sites that are not `active` are skipped where possible; their values are undefined.
    """
    # Units times sites is bounded: the wider the layer, the fewer sites in a block.
    count, size = len(sites[0]), max(1, portion().units // width)
    if count <= size:
        return function(*sites)
    if active is None:
        return _in_blocks(function, size, *sites)

    # Active sites come first, so that the blocks behind them are not computed.
    # Places of inactive sites are in bounds (-1 is the last), with values that mean nothing.
    place = jnp.cumsum(active, dtype=jnp.int32) - 1
    index = jnp.arange(count, dtype=jnp.int32)
    # The index `count` is out of bounds: "drop" discards the inactive sites.
    chosen = jnp.zeros_like(index).at[jnp.where(active, place, count)].set(index, mode="drop")

    def if_active(first: Array, *block: Array) -> Array:
        # Both branches need one shape, found without computing anything.
        nothing = jnp.zeros_like(jax.eval_shape(function, *block))
        # `first` numbers the sites: a block whose first is beyond the active ones holds none.
        return jax.lax.cond(first[0] < number, function, lambda *_: nothing, *block)

    number = place[-1] + 1
    return _in_blocks(if_active, size, index, *(array[chosen] for array in sites))[place]


def _in_blocks(function: Callable[..., Array], size: int, *sites: Num[Array, "s ..."]) -> Array:
    count = len(sites[0])

    def blocks(array: Array) -> Array:
        missing = -count % size  # up to a multiple of the block
        # Copies of a real site, not zeros, at which the function might have no derivative.
        filled = jnp.concatenate([array, jnp.broadcast_to(array[:1], (missing, *array.shape[1:]))])
        return filled.reshape(-1, size, *array.shape[1:])

    # A loop, not vmap: one block after the other stays in the cache.
    values = jax.lax.map(lambda block: function(*block), jax.tree.map(blocks, sites))
    return values.reshape(-1)[:count]
