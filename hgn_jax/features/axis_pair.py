"""Energy of pairs of bodies that have an axis."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._arguments import whole_number
from .._tree import is_concrete
from .._types import EdgeMask, Key
from .axis_pair_base import AbstractAxisPairFeatures
from .base import AbstractEnergy, AbstractTermSpec, Fitted
from .compressed_axis_pair import compressed
from .compression import in_double_precision
from .contact import surface_distance
from .dense import Dense
from .pair_base import observable, up_to_cutoff
from .sampling import ELM, AbstractSampling
from .sites import AxisPairs, Site
from .trained_range import extent


class AxisPairFeatures(AbstractAxisPairFeatures):
    r"""$V = \sum_{pairs} c_{ij} \sum f_{abc}(s_{ij}) P_a(n_i \cdot \hat r) P_b(n_j \cdot \hat r)
    P_c(n_i \cdot n_j)$ with random units f of a distance s, the same for all products of Legendre
    polynomials P."""

    near: Dense
    far: Dense
    """Units of s, and of log s."""
    range: Float[Array, " 2"]
    degrees: tuple[tuple[int, int, int], ...] = eqx.field(static=True)
    contact: tuple[float, float] = eqx.field(static=True)
    cutoff: float | None = eqx.field(static=True)

    def phi(self, z: Float[Array, " 4"], site: Site) -> Float[Array, " K"]:
        units = self._units(self.distance(z)[None])[0]
        return (self.angular(z)[:, None] * units[None]).ravel()

    def _units(self, s: Float[Array, " s"]) -> Float[Array, "s U"]:
        return jnp.concatenate([self.near(s[:, None]), self.far(jnp.log(s)[:, None])], axis=1)

    def compress(
        self,
        theta: Float[Array, " K"],
        constants: Float[Array, " c"],
        tolerance: float,
        smallest: bool,
    ) -> tuple[AbstractEnergy, Float[Array, " _"]]:
        precise, coefficients = in_double_precision((self, theta))
        of_products = coefficients.reshape(len(self.degrees), -1).T

        @eqx.filter_jit
        def radial(s: Float[Array, " s"]) -> tuple[Array, Array]:
            """Sums over the units, and their slopes by log s."""
            return jax.jvp(
                lambda log: precise._units(jnp.exp(log)) @ of_products, (jnp.log(s),),
                (jnp.ones_like(s),),
            )  # fmt: skip

        smaller = compressed(radial, precise, tolerance)
        smaller = jax.tree.map(lambda a: a.astype(theta.dtype), smaller)
        return smaller, jnp.ones(1, theta.dtype)


class AxisPair(AbstractTermSpec):
    r"""Pair energies of bodies with an axis, such as dipoles or ellipsoids, for
    `dynamics=hgn.LinearRotors()`:

    $$V = \sum_{pairs} c_{ij} \sum_{abc} f_{abc}(s_{ij})\, P_a(n_i \cdot \hat r)\,
    P_b(n_j \cdot \hat r)\, P_c(n_i \cdot n_j)$$

    with Legendre polynomials P and random units of s, half of s and half of log s. V does not
    change under translations, rotations and reflections, nor under an exchange of the bodies. The
    isotropic part of the energy, a = b = c = 0, is included: no `Pair()` is needed. All bodies are
    alike, whatever their species and the types of their edges; c is the edges' `coupling`.

    **Arguments:**

    - `units`: number of units for each product, even.
    - `degree`: greatest degree in each axis, $a + c$ and $b + c$. Dipoles need 1, quadrupoles 2.
    - `polar`: False if head and tail of the bodies are alike. Then only products that are even in
        each axis are used, about a quarter of them.
    - `contact`: distances at which two bodies touch side by side and end to end (length), for
        elongated or flat bodies. s is then
        $r - \sigma(n_i, n_j, \hat r) + \sigma_{side}$ with the contact distance $\sigma$ of
        Gaussian overlaps, so that steep repulsions of all directions have one s; and energies are
        multiplied by the strength of these overlaps, $(1 - \chi^2 (n_i \cdot n_j)^2)^{-1/2}$ with
        $\chi = (\kappa^2 - 1) / (\kappa^2 + 1)$ and the ratio $\kappa$ of the lengths. None: s = r.
        Choose it by the error of held-out training data.
    - `cutoff`: distance at which all energies fade to zero (length).
    - `sampling`, `activation`: as in `Pair`.

    **Raises:** `ValueError` if `units` is odd or less than 2, for a negative degree, contact
    distances or a cutoff that are not positive. A fit raises it for data without axes or edges, or
    with pairs that are nearer than `contact` allows.

    Bekkers et al., Fast, expressive SE(n) equivariant networks through weight-sharing in
    position-orientation space, ICLR 2024 (arXiv 2310.02970), whose invariants these are.
    Berne and Pechukas, Gaussian model potentials for molecular interactions, J. Chem. Phys. 56,
    1972.
    """

    units: int = eqx.field(default=32, static=True)
    degree: int = eqx.field(default=1, static=True)
    polar: bool = eqx.field(default=True, static=True)
    contact: tuple[float, float] | None = eqx.field(default=None, static=True)
    cutoff: float | None = eqx.field(default=None, static=True)
    sampling: AbstractSampling = ELM()
    activation: str = eqx.field(default="tanh", static=True)

    def __check_init__(self) -> None:
        if whole_number("units", self.units, 2) % 2:
            raise ValueError(f"units must be even, got {self.units}")
        whole_number("degree", self.degree, 0)
        if self.contact is not None and not (
            len(self.contact) == 2 and all(0 < x < math.inf for x in self.contact)
        ):
            raise ValueError(
                "contact must be two positive distances, side by side and end to end, got "
                f"{self.contact}"
            )
        if self.cutoff is not None and not 0 < self.cutoff < math.inf:
            raise ValueError(f"cutoff must be positive and finite, got {self.cutoff}")

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "AxisPair":
        if "axis" not in data.nodes:
            raise ValueError('AxisPair() needs nodes["axis"], the unit vector of every body')
        if not len(data.senders):
            raise ValueError("the data have no edges: leave AxisPair() out, or join bodies")
        if self.contact is not None and is_concrete(data):
            with jax.ensure_compile_time_eval():  # else jit would trace concrete data
                least = float(_distances(data, self.contact, self.cutoff)[2][0])
            if not least > 0:
                raise ValueError(
                    f"contact={self.contact} is too long: a pair of the data is nearer than that "
                    f"allows, by {self.contact[0] - least:.3g} (s = {least:.3g})"
                )
        return self

    def sample(
        self, key: Key, data: GraphsTuple, previous: Fitted | None = None
    ) -> AxisPairFeatures:
        contact = self.contact or (1.0, 1.0)  # of spheres: s = r, whatever their size
        s, mask, range_ = _distances(data, contact, self.cutoff)
        s = jnp.where(mask, s, 1)[:, None]  # padding has no logarithm
        first, second = jr.split(key)
        half = self.units // 2
        return AxisPairFeatures(
            near=self.sampling(first, s, mask, half, self.activation),
            # If the mean of log s is zero, rounding would count as variation: hence unit 1.
            far=self.sampling(second, jnp.log(s), mask, half, self.activation, unit=1.0),
            range=range_,
            degrees=products(self.degree, self.polar),
            contact=contact,
            cutoff=self.cutoff,
        )


def _distances(
    data: GraphsTuple, contact: tuple[float, float], cutoff: float | None
) -> tuple[Float[Array, " e"], EdgeMask, Float[Array, " 2"]]:
    """s of all edges, those that count, and the range of s."""
    s = jax.vmap(lambda z: surface_distance(z, contact))(AxisPairs().of(data).vector)
    mask = observable(data, cutoff)
    return s, mask, up_to_cutoff(extent(s, mask), cutoff)


def products(degree: int, polar: bool) -> tuple[tuple[int, int, int], ...]:
    """Degrees (a, b, c) of all products with a + c and b + c up to `degree`.

    Only those with a <= b: the other direction of each pair adds those with a > b.
    """
    several = range(degree + 1)
    return tuple(
        (a, b, c)
        for c in several
        for b in several[: degree - c + 1]
        for a in several[: b + 1]
        if polar or (a + c) % 2 == (b + c) % 2 == 0
    )
