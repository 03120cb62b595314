"""Exact columns that stand beside random units: powers of the distance, a uniform field, a trap."""

import math
from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .site_energy import AbstractSiteEnergy
from .sites import Pairs, Positions, Site


class AbstractExact(AbstractSiteEnergy):
    """Base of energies whose columns have a formula, and so coefficients with a meaning."""

    @abstractmethod
    def formulas(self, columns: int) -> tuple[str, ...]:
        """Formula of every column, to be written behind its coefficient: " r^2", "/r"."""


class Powers(AbstractExact):
    r"""Powers of the distance of pairs, $V = \sum_{pairs} c_{ij} \sum_n \theta_n r_{ij}^n$.

    `Powers((-1,))` is gravity or Coulomb's law, with the edges' `coupling` c; `Powers((1, 2))` are
    springs. Beside `Pair()`, with `QR(ridge="groups")`, each power has a ridge of its own: those
    that are not there vanish or stay zero within their error bars, and the random units take what
    no power describes.

    **Arguments:**

    - `exponents`: numbers n other than 0, without repetition.

    **Raises:** `ValueError` for exponents that are 0, not finite, or repeat.
    """

    name: ClassVar[str] = "powers"
    sites: ClassVar[Any] = Pairs()
    exponents: tuple[float | int, ...] = eqx.field(static=True)

    def __check_init__(self) -> None:
        given = self.exponents
        numbers = isinstance(given, tuple) and all(isinstance(n, int | float) for n in given)
        if not numbers or not given or len(set(given)) < len(given):
            raise ValueError(
                f"Powers() takes a tuple of different numbers, such as (-1, 2), got {given!r}"
            )
        if not all(math.isfinite(n) and n != 0 for n in given):
            raise ValueError(f"exponents must be finite and not 0, got {given}")

    def phi(self, z: Float[Array, " d"], site: Site) -> Float[Array, " K"]:
        r = jnp.sqrt(jnp.sum(z**2))  # not zero: `Pairs` gives padding a vector of ones
        return jnp.stack([r**n for n in self.exponents])

    def groups(self, columns: int) -> tuple[int, ...]:
        """Every power by itself."""
        return (1,) * columns

    def labels(self, count: int) -> tuple[str, ...]:
        return tuple(f"r^{n:g}" for n in self.exponents)

    def formulas(self, columns: int) -> tuple[str, ...]:
        return tuple(_power(n) for n in self.exponents)


class UniformField(AbstractExact):
    r"""A uniform field, $V = \sum_i \theta \cdot m_i q_i$: gravity on Earth, whose acceleration is
    $-\theta$. Its d columns are one group."""

    name: ClassVar[str] = "uniform field"
    sites: ClassVar[Any] = Positions()

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        # The positions themselves need no mass, but their weights do.
        return ("mass",)

    def phi(self, z: Float[Array, " d"], site: Site) -> Float[Array, " K"]:
        assert site.mass is not None
        return site.mass * z

    def formulas(self, columns: int) -> tuple[str, ...]:
        return tuple(f" m {axis}" for axis in _axes(columns))


class HarmonicTrap(AbstractExact):
    r"""An isotropic harmonic trap, $V = \sum_i \frac{k}{2} |q_i|^2 + b \cdot q_i$, with its centre
    at $-b / k$. The stiffness k (mass / time^2) and the d columns of b are two groups."""

    name: ClassVar[str] = "trap"
    sites: ClassVar[Any] = Positions()

    def phi(self, z: Float[Array, " d"], site: Site) -> Float[Array, " K"]:
        return jnp.concatenate([jnp.sum(z**2)[None] / 2, z])

    def groups(self, columns: int) -> tuple[int, ...]:
        return 1, columns - 1

    def labels(self, count: int) -> tuple[str, ...]:
        return "trap", "shift of the trap"

    def formulas(self, columns: int) -> tuple[str, ...]:
        return (" |q|^2/2", *(f" {axis}" for axis in _axes(columns - 1)))


def _power(n: float | int) -> str:
    size = "r" if abs(n) == 1 else f"r^{abs(n):g}"
    return f"/{size}" if n < 0 else f" {size}"


def _axes(dimension: int) -> tuple[str, ...]:
    return tuple("xyz"[:dimension]) if dimension <= 3 else tuple(f"x{k}" for k in range(dimension))
