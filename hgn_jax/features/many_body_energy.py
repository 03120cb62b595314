r"""Many-body energy for given coefficients, at a cost independent of the number of features.

The features of a signature, summed with their coefficients, make one tensor. The products of two
densities are $P_{J,p M}$, where p stands for two degrees and two radial indices. The energy of a
body is

$$E = \sum_p c_p P_{0,p}
    + \sum_{J,M} P_{J,pM} (T_{J,pq} A_{qJM} + \tfrac{1}{2} F_{J,pp'} P_{J,p'M})$$

with c from body order 3, T from order 4 and F from order 5: one matrix product for each J.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .harmonics import coupling
from .many_body_rows import factors
from .signatures import Signature

Pair = tuple[int, int, int]
"""Degrees of two densities, and the degree that they couple to."""


OfDensities = Callable[[Float[Array, "LM Q n"], Int[Array, " n"]], tuple[Array, Array]]
"""Energies of bodies of given species, and their derivatives with respect to the densities."""


def block_of_bodies() -> int:
    """Number of bodies per block: products of their densities fit into the cache of a processor, or
    fill an accelerator."""
    return 64 if jax.default_backend() == "cpu" else 2**14


def in_blocks(of_block: OfDensities) -> OfDensities:
    """The same function, evaluated in blocks of bodies."""

    def of(densities: Array, centre: Array) -> tuple[Array, Array]:
        n, size = len(centre), block_of_bodies()
        if n <= size:
            return of_block(densities, centre)
        padded = jnp.pad(densities, [(0, 0), (0, 0), (0, -n % size)])
        blocks = jnp.moveaxis(padded.reshape(*padded.shape[:2], -1, size), 2, 0)
        centres = jnp.pad(centre, (0, -n % size), constant_values=-1)  # -1 is no species
        energy, slope = jax.lax.map(lambda x: of_block(*x), (blocks, centres.reshape(-1, size)))
        return energy.ravel()[:n], jnp.moveaxis(slope, 0, 2).reshape(padded.shape)[:, :, :n]

    return of


class Tensors(NamedTuple):
    """Features of one central species, summed with their coefficients."""

    linear: Float[Array, " p"]
    """c of the pairs of densities that couple to degree 0."""
    with_density: dict[int, Float[Array, "p q"]]
    """T of each degree J."""
    with_product: dict[int, Float[Array, "f f"]]
    """F of each degree J, symmetric; of the first products only, see `pairs_of`."""


def pairs_of(signatures: Sequence[Signature]) -> dict[int, list[Pair]]:
    """Products of two densities that the signatures need, by the degree J that they couple to.

    Those that are multiplied with one another come first.
    """
    is_multiplied: dict[Pair, bool] = {}
    for signature in signatures:
        multiplied = len(signature.degrees) == 4
        for pair in _halves(signature):
            is_multiplied[pair] = multiplied or is_multiplied.get(pair, False)
    # False sorts before True: products that are multiplied come first.
    ordered = sorted(is_multiplied, key=lambda pair: (not is_multiplied[pair], pair))
    return {J: [p for p in ordered if p[2] == J] for J in sorted({p[2] for p in is_multiplied})}


def _halves(signature: Signature) -> list[Pair]:
    """Products of two densities in features of the signature."""
    d = signature.degrees
    if len(d) == 4:
        return [(d[0], d[1], signature.through), (d[2], d[3], signature.through)]
    return [(d[0], d[1], d[2] if len(d) == 3 else 0)]  # two factors are contracted: degree 0


def fold(
    signatures: Sequence[Signature],
    weights: Sequence[Float[Array, "_ _ Q"]],
    theta: Float[Array, " K"],
) -> Tensors:
    """Tensors of features with these signatures, weights and coefficients."""
    width, dtype = weights[0].shape[2], theta.dtype
    pairs = pairs_of(signatures)
    square = width * width
    # First row of each product, among those that couple to the same degree.
    place = {p: square * k for of_degree in pairs.values() for k, p in enumerate(of_degree)}
    size = {J: square * len(of_degree) for J, of_degree in pairs.items()}
    linear = jnp.zeros(size.get(0, 0), dtype)
    with_density = {J: jnp.zeros((n, width), dtype) for J, n in size.items()}
    multiplied = {p for s in signatures if len(s.degrees) == 4 for p in _halves(s)}
    factors_of = {J: square * len(multiplied.intersection(ps)) for J, ps in pairs.items()}
    with_product = {J: jnp.zeros((n, n), dtype) for J, n in factors_of.items()}
    start = 0
    for signature, w in zip(signatures, weights):
        own = theta[start : start + w.shape[1]]
        start += w.shape[1]
        d = signature.degrees
        # Both radial weights of a product as one row of Q^2; the coefficient enters once.
        left = (own[:, None, None] * w[0][:, :, None] * w[1][:, None]).reshape(len(own), square)
        if len(d) == 2:
            at = place[_halves(signature)[0]]
            linear = linear.at[at : at + square].add(jnp.sum(left, axis=0))
        elif len(d) == 3:
            at, J = place[_halves(signature)[0]], d[2]
            with_density[J] = with_density[J].at[at : at + square].add(left.T @ w[2])
        else:
            J = signature.through
            right = (w[2][:, :, None] * w[3][:, None]).reshape(len(own), square)
            at, to = (place[pair] for pair in _halves(signature))
            block = left.T @ right
            # F is symmetric: both orders of a product, of which the energy takes half.
            both = with_product[J].at[at : at + square, to : to + square].add(block)
            with_product[J] = both.at[to : to + square, at : at + square].add(block.T)
    return Tensors(linear, with_density, with_product)


def energy_and_slope(
    densities: Float[Array, "LM Q *n"], pairs: dict[int, list[Pair]], tensors: Tensors
) -> tuple[Float[Array, " *n"], Float[Array, "LM Q *n"]]:
    """Energy of every body, and its derivatives with respect to the densities of that body.

    Bodies are the last axis, so that operations on single bodies are vectorised.
    """
    sites = densities.shape[2:]
    energy = jnp.zeros(sites, densities.dtype)
    slope = jnp.zeros_like(densities)
    for J, of_degree in pairs.items():
        halves = [_half(densities, p) for p in of_degree]
        p = jnp.concatenate([_product(densities, p, half) for p, half in zip(of_degree, halves)])
        product = tensors.with_product[J]
        pull = jnp.zeros_like(p).at[: len(product)].set(_dot(product, p[: len(product)]))
        # The slope of P F P / 2 by P is F P, twice its share of the energy.
        of_product = pull / 2
        if (J + 1) ** 2 <= len(densities):  # two of degree 2 also couple to 3
            own, t = densities[J * J : (J + 1) ** 2], tensors.with_density[J]
            coupled = _dot(t, own.swapaxes(0, 1))
            of_product, pull = of_product + coupled, pull + coupled
            slope = slope.at[J * J : (J + 1) ** 2].add(_dot(t.T, p).swapaxes(0, 1))
        energy += jnp.sum(p * of_product, axis=(0, 1))
        if J == 0:
            # Degree 0 has a single component M.
            energy += jnp.tensordot(tensors.linear, p[:, 0], 1)
            pull += tensors.linear.reshape(-1, *[1] * (pull.ndim - 1))
        for k, (pair, half) in enumerate(zip(of_degree, halves)):
            width = densities.shape[1] ** 2
            slope = _pulled(slope, densities, pair, half, pull[k * width : (k + 1) * width])
    return energy, slope


def by_features(
    densities: Float[Array, "LM Q *n"],
    signatures: Sequence[Signature],
    weights: Sequence[Float[Array, "_ _ Q"]],
    theta: Float[Array, " K"],
) -> tuple[Float[Array, " *n"], Float[Array, "LM Q *n"]]:
    """The same as `energy_and_slope`, feature by feature: faster for large Q (several species)."""
    # `factors` takes the radial index last.
    every = jnp.moveaxis(densities, 1, -1)
    energy, slope, start = jnp.zeros_like(densities[0, 0]), jnp.zeros_like(every), 0
    for signature, w in zip(signatures, weights):
        own, end = factors(every, signature, w), start + w.shape[1]
        slopes = signature.slopes(own)
        # A product is linear in each factor: factor times slope is the feature itself.
        energy += jnp.sum(own[0] * slopes[0], axis=0) @ theta[start:end]
        for k, own_slope, own_weight in zip(signature.degrees, slopes, w):
            pull = jnp.dot(own_slope, theta[start:end, None] * own_weight, precision="highest")
            slope = slope.at[k * k : (k + 1) ** 2].add(pull)
        start = end
    return energy, jnp.moveaxis(slope, -1, 1)


def _half(densities: Array, pair: Pair) -> Float[Array, "a M Q *n"]:
    """Coupling tensor contracted with the second density."""
    a, b, J = pair
    right = densities[b * b : (b + 1) ** 2]
    matrix = jnp.asarray(coupling(a, b, J).transpose(0, 2, 1).reshape(-1, 2 * b + 1), right.dtype)
    # Kept by the caller: the derivative needs it again.
    return _dot(matrix, right).reshape(2 * a + 1, 2 * J + 1, *right.shape[1:])


def _product(densities: Array, pair: Pair, half: Array) -> Float[Array, "p M *n"]:
    """Products of two densities for all pairs of their radial indices, coupled to degree J."""
    left = densities[pair[0] ** 2 : (pair[0] + 1) ** 2]
    # [m 1 q 1 n] times [m M 1 q n]: the sum over m fuses into the loop over bodies.
    both = left[:, None, :, None] * half[:, :, None]
    return (
        jnp.sum(both, axis=0)
        .swapaxes(0, 1)
        .swapaxes(1, 2)
        .reshape(-1, half.shape[1], *half.shape[3:])
    )


def _pulled(
    slope: Array, densities: Array, pair: Pair, half: Array, pull: Float[Array, "p M *n"]
) -> Array:
    """Adds the contribution of one product to the slope, by the chain rule."""
    a, b, J = pair
    width = densities.shape[1]
    left = densities[a * a : (a + 1) ** 2]
    by_product = pull.reshape(width, width, 2 * J + 1, *pull.shape[2:])
    # Both sums run over short axes: [m M q r n], q of the first density, r of the second.
    by_product = by_product.transpose(2, 0, 1, *range(3, by_product.ndim))
    by_left = jnp.sum(by_product[None] * half[:, :, None], axis=(1, 3))
    by_half = jnp.sum(by_product[None] * left[:, None, :, None], axis=2)
    matrix = jnp.asarray(coupling(a, b, J).transpose(1, 0, 2).reshape(2 * b + 1, -1), pull.dtype)
    by_right = _dot(matrix, by_half.reshape(-1, *by_half.shape[2:]))
    # Right also for a = b, where both derivatives add up in the same rows.
    return slope.at[a * a : (a + 1) ** 2].add(by_left).at[b * b : (b + 1) ** 2].add(by_right)


def _dot(matrix: Float[Array, "i j"], values: Float[Array, "j ..."]) -> Float[Array, "i ..."]:
    # No -1 in the shape: there may be no rows.
    columns = values.reshape(len(values), math.prod(values.shape[1:]))
    # GPUs would round factors in float32 to ten bits without the precision.
    product = jnp.dot(matrix, columns, precision="highest")
    return product.reshape(len(matrix), *values.shape[1:])
