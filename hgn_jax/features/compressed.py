"""Pair and kinetic energies as curves, with which `model.compress` replaces many random units."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.lax import platform_dependent
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import Gradient, NodeScalars, Vectors
from ..graphs.dense_edges import SlottedGraphs
from ..graphs.fused_pairs import can_fuse, fused_gradient
from ..graphs.geometry import sum_over_graphs, velocity_of
from .curves import AbstractCurve
from .kinetic_base import AbstractKineticFeatures
from .pair_base import AbstractPairFeatures


class CompressedPairFeatures(AbstractPairFeatures):
    """One unit for each edge type: its whole learned potential, a curve of the squared distance.

    The curve follows the model up to 5% beyond the trained range. From there it continues linearly
    in r^2, so that the force is proportional to r.
    """

    curves: tuple[AbstractCurve, ...]
    ranges: Float[Array, "T 2"]
    error: Float[Array, " T"]
    """Greatest relative error of the force at 6001 distances of the trained range and 1001 more up
    to the cutoff. It is relative to the model's force there, or to the median over that range if
    that is greater."""
    cutoff: float | None = eqx.field(static=True)

    def units(self, square: Float[Array, " s"], type: int) -> Float[Array, "s _"]:
        # No fading factor: the curve is zero beyond its own end, the cutoff.
        return self.curves[type](square)[:, None]

    def slopes(self, square: Float[Array, " s"], type: int) -> Float[Array, "s _"]:
        return self.curves[type].slope(square)[:, None]

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        if self.types > 1 or not can_fuse(graphs):
            return super().energy_gradient(graphs, theta)
        # The program may still be for a CPU.
        position = platform_dependent(
            cuda=lambda: _fused(graphs, self), default=lambda: _by_xla(graphs, self)
        )
        return Gradient(position=theta[0] * position)


@eqx.filter_custom_jvp
def _fused(graphs: SlottedGraphs, features: CompressedPairFeatures) -> Vectors:
    return fused_gradient(graphs, features.curves[0])  # zero beyond the cutoff


@_fused.def_jvp
def _fused_jvp(primals: Any, tangents: Any) -> tuple[Vectors, Vectors]:
    return eqx.filter_jvp(_by_xla, primals, tangents)  # a kernel has no derivative


def _by_xla(graphs: SlottedGraphs, features: CompressedPairFeatures) -> Vectors:
    one = jnp.ones(1, graphs.nodes["position"].dtype)
    return AbstractPairFeatures.energy_gradient(features, graphs, one).position


class CompressedKineticFeatures(AbstractKineticFeatures):
    """One unit: the whole learned kinetic energy of a body per mass, a curve of |v|^2.

    The curve continues linearly in |v|^2 from 5% beyond the greatest trained speed.
    """

    speed_range: Float[Array, " 2"]
    curve: AbstractCurve
    error: Float[Array, ""]
    """Greatest relative error of the velocity up to the greatest trained speed, as for pairs."""

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        return sum_over_graphs(graphs, self._values(graphs))[:, None]

    def _values(self, graphs: GraphsTuple) -> NodeScalars:
        square = jnp.sum(velocity_of(graphs) ** 2, axis=1)
        return graphs.nodes["mass"] * self.curve(square)

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        # The curve holds the coefficients already: its only column is the gradient for theta = 1.
        one = jnp.ones(1, graphs.nodes["mass"].dtype)
        return Gradient(momentum=self.energy_gradient(graphs, one).momentum[:, :, None])

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        return theta[0] * self._values(graphs)

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        velocity = velocity_of(graphs)
        slope = self.curve.slope(jnp.sum(velocity**2, axis=1))
        # d(m f(|v|^2))/dp = 2 f' v: the mass cancels.
        return Gradient(momentum=(2 * theta[0] * slope)[:, None] * velocity)
