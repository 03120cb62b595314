"""Quantities of a state, recorded along a rollout instead of the state itself."""

import math
import numbers
from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._tree import is_concrete
from ..graphs.cell import ROUNDING, Cell, require_cell
from ..graphs.geometry import cell_of, movable, node_mask, sum_over_graphs, velocity_of
from ..graphs.kinetic import degrees_of_freedom, kinetic_energy, node_kinetic_energy
from ..models.base import AbstractModel

PAIRS = 2**20
"""Distances computed at a time."""
BALLS = {1: 2.0, 2: np.pi, 3: 4 / 3 * np.pi}
"""Volume of the unit ball in each dimension."""


class AbstractObservable(eqx.Module):
    """A quantity of the state at an output; `path.observed[name]` holds it for all outputs.

    It has one value per graph of a batch, `[g ...]`; `path.observed` omits this axis for a single
    graph.
    """

    name: eqx.AbstractClassVar[str]
    additive: ClassVar[bool] = False
    """True if it follows from the model's energy and virial and from sums over bodies by
    `sum_over_graphs`: then it can be computed on devices that hold a part of the bodies each."""

    @abstractmethod
    def __call__(
        self, model: AbstractModel, graphs: GraphsTuple, start: GraphsTuple
    ) -> Float[Array, "g ..."]:
        """The quantity; `start` are the same graphs at the first time."""

    def check(self, graphs: GraphsTuple) -> None:
        """Raises `ValueError` for graphs that do not have the quantity."""
        return None


class KineticEnergy(AbstractObservable):
    r"""$\sum_i |p_i|^2 / 2 m_i$, and $|L_i|^2 / 2 I_i$ of bodies with an axis (mass length^2 /
    time^2)."""

    name: ClassVar[str] = "kinetic_energy"
    additive: ClassVar[bool] = True

    def __call__(
        self, model: AbstractModel, graphs: GraphsTuple, start: GraphsTuple
    ) -> Float[Array, " g"]:
        return sum_over_graphs(graphs, node_kinetic_energy(graphs))


class Temperature(AbstractObservable):
    r"""$\sum_i |p_i|^2 / m_i$ over the degrees of freedom: k T (energy).

    `fixed` bodies have none. `constraints` are subtracted: d for a total momentum of zero. Of
    bodies with an axis it is the temperature of translations.
    """

    name: ClassVar[str] = "temperature"
    additive: ClassVar[bool] = True
    constraints: int = eqx.field(default=0, static=True)

    def __call__(
        self, model: AbstractModel, graphs: GraphsTuple, start: GraphsTuple
    ) -> Float[Array, " g"]:
        kinetic = kinetic_energy(graphs, graphs.nodes["momentum"])
        return 2 * kinetic / degrees_of_freedom(graphs, self.constraints)


class ConservedEnergy(AbstractObservable):
    """Energy, less the heat that a thermostat has given to the bodies (energy).

    It is constant up to the errors of the integrator: if it drifts, the step is too long. Without a
    thermostat it is the energy.

    Bussi and Parrinello, Accurate sampling using Langevin dynamics, Physical Review E 75, 2007.
    """

    name: ClassVar[str] = "conserved_energy"
    additive: ClassVar[bool] = True

    def __call__(
        self, model: AbstractModel, graphs: GraphsTuple, start: GraphsTuple
    ) -> Float[Array, " g"]:
        return model(graphs) - graphs.globals.get("heat", 0.0)


class Momentum(AbstractObservable):
    r"""$\sum_i p_i$, `[g d]` (mass length / time)."""

    name: ClassVar[str] = "momentum"
    additive: ClassVar[bool] = True

    def __call__(
        self, model: AbstractModel, graphs: GraphsTuple, start: GraphsTuple
    ) -> Float[Array, "g d"]:
        return sum_over_graphs(graphs, graphs.nodes["momentum"])


class AngularMomentum(AbstractObservable):
    r"""$\sum_i q_i \wedge p_i + L_i$ about the origin, `[g d(d-1)/2]` (mass length^2 / time).

    L is the angular momentum of bodies with an axis, zero for others. In three dimensions this is
    the usual vector, in two its one component $x p_y - y p_x$.
    """

    name: ClassVar[str] = "angular_momentum"
    additive: ClassVar[bool] = True

    def __call__(
        self, model: AbstractModel, graphs: GraphsTuple, start: GraphsTuple
    ) -> Float[Array, "g _"]:
        q, p = graphs.nodes["position"], graphs.nodes["momentum"]
        first, second = np.triu_indices(q.shape[1], 1)
        if q.shape[1] == 3:
            # Components yz, zx, xy, as in the cross product.
            first, second = np.array([1, 2, 0]), np.array([2, 0, 1])
        orbital = q[:, first] * p[:, second] - q[:, second] * p[:, first]
        own = graphs.nodes.get("angular_momentum", jnp.zeros_like(orbital))
        return sum_over_graphs(graphs, orbital + own)


class MeanSquaredDisplacement(AbstractObservable):
    r"""Mean of $|q_i(t) - q_i(0)|^2$ over mobile bodies (length^2).

    Positions are never wrapped, so displacements through periodic boundaries count in full.
    """

    name: ClassVar[str] = "mean_squared_displacement"
    additive: ClassVar[bool] = True

    def __call__(
        self, model: AbstractModel, graphs: GraphsTuple, start: GraphsTuple
    ) -> Float[Array, " g"]:
        moved = graphs.nodes["position"] - start.nodes["position"]
        return _mean_over_mobile(graphs, jnp.sum(moved**2, axis=1))


class VelocityAutocorrelation(AbstractObservable):
    r"""Mean of $v_i(t) \cdot v_i(0)$ over mobile bodies (length^2 / time^2).

    Its cosine transform is the spectrum of the motion, its integral over time d times the diffusion
    constant.
    """

    name: ClassVar[str] = "velocity_autocorrelation"
    additive: ClassVar[bool] = True

    def __call__(
        self, model: AbstractModel, graphs: GraphsTuple, start: GraphsTuple
    ) -> Float[Array, " g"]:
        product = jnp.sum(velocity_of(graphs) * velocity_of(start), axis=1)
        return _mean_over_mobile(graphs, product)


class RadialDistribution(AbstractObservable):
    r"""Radial distribution function g(r) in `bins` shells up to `reach` (length).

    `[1 bins]`, for a single graph in a periodic `cell` of any shape, with heights (distances of
    opposite faces) of at least twice the reach, in 1 to 3 dimensions:
    $g_k = 2 N_k V / (n (n - 1) V_k)$, with $N_k$ pairs in shell k of volume $V_k$. It computes all
    n^2 distances. `r` holds the middles of the shells. Average over times for a smooth curve.

    **Raises:** `ValueError` for a reach or a number of bins that is not positive.

    Allen and Tildesley, Computer Simulation of Liquids, 2nd ed., section 8.2.
    """

    name: ClassVar[str] = "radial_distribution"
    reach: float = eqx.field(static=True)
    bins: int = eqx.field(default=100, static=True)

    def __check_init__(self) -> None:
        if not 0 < self.reach < math.inf:
            raise ValueError(f"reach must be positive and finite, got {self.reach}")
        if not isinstance(self.bins, numbers.Integral) or self.bins < 1:
            raise ValueError(f"bins must be an integer of at least 1, got {self.bins!r}")

    @property
    def r(self) -> np.ndarray:
        """Middles of the shells."""
        return (np.arange(self.bins) + 0.5) * self.reach / self.bins

    def check(self, graphs: GraphsTuple) -> None:
        if "cell" not in graphs.globals or int(graphs.n_node.shape[0]) > 1:
            raise ValueError("g(r) needs a single graph with a periodic cell")
        if graphs.nodes["position"].shape[1] not in BALLS:
            raise ValueError(
                f"g(r) is known in 1 to 3 dimensions, position has "
                f"{graphs.nodes['position'].shape[1]}"
            )
        if not is_concrete(graphs.globals["cell"]):
            return
        cell = Cell(np.asarray(graphs.globals["cell"], float)[0])
        require_cell(cell.matrix)
        if cell.heights.min() < 2 * self.reach * ROUNDING:
            raise ValueError(
                f"g(r) up to {self.reach:g} needs a cell whose heights, the distances of opposite "
                f"faces, are at least twice that, got {cell.heights.tolist()}: take a smaller "
                "reach, or repeat the cell"
            )

    def __call__(
        self, model: AbstractModel, graphs: GraphsTuple, start: GraphsTuple
    ) -> Float[Array, "g bins"]:
        position, mask = graphs.nodes["position"], node_mask(graphs)
        n, d = position.shape
        cell = cell_of(graphs)

        def counts(block: tuple[Array, Array]) -> Array:
            centre, real = block
            displacement = cell.minimum_image(position[None] - centre[:, None])
            r = jnp.sqrt(jnp.sum(displacement**2, axis=-1))
            shell = jnp.floor(r * (self.bins / self.reach)).astype(jnp.int32)
            counted = real[:, None] & mask[None] & (shell < self.bins) & (r > 0)  # not itself
            shell = jnp.where(counted, shell, self.bins)  # one more shell for all others
            return jnp.bincount(shell.ravel(), length=self.bins + 1)[: self.bins]

        size = max(1, min(n, PAIRS // n))
        missing = -n % size  # fills the last block
        rows = (
            jnp.concatenate([position, position[:1] + jnp.zeros((missing, d), position.dtype)]),
            jnp.concatenate([mask, jnp.zeros(missing, bool)]),
        )
        split = jax.tree.map(lambda a: a.reshape(-1, size, *a.shape[1:]), rows)
        pairs = jnp.sum(jax.lax.map(counts, split), axis=0).astype(position.dtype)
        bodies = jnp.sum(mask).astype(position.dtype)
        edges = np.arange(self.bins + 1) * self.reach / self.bins
        volume = jnp.asarray(BALLS[d] * np.diff(edges**d), position.dtype)
        # Pairs were counted in both directions, hence no factor of 2.
        even = bodies * (bodies - 1) / cell.volume * volume
        g = (pairs / even)[None]
        return jnp.concatenate([g, jnp.zeros((graphs.n_node.shape[0] - 1, self.bins), g.dtype)])


def _mean_over_mobile(graphs: GraphsTuple, values: Float[Array, " n"]) -> Float[Array, " g"]:
    mobile = movable(graphs)
    count = sum_over_graphs(graphs, mobile.astype(values.dtype))
    return sum_over_graphs(graphs, jnp.where(mobile, values, 0)) / jnp.maximum(count, 1)
