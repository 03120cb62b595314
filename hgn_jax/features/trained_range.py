"""Range of the local inputs in training, and inputs outside of it."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from jraph import GraphsTuple

from ..graphs.geometry import sum_over_graphs


def extent(x: Float[Array, " s"], mask: Bool[Array, " s"]) -> Float[Array, " 2"]:
    """Least and greatest unmasked value; (inf, -inf) if there is none."""
    return jnp.stack([jnp.min(jnp.where(mask, x, jnp.inf)), jnp.max(jnp.where(mask, x, -jnp.inf))])


def spaced(range_: Float[Array, " 2"], count: int) -> Float[Array, " _"]:
    """That many equidistant values from the least to the greatest."""
    return jnp.linspace(range_[0], range_[1], count)


def outside(x: Float[Array, " s"], mask: Bool[Array, " s"], range_: Array) -> Bool[Array, " s"]:
    """True where an unmasked value lies outside of `range_`, by more than rounding."""
    # An empty range is (inf, -inf): nothing lies inside.
    size = jnp.where(jnp.isfinite(range_), jnp.abs(range_), 0)
    slack = 1e3 * jnp.finfo(x.dtype).eps * size
    # Inputs of the training data differ by rounding if another program computes them.
    # Written so that NaN lies outside.
    return mask & ~((x >= range_[0] - slack[0]) & (x <= range_[1] + slack[1]))


def box_of(x: Float[Array, "s d"], mask: Bool[Array, " s"]) -> Float[Array, "d 2"]:
    """Least and greatest unmasked value of every coordinate."""
    return jnp.stack([extent(along, mask) for along in x.T])


def outside_box(
    x: Float[Array, "s d"], mask: Bool[Array, " s"], box: Float[Array, "d 2"]
) -> Bool[Array, " s"]:
    """True where a coordinate of an unmasked point lies outside of its range in `box`."""
    out = [outside(along, mask, range_) for along, range_ in zip(x.T, box)]
    return jnp.any(jnp.stack(out), axis=0)


def count_outside_box(
    graphs: GraphsTuple,
    x: Float[Array, "n d"],
    mask: Bool[Array, " n"],
    box: Float[Array, "d 2"],
) -> Int[Array, " g"]:
    """Number of bodies of each graph whose x is `outside_box`."""
    return sum_over_graphs(graphs, outside_box(x, mask, box).astype(jnp.int32))
