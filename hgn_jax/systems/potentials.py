"""Pair potentials: functions of one distance, with a parameter for every edge type."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int


class AbstractPotential(eqx.Module):
    """phi(r), energy. Each parameter is one number, or `[T]` numbers indexed by edge type."""

    @abstractmethod
    def __call__(self, r: Float[Array, ""], type: Int[Array, ""]) -> Float[Array, ""]:
        """Energy of one pair at distance r (length)."""


def _of(parameter: ArrayLike, type: Int[Array, ""], r: Float[Array, ""]) -> Float[Array, ""]:
    values = jnp.asarray(parameter, r.dtype)
    # A type without parameters must not borrow the last one's.
    return values.at[type].get(mode="fill", fill_value=jnp.nan) if values.ndim else values


class Spring(AbstractPotential):
    """stiffness/2 (r - rest_length)^2; stiffness in mass / time^2."""

    stiffness: ArrayLike = 1.0
    rest_length: ArrayLike = 0.0

    def __call__(self, r: Float[Array, ""], type: Int[Array, ""]) -> Float[Array, ""]:
        return _of(self.stiffness, type, r) / 2 * (r - _of(self.rest_length, type, r)) ** 2


class Anharmonic(AbstractPotential):
    """stiffness/2 x^2 + quartic/4 x^4 with x = r - rest_length."""

    stiffness: ArrayLike = 1.0
    quartic: ArrayLike = 1.0
    rest_length: ArrayLike = 0.0

    def __call__(self, r: Float[Array, ""], type: Int[Array, ""]) -> Float[Array, ""]:
        x = r - _of(self.rest_length, type, r)
        return _of(self.stiffness, type, r) / 2 * x**2 + _of(self.quartic, type, r) / 4 * x**4


class Morse(AbstractPotential):
    """depth (1 - exp(-width (r - rest_length)))^2; width in 1 / length."""

    depth: ArrayLike = 1.0
    width: ArrayLike = 1.0
    rest_length: ArrayLike = 1.0

    def __call__(self, r: Float[Array, ""], type: Int[Array, ""]) -> Float[Array, ""]:
        x = r - _of(self.rest_length, type, r)
        return _of(self.depth, type, r) * (1 - jnp.exp(-_of(self.width, type, r) * x)) ** 2


class DoubleWell(AbstractPotential):
    """strength (r^2 - rest_length^2)^2: the springs of the NeurIPS 2022 benchmark
    (Thangamuthu et al., arXiv 2211.05520)."""

    strength: ArrayLike = 1.0
    rest_length: ArrayLike = 1.0

    def __call__(self, r: Float[Array, ""], type: Int[Array, ""]) -> Float[Array, ""]:
        return _of(self.strength, type, r) * (r**2 - _of(self.rest_length, type, r) ** 2) ** 2


class LennardJones(AbstractPotential):
    """4 epsilon ((sigma/r)^12 - (sigma/r)^6)."""

    epsilon: ArrayLike = 1.0
    sigma: ArrayLike = 1.0

    def __call__(self, r: Float[Array, ""], type: Int[Array, ""]) -> Float[Array, ""]:
        s6 = (_of(self.sigma, type, r) / r) ** 6
        return 4 * _of(self.epsilon, type, r) * (s6**2 - s6)


class Newton(AbstractPotential):
    """-G / r, per product of the masses; G in length^3 / (mass time^2)."""

    gravitational_constant: ArrayLike = 1.0

    def __call__(self, r: Float[Array, ""], type: Int[Array, ""]) -> Float[Array, ""]:
        return -_of(self.gravitational_constant, type, r) / r
