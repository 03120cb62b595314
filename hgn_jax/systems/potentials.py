"""Pair potentials: functions of one distance, with a parameter for every edge type."""

import math
from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

COULOMB = 14.399645
"""e^2 / (4 pi epsilon_0), eV A."""
BOHR = 0.52917721
"""Bohr radius, A."""
SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
"""Coefficients and exponents of the universal screening function."""


class AbstractPotential(eqx.Module):
    """phi(r), energy. Each parameter is one number, or `[T]` numbers indexed by edge type."""

    @abstractmethod
    def __call__(self, r: Float[Array, ""], type: Int[Array, ""]) -> Float[Array, ""]:
        """Energy of one pair at distance r (length)."""


def _of(parameter: ArrayLike, type: Int[Array, ""], r: Float[Array, ""]) -> Float[Array, ""]:
    values = jnp.asarray(parameter, r.dtype)  # the data decide the precision
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


class Smoothed(AbstractPotential):
    r"""A potential smoothed to zero between `onset` $r_o$ and `cutoff` $r_c$ (lengths).

    Between them it is multiplied by
    $(r_c^2 - r^2)^2 (r_c^2 + 2 r^2 - 3 r_o^2) / (r_c^2 - r_o^2)^3$, the smoothing of HOOMD-blue
    (`xplor`) and jax-md (`multiplicative_isotropic_cutoff`); beyond it is zero. Energy and force
    are continuous, the slope of the force is not.
    """

    potential: AbstractPotential
    onset: float = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        if not 0 < self.onset < self.cutoff < math.inf:
            raise ValueError(
                f"need 0 < onset < cutoff, got onset {self.onset} and cutoff {self.cutoff}"
            )

    def __call__(self, r: Float[Array, ""], type: Int[Array, ""]) -> Float[Array, ""]:
        ro, rc = self.onset**2, self.cutoff**2  # squared lengths
        # Clipping is exact: the polynomial is flat at both ends.
        x = jnp.clip(r**2, ro, rc)
        factor = (rc - x) ** 2 * (rc + 2 * x - 3 * ro) / (rc - ro) ** 3
        return factor * self.potential(r, type)


class ZBL(AbstractPotential):
    r"""Screened repulsion of nuclei, $\frac{e^2}{4 \pi \epsilon_0} \frac{Z_1 Z_2}{r} \Phi(r / a)$.

    $a = 0.8854 a_0 / (Z_1^{0.23} + Z_2^{0.23})$ and $\Phi$ is the universal screening function of
    Ziegler, Biersack and Littmark (The Stopping and Range of Ions in Solids, 1985). Lengths in A,
    energies in eV.
    """

    first: ArrayLike
    """Atomic number of one body."""
    second: ArrayLike
    """Atomic number of the other."""

    def __call__(self, r: Float[Array, ""], type: Int[Array, ""]) -> Float[Array, ""]:
        one, two = _of(self.first, type, r), _of(self.second, type, r)
        x = r * (one**0.23 + two**0.23) / (0.8854 * BOHR)
        screening = sum(c * jnp.exp(-d * x) for c, d in SCREENING)
        return COULOMB * one * two / r * screening


class Newton(AbstractPotential):
    """-G / r, to be multiplied by the product of the masses; G in length^3 / (mass time^2)."""

    gravitational_constant: ArrayLike = 1.0

    def __call__(self, r: Float[Array, ""], type: Int[Array, ""]) -> Float[Array, ""]:
        return -_of(self.gravitational_constant, type, r) / r
