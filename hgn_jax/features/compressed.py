"""Pair and kinetic energies as curves: what `model.compress` leaves of many random units."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import Gradient, NodeScalars
from ..graphs.geometry import sum_over_graphs, velocity_of
from .base import AbstractEnergy, Counts
from .curves import AbstractCurve
from .pair_base import AbstractPairFeatures
from .trained_range import too_fast


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

    def compress(
        self, theta: Float[Array, " K"], constants: Float[Array, " c"], tolerance: float
    ) -> tuple[AbstractEnergy, Float[Array, " _"]]:
        return self, theta


class CompressedKineticFeatures(AbstractEnergy):
    """One unit: the whole learned kinetic energy of a body per mass, a curve of |v|^2.

    5% beyond the greatest trained speed it goes on linearly in |v|^2.
    """

    name: ClassVar[str] = "kinetic"
    depends_on: ClassVar[tuple[str, ...]] = ("momentum",)
    needs: ClassVar[tuple[str, ...]] = ("mass",)
    curve: AbstractCurve
    speed_range: Float[Array, " 2"]
    error: Float[Array, ""]
    """Greatest error of the velocity up to the greatest trained speed, as for pairs."""

    @property
    def dimension(self) -> int | None:
        return None

    @property
    def reach(self) -> float:
        return 0.0

    @property
    def counts(self) -> Counts:
        return Counts()

    def accepts(self, graphs: GraphsTuple) -> None:
        return None

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        return sum_over_graphs(graphs, self._values(graphs))[:, None]

    def _values(self, graphs: GraphsTuple) -> NodeScalars:
        square = jnp.sum(velocity_of(graphs) ** 2, axis=1)
        return graphs.nodes["mass"] * self.curve(square)

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        one = jnp.ones(1, graphs.nodes["mass"].dtype)
        return Gradient(momentum=self.energy_gradient(graphs, one).momentum[:, :, None])

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        return theta[0] * self._values(graphs)

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        velocity = velocity_of(graphs)
        slope = self.curve.slope(jnp.sum(velocity**2, axis=1))
        return Gradient(momentum=(2 * theta[0] * slope)[:, None] * velocity)

    def compress(
        self, theta: Float[Array, " K"], constants: Float[Array, " c"], tolerance: float
    ) -> tuple[AbstractEnergy, Float[Array, " _"]]:
        return self, theta

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return too_fast(graphs, self.speed_range)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.speed_range
