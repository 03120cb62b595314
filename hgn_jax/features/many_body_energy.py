r"""Energy of given coefficients, at a cost that does not depend on the number of features.

A sum over features of products of factors is one tensor per signature. With the products of two
densities $P_{J,p M}$, p for two degrees and two radial numbers, the energy of a body is

$$E = \sum_p c_p P_{0,p}
    + \sum_{J,M} P_{J,pM} (T_{J,pq} A_{qJM} + \tfrac{1}{2} F_{J,pp'} P_{J,p'M})$$

with c from body order 3, T from order 4, F from order 5: one matrix product for each J.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .signatures import Signature, product

Pair = tuple[int, int, int]
"""Degrees of two densities, and the degree that they couple to."""


class Tensors(NamedTuple):
    """What coefficients of features of one central species add up to."""

    linear: Float[Array, " p"]
    """c, of the pairs that couple to degree 0."""
    with_density: dict[int, Float[Array, "p q"]]
    """T of each degree J."""
    with_product: dict[int, Float[Array, "p p"]]
    """F of each degree J, symmetric."""


def pairs_of(signatures: Sequence[Signature]) -> dict[int, list[Pair]]:
    """The products that the signatures need, by the degree J that they couple to."""
    found: set[Pair] = set()
    for signature in signatures:
        d = signature.degrees
        if len(d) == 2:
            found.add((d[0], d[1], 0))
        elif len(d) == 3:
            found.add((d[0], d[1], d[2]))
        else:
            found |= {(d[0], d[1], signature.through), (d[2], d[3], signature.through)}
    return {J: sorted(p for p in found if p[2] == J) for J in sorted({p[2] for p in found})}


def fold(
    signatures: Sequence[Signature],
    weights: Sequence[Float[Array, "_ _ Q"]],
    theta: Float[Array, " K"],
) -> Tensors:
    """The tensors of these features with these coefficients."""
    width, dtype = weights[0].shape[2], theta.dtype
    pairs = pairs_of(signatures)
    square = width * width
    place = {p: square * k for of_degree in pairs.values() for k, p in enumerate(of_degree)}
    size = {J: square * len(of_degree) for J, of_degree in pairs.items()}
    linear = jnp.zeros(size.get(0, 0), dtype)
    with_density = {J: jnp.zeros((n, width), dtype) for J, n in size.items()}
    with_product = {J: jnp.zeros((n, n), dtype) for J, n in size.items()}
    start = 0
    for signature, w in zip(signatures, weights):
        own = theta[start : start + w.shape[1]]
        start += w.shape[1]
        d = signature.degrees
        left = (own[:, None, None] * w[0][:, :, None] * w[1][:, None]).reshape(len(own), square)
        if len(d) == 2:
            at = place[d[0], d[1], 0]
            linear = linear.at[at : at + square].add(jnp.sum(left, axis=0))
        elif len(d) == 3:
            at, J = place[d[0], d[1], d[2]], d[2]
            with_density[J] = with_density[J].at[at : at + square].add(left.T @ w[2])
        else:
            J = signature.through
            right = (w[2][:, :, None] * w[3][:, None]).reshape(len(own), square)
            at, to = place[d[0], d[1], J], place[d[2], d[3], J]
            block = left.T @ right
            both = with_product[J].at[at : at + square, to : to + square].add(block)
            with_product[J] = both.at[to : to + square, at : at + square].add(block.T)
    return Tensors(linear, with_density, with_product)


def products(
    densities: Float[Array, "LM n Q"], pairs: dict[int, list[Pair]]
) -> dict[int, Float[Array, "M n p"]]:
    """All products of two densities, by the degree that they couple to."""

    def of(a: int, b: int, J: int) -> Float[Array, "M n _"]:
        left, right = (densities[k * k : (k + 1) ** 2] for k in (a, b))
        n, width = left.shape[1:]
        left = jnp.broadcast_to(left[..., None], (*left.shape, width))
        right = jnp.broadcast_to(right[:, :, None], (len(right), n, width, width))
        return product(left.reshape(len(left), n, -1), right.reshape(len(right), n, -1), J)

    return {J: jnp.concatenate([of(*p) for p in some], axis=2) for J, some in pairs.items()}


def energy_and_slope(
    densities: Float[Array, "LM n Q"], pairs: dict[int, list[Pair]], tensors: Tensors
) -> tuple[Float[Array, " n"], Float[Array, "LM n Q"]]:
    """Energy of every body, and its derivatives by the densities of that body."""
    of_degree, pull_back = jax.vjp(lambda a: products(a, pairs), densities)
    energy = jnp.zeros(densities.shape[1], densities.dtype)
    direct = jnp.zeros_like(densities)
    slopes = {}
    for J, p in of_degree.items():
        quadratic = p @ tensors.with_product[J]
        slope, energy_of_p = quadratic, quadratic / 2
        if (J + 1) ** 2 <= len(densities):  # two of degree 2 couple to 3 as well
            coupled = densities[J * J : (J + 1) ** 2] @ tensors.with_density[J].T
            slope, energy_of_p = slope + coupled, energy_of_p + coupled
            direct = direct.at[J * J : (J + 1) ** 2].add(p @ tensors.with_density[J])
        energy += jnp.sum(p * energy_of_p, axis=(0, 2))
        if J == 0:
            slope += tensors.linear[None, None]
            energy += p[0] @ tensors.linear
        slopes[J] = slope
    return energy, direct + pull_back(slopes)[0]
