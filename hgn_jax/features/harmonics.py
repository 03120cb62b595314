"""Real spherical harmonics, and their coupling to invariants."""

from functools import cache
from types import ModuleType
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

AnyArray: TypeAlias = Any
"""Array of JAX or NumPy."""


def harmonics(
    direction: Float[AnyArray, "3 ..."], degree: int, square: Any = 1.0
) -> list[Float[AnyArray, "_ ..."]]:
    r"""Real $Y_{lm}$ of unit vectors for l = 0 .. `degree`: one array `[2l+1 ...]` for each l.

    m runs from -l to l, and $\sum_m Y_{lm}^2 = 2l + 1$. They are polynomials of x, y, z, without
    the Condon-Shortley phase: $Y_{l,\pm m}$ is a function of z times the imaginary or real part of
    $(x + iy)^m$. Vectors of other lengths with their `square` $r^2$ give $r^l Y_{lm}$.
    """
    # NumPy in, NumPy out: coupling tensors are constants, which jit must not trace.
    xp: ModuleType = np if isinstance(direction, np.ndarray) else jnp
    x, y, z = direction
    one = xp.ones_like(z)
    # (x + iy)^m by products: the azimuth is undefined on the z axis.
    real, imaginary = [one], [xp.zeros_like(z)]
    for _ in range(degree):
        c, s = real[-1], imaginary[-1]
        real.append(x * c - y * s)
        imaginary.append(x * s + y * c)
    # Associated Legendre functions over (1 - z^2)^(m/2), by their recurrence in l.
    legendre: dict[tuple[int, int], Any] = {}
    for m in range(degree + 1):
        legendre[m, m] = one * float(np.prod(np.arange(1.0, 2 * m, 2)))  # (2m - 1)!!
        for k in range(m + 1, degree + 1):
            before = (k + m - 1) * square * legendre[k - 2, m] if k > m + 1 else 0.0
            legendre[k, m] = ((2 * k - 1) * z * legendre[k - 1, m] - before) / (k - m)
    return [
        xp.stack(
            [_norm(k, m) * legendre[k, m] * imaginary[m] for m in range(k, 0, -1)]  # m = -l .. -1
            + [_norm(k, m) * legendre[k, m] * real[m] for m in range(k + 1)]  # m = 0 .. l
        )
        for k in range(degree + 1)
    ]


def solid_harmonics(x: Float[AnyArray, " d"], degree: int) -> list[Float[AnyArray, " _"]]:
    r"""Solid harmonics of a point in two or three dimensions, for l = 0 .. `degree`.

    In three dimensions $r^l Y_{lm}$, `[2l+1]` for each l. In two the imaginary and real part of
    $\sqrt 2 (x + iy)^l$, `[2]` for each l except `[1]` for l = 0. They are homogeneous polynomials
    of degree l that solve Laplace's equation, so they are smooth at the origin.
    """
    xp: ModuleType = np if isinstance(x, np.ndarray) else jnp
    if len(x) == 3:
        return harmonics(x, degree, xp.sum(x**2))
    by_degree = [xp.ones_like(x[:1])]
    real, imaginary = xp.ones_like(x[0]), xp.zeros_like(x[0])
    for _ in range(degree):
        real, imaginary = x[0] * real - x[1] * imaginary, x[0] * imaginary + x[1] * real
        by_degree.append(2**0.5 * xp.stack([imaginary, real]))  # cos^2 averages to 1/2
    return by_degree


@cache
def coupling(l1: int, l2: int, l3: int) -> Float[np.ndarray, "a b c"]:
    r"""Tensor `[2l1+1 2l2+1 2l3+1]` that couples $Y_{l_1}$ and $Y_{l_2}$ to a tensor of degree l3.

    $C \propto \int Y_{l_1 m_1} Y_{l_2 m_2} Y_{l_3 m_3}$, so that the product of three densities
    contracted with it is invariant under rotations; for even l1 + l2 + l3 these are the
    Clebsch-Gordan coefficients. $\sum C^2 = 1$ over all three indices.

    **Raises:** `ValueError` if l1 + l2 + l3 is odd, or the degrees violate the triangle inequality.
    """
    if (l1 + l2 + l3) % 2 or not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"degrees {l1}, {l2}, {l3} do not couple")
    # Exact quadrature: Gauss-Legendre in z, equidistant in the azimuth.
    total = l1 + l2 + l3
    z, weight = np.polynomial.legendre.leggauss(total // 2 + 1)
    azimuth = 2 * np.pi * np.arange(total + 1) / (total + 1)
    rho = np.sqrt(1 - z**2)[:, None]
    grid = np.stack(
        [
            rho * np.cos(azimuth),
            rho * np.sin(azimuth),
            np.broadcast_to(z[:, None], (len(z), len(azimuth))),
        ]
    )
    values = harmonics(grid, max(l1, l2, l3))
    # The weight of the azimuth is constant and cancels when the tensor is normalised.
    product = np.einsum("aij,bij,cij,i->abc", values[l1], values[l2], values[l3], weight)
    # Rounding must not couple what the selection rules forbid.
    product[np.abs(product) < 1e-12 * np.abs(product).max()] = 0
    return product / np.linalg.norm(product)


def _norm(degree: int, m: int) -> float:
    """Factor that makes the squares of one degree l add up to 2l + 1."""
    ratio = np.prod(np.arange(degree - m + 1.0, degree + m + 1))  # (l + m)! / (l - m)!
    # Squared cosines and sines of the azimuth average to 1/2 unless m = 0.
    return float(np.sqrt((2 * degree + 1) / ratio * (1 if m == 0 else 2)))
