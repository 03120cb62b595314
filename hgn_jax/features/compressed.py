"""Pair and kinetic energies as curves: what `model.compress` leaves of many random units."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import JacobianPair, NodeIndex, NodeScalars, Vectors
from ..graphs.geometry import velocity_of
from .base import AbstractEnergy
from .curves import AbstractCurve
from .kinetic import too_fast
from .pair_base import AbstractPairFeatures


class CompressedPairFeatures(AbstractPairFeatures):
    """One unit for each edge type: its whole learned potential, a curve of the squared distance.

    Up to 5% beyond the trained range the curve follows the model; from there on it goes on
    linearly in r^2, so that the force is proportional to r.
    """

    curves: tuple[AbstractCurve, ...]
    ranges: Float[Array, "T 2"]
    error: Float[Array, " T"]
    """Greatest error of the force at 6001 distances of the trained range, and 1001 more up to the
    cutoff, relative to the model's force there or to its median over that range, whichever is
    greater."""
    cutoff: float | None = eqx.field(static=True)

    def units(self, square: Float[Array, " s"], type: int) -> Float[Array, "s _"]:
        return self.curves[type](square)[:, None]

    def slopes(self, square: Float[Array, " s"], type: int) -> Float[Array, "s _"]:
        return self.curves[type].slope(square)[:, None]


class CompressedKineticFeatures(AbstractEnergy):
    """One unit: the whole learned kinetic energy of a body per mass, a curve of |v|^2.

    5% beyond the greatest trained speed it goes on linearly in |v|^2.
    """

    name: ClassVar[str] = "kinetic"
    separable: ClassVar[bool] = True
    curve: AbstractCurve
    speed_range: Float[Array, " 2"]
    error: Float[Array, ""]
    """Greatest error of the velocity up to the greatest trained speed, as for pairs."""

    @property
    def dimension(self) -> int | None:
        return None

    def sites(self, graphs: GraphsTuple) -> tuple[Float[Array, "s K"], NodeIndex]:
        mass = graphs.nodes["mass"]
        values = mass * self.curve(jnp.sum(velocity_of(graphs) ** 2, axis=1))
        return values[:, None], jnp.arange(len(mass))

    def gradient(self, graphs: GraphsTuple) -> JacobianPair:
        _, along = self.energy_gradient(graphs, jnp.ones(1, graphs.nodes["position"].dtype))
        return None, along[:, :, None]

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        return self.sites(graphs)[0] @ theta

    def energy_gradient(
        self, graphs: GraphsTuple, theta: Float[Array, " K"]
    ) -> tuple[None, Vectors]:
        velocity = velocity_of(graphs)
        slope = self.curve.slope(jnp.sum(velocity**2, axis=1))
        return None, (2 * theta[0] * slope)[:, None] * velocity

    def constants(self, graphs: GraphsTuple) -> Float[Array, "g c"]:
        return jnp.zeros((graphs.n_node.shape[0], 0), graphs.nodes["position"].dtype)

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return too_fast(graphs, self.speed_range)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.speed_range
