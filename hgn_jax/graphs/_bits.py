"""Sets of indices as bit masks in 32-bit words; members are extracted without a scatter."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt

WORD = 32
"""Number of bits in a word."""


def words_for(bits: int) -> int:
    """Number of words that hold that many bits."""
    return -(-bits // WORD)


def pack(members: Bool[Array, "b c"]) -> UInt[Array, "b w"]:
    """Packs each row into w words: bit k of word i is entry i + k w of the row."""
    rows, entries = members.shape
    words = words_for(entries)
    padded = jnp.pad(members, ((0, 0), (0, words * WORD - entries)))
    # In this order, bit k of all words is one contiguous slice of the row.
    return sum(
        (
            bits.astype(jnp.uint32) << jnp.uint32(k)
            for k, bits in enumerate(jnp.split(padded, WORD, axis=1))
        ),
        start=jnp.zeros((rows, words), jnp.uint32),
    )


def unpack(words: UInt[Array, "b w"], most: int) -> tuple[Int[Array, "b {most}"], Int[Array, " b"]]:
    """Indices of the first `most` set bits of each row, and the number of all its set bits.

    Bit k of word i is index i + k w, as in `pack`. Words are read one after the other, so indices
    are not sorted. A row with fewer set bits is filled up with 32 w.
    """
    width = words.shape[1]
    in_word = jax.lax.population_count(words).astype(jnp.int32)
    cumulative = jnp.cumsum(in_word, axis=1)
    k = jnp.arange(most, dtype=jnp.int32)[None]
    # The word that holds the k-th set bit: the number of words that end before it.
    word = jnp.sum(cumulative[:, :, None] <= k[None], axis=1).astype(jnp.int32)
    word = jnp.minimum(word, width - 1)  # beyond the last set bit; replaced below
    rank = k - jnp.take_along_axis(cumulative - in_word, word, axis=1)  # among the bits of its word
    index = word + width * nth_set_bit(jnp.take_along_axis(words, word, axis=1), rank)
    return jnp.where(k < cumulative[:, -1:], index, WORD * width), cumulative[:, -1]


def nth_set_bit(word: UInt[Array, "..."], n: Int[Array, "..."]) -> Int[Array, "..."]:
    """Position of the n-th set bit, n from 0. Bisects: is the bit in the lower half?"""
    position = jnp.zeros(word.shape, jnp.int32)
    for half in (16, 8, 4, 2, 1):
        low = word & jnp.uint32((1 << half) - 1)
        in_low = jax.lax.population_count(low).astype(jnp.int32)
        upper = n >= in_low
        word = jnp.where(upper, word >> half, low)
        n = jnp.where(upper, n - in_low, n)
        position = jnp.where(upper, position + half, position)
    return position
