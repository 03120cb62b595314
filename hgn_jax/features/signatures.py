"""Signatures: ways to couple densities of given degrees to a rotational invariant."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .harmonics import coupling

Factor = Float[Array, "_ n _"]
"""Density of degree l, `[2l+1 n K]`, for K features of n bodies."""

FIVE_BODY_DEGREE = 3
FIVE_BODY_TOTAL = 6
"""Greatest degree of a factor of five-body features, and greatest sum of the four degrees: costs
grow steeply with both."""


class Signature(NamedTuple):
    """Degrees of the factors of a feature of body order len(degrees) + 1.

    Two factors of equal degree are contracted. Three are coupled by one tensor. Four are coupled
    two by two to the degree `through`, and the two products are contracted.
    """

    degrees: tuple[int, ...]
    through: int = 0

    @property
    def body_order(self) -> int:
        return len(self.degrees) + 1

    def __call__(self, factors: Sequence[Factor]) -> Float[Array, "n K"]:
        """Invariant product of the densities."""
        if len(factors) == 2:
            # The tensor that couples two equal degrees to 0 is 1 / sqrt(2 l + 1) on its diagonal.
            left, right = factors[0] / len(factors[0]) ** 0.5, factors[1]
        elif len(factors) == 3:
            left, right = product(factors[0], factors[1], self.degrees[2]), factors[2]
        else:
            a, b, c, d = factors
            left, right = product(a, b, self.through), product(c, d, self.through)
        return jnp.sum(left * right, axis=0)

    def slopes(self, factors: Sequence[Factor]) -> list[Factor]:
        """Derivative of the product with respect to each factor: the other factors, coupled."""
        if len(factors) == 2:
            return [factor / len(factor) ** 0.5 for factor in reversed(factors)]
        if len(factors) == 3:
            # The tensor has no preferred degree: any two factors couple to that of the third.
            others = [(factors[1], factors[2]), (factors[0], factors[2]), (factors[0], factors[1])]
        else:
            a, b, c, d = factors
            left, right = product(a, b, self.through), product(c, d, self.through)
            others = [(b, right), (a, right), (d, left), (c, left)]  # of a, b, c, d
        return [product(*pair, degree) for pair, degree in zip(others, self.degrees)]


def product(left: Factor, right: Factor, degree: int) -> Factor:
    r"""$\sum C_{m_1 m_2 m} a_{m_1} b_{m_2}$: the component of that degree of a product."""
    a, b = len(left), len(right)
    tensor = coupling((a - 1) // 2, (b - 1) // 2, degree)  # a = 2 l + 1 components
    # With bodies and features as columns, one matrix product needs no transposition.
    matrix = jnp.asarray(tensor.transpose(0, 2, 1).reshape(-1, b), right.dtype)
    columns = right.reshape(b, -1)
    # The precision matters on GPUs, which else round factors in float32 to ten bits.
    half = jax.lax.dot(matrix, columns, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(left[:, None] * half.reshape(a, -1, *right.shape[1:]), axis=0)


def three_body(degree: int) -> tuple[Signature, ...]:
    """Two factors of equal degree, for every degree."""
    return tuple(Signature((k, k)) for k in range(degree + 1))


def four_body(degree: int) -> tuple[Signature, ...]:
    """Three factors whose degrees satisfy the triangle inequality and have an even sum."""
    triples = itertools.combinations_with_replacement(range(degree + 1), 3)
    # As a <= b <= c, the other two triangle inequalities hold.
    return tuple(Signature((a, b, c)) for a, b, c in triples if (a + b + c) % 2 == 0 and c <= a + b)


def five_body(degree: int) -> tuple[Signature, ...]:
    """Two pairs of factors that couple to a common degree, each combination once."""
    pairs = itertools.combinations_with_replacement(range(min(degree, FIVE_BODY_DEGREE) + 1), 2)
    return tuple(
        Signature((*left, *right), through)
        for left, right in itertools.combinations_with_replacement(pairs, 2)
        if sum(left) + sum(right) <= FIVE_BODY_TOTAL
        for through in sorted(_couples(*left) & _couples(*right))
    )


def _couples(a: int, b: int) -> set[int]:
    """Degrees to which two densities couple without a change of parity."""
    return set(range(abs(a - b), a + b + 1, 2))
