"""Known Hamiltonians of bodies with an axis: point dipoles and Gay-Berne ellipsoids."""

import math
from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import Gradient, GraphScalars
from ..features.contact import anisotropy, overlap, strength, surface_distance
from ..features.sites import AxisPairs
from ..graphs.geometry import sum_over_graphs
from ..graphs.kinetic import node_kinetic_energy
from ..models.base import differentiated
from ..models.equations_of_motion import AbstractDynamics
from ..models.linear_rotors import LinearRotors
from ..models.newtonian import AbstractNewtonian


class AbstractAxisPotential(eqx.Module):
    """Energy of a pair of bodies with axes."""

    @abstractmethod
    def __call__(self, z: Float[Array, " 4"]) -> Float[Array, ""]:
        r"""Energy at $z = (r, n_i \cdot \hat r, n_j \cdot \hat r, n_i \cdot n_j)$ of
        `hgn.sites.AxisPairs`."""


class PointDipoles(AbstractAxisPotential):
    r"""$4 \epsilon (\sigma / r)^{12} + \mu^2 (n_i \cdot n_j - 3\, n_i \cdot \hat r\,
    n_j \cdot \hat r) / r^3$: point dipoles with a soft core, in units where
    $4 \pi \epsilon_0 = 1$."""

    moment: float = eqx.field(default=1.0, static=True)
    epsilon: float = eqx.field(default=1.0, static=True)
    sigma: float = eqx.field(default=1.0, static=True)

    def __call__(self, z: Float[Array, " 4"]) -> Float[Array, ""]:
        r, a, b, c = z
        core = 4 * self.epsilon * (self.sigma / r) ** 12
        return core + self.moment**2 * (c - 3 * a * b) / r**3


class GayBerne(AbstractAxisPotential):
    r"""$4 \epsilon (\rho^{-12} - \rho^{-6})$ with the distance
    $\rho = (r - \sigma(n_i, n_j, \hat r) + \sigma_{side}) / \sigma_{side}$ and the depth
    $\epsilon = \epsilon_0 (1 - \chi^2 c^2)^{-\nu/2} g(\chi')^\mu$.

    $\sigma = \sigma_{side}\, g(\chi)^{-1/2}$ is the contact distance of Gaussian overlaps g, see
    `hgn.AxisPair`, and c the cosine between the axes.

    - `side`, `end`: distances of contact side by side and end to end (length).
    - `well`: ratio of the depths of the wells side by side and end to end.
    - `depth`: $\epsilon_0$ (energy), the depth of crossed bodies.
    - `mu`, `nu`: the exponents.

    Gay and Berne, Modification of the overlap potential to mimic a linear site-site potential,
    J. Chem. Phys. 74, 1981.
    """

    side: float = eqx.field(default=1.0, static=True)
    end: float = eqx.field(default=3.0, static=True)
    well: float = eqx.field(default=5.0, static=True)
    depth: float = eqx.field(default=1.0, static=True)
    mu: float = eqx.field(default=2.0, static=True)
    nu: float = eqx.field(default=1.0, static=True)

    def __check_init__(self) -> None:
        for name in ("side", "end", "well", "depth", "mu"):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")

    def __call__(self, z: Float[Array, " 4"]) -> Float[Array, ""]:
        lengths = self.side, self.end
        # chi' = (x - 1) / (x + 1) with x = well^(1 / mu), where chi has squares.
        of_wells = anisotropy(self.well ** (0.5 / self.mu))
        s6 = (self.side / surface_distance(z, lengths)) ** 6
        depth = self.depth * strength(z, lengths) ** self.nu * overlap(z, of_wells) ** self.mu
        return 4 * depth * (s6**2 - s6)


class Rotors(AbstractNewtonian):
    r"""$H = \sum_i |p_i|^2 / 2 m_i + |L_i|^2 / 2 I_i + \sum_{pairs} c_{ij}\, u(r_{ij}, n_i, n_j)$
    with the dynamics of `hgn.LinearRotors`; c is the edges' `coupling`, one if absent."""

    needs: ClassVar[tuple[str, ...]] = ("mass", "inertia")
    potential: AbstractAxisPotential

    @property
    def dynamics(self) -> AbstractDynamics:
        return LinearRotors()

    @property
    def reach(self) -> float:
        return math.inf

    def __call__(self, graphs: GraphsTuple) -> GraphScalars:
        at = AxisPairs().of(graphs)
        pairs = at.weight * jax.vmap(self.potential)(at.vector)
        energy = AxisPairs().collect(graphs, pairs) + node_kinetic_energy(graphs)
        return sum_over_graphs(graphs, energy)

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        return differentiated(self, graphs)


def dipoles(*, moment: float = 1.0, epsilon: float = 1.0, sigma: float = 1.0) -> Rotors:
    """Point dipoles with a soft core, see `PointDipoles`, on every edge of the graph."""
    return Rotors(PointDipoles(moment, epsilon, sigma))


def gay_berne(
    *, side: float = 1.0, end: float = 3.0, well: float = 5.0, depth: float = 1.0
) -> Rotors:
    """Ellipsoids with the potential of Gay and Berne, see `GayBerne`, on every edge.

    **Raises:** `ValueError` for a parameter that is not positive.
    """
    return Rotors(GayBerne(side, end, well, depth))
