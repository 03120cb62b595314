"""Sets of places as words of bits, from which members are read without scattering."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt

WORD = 32
"""Bits of a word."""


def words_for(places: int) -> int:
    """Number of words that hold that many places."""
    return -(-places // WORD)


def pack(members: Bool[Array, "b c"]) -> UInt[Array, "b w"]:
    """Words whose bits are the members of each row: bit k of word i is place i + k w."""
    rows, places = members.shape
    words = words_for(places)
    padded = jnp.pad(members, ((0, 0), (0, words * WORD - places)))
    return sum(
        (
            bits.astype(jnp.uint32) << jnp.uint32(k)
            for k, bits in enumerate(jnp.split(padded, WORD, axis=1))
        ),
        start=jnp.zeros((rows, words), jnp.uint32),
    )


def unpack(words: UInt[Array, "b w"], most: int) -> tuple[Int[Array, "b {most}"], Int[Array, " b"]]:
    """Places of the first `most` bits set in each row, and the number of all bits set in it.

    Places of a row with fewer bits end with 32 w. Words are read in turn, so that places are not
    in order: bit k of word i is place i + k w.
    """
    width = words.shape[1]
    held = jax.lax.population_count(words).astype(jnp.int32)
    up_to = jnp.cumsum(held, axis=1)
    k = jnp.arange(most, dtype=jnp.int32)[None]
    word = jnp.sum(up_to[:, :, None] <= k[None], axis=1).astype(jnp.int32)
    word = jnp.minimum(word, width - 1)
    rank = k - jnp.take_along_axis(up_to - held, word, axis=1)
    place = word + width * nth_set_bit(jnp.take_along_axis(words, word, axis=1), rank)
    return jnp.where(k < up_to[:, -1:], place, WORD * width), up_to[:, -1]


def nth_set_bit(word: UInt[Array, "..."], n: Int[Array, "..."]) -> Int[Array, "..."]:
    """Place of the n-th set bit, counted from 0, by bisection: is it in the lower half?"""
    place = jnp.zeros(word.shape, jnp.int32)
    for half in (16, 8, 4, 2, 1):
        low = word & jnp.uint32((1 << half) - 1)
        in_low = jax.lax.population_count(low).astype(jnp.int32)
        upper = n >= in_low
        word = jnp.where(upper, word >> half, low)
        n = jnp.where(upper, n - in_low, n)
        place = jnp.where(upper, place + half, place)
    return place
