"""Columns by which an embedded energy changes with its densities."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import Gradient, NodeScalars
from .base import AbstractEnergy, Counts
from .density_energy import BATCH
from .embedded import EmbeddedFeatures


class Tangent(AbstractEnergy):
    r"""Columns $\partial (\Phi \cdot \theta) / \partial w$ of an embedded energy $\Phi \cdot
    \theta$ with weights w of its densities: coefficients of these columns are a change of w."""

    name: ClassVar[str] = "tangent"
    depends_on: ClassVar[tuple[str, ...]] = ("position",)
    counts: ClassVar[Counts] = Counts()
    energy: EmbeddedFeatures
    theta: Float[Array, " U"]

    @property
    def dimension(self) -> int | None:
        return None

    @property
    def reach(self) -> float:
        return self.energy.reach

    def moved(self, change: Float[Array, " K"]) -> EmbeddedFeatures:
        """The energy with weights w + change."""
        weights, start = [], 0
        for w in self.energy.weights:
            weights.append(w + change[start : start + w.size].reshape(w.shape))
            start += w.size
        return eqx.tree_at(lambda e: e.weights, self.energy, tuple(weights))

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        return jax.jacfwd(lambda change: self.moved(change)(graphs) @ self.theta)(self._none())

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        def force(change: Float[Array, " K"]) -> Float[Array, "n d"]:
            position = self.moved(change).energy_gradient(graphs, self.theta).position
            assert position is not None
            return position

        none = self._none()
        directions = jnp.eye(len(none), dtype=none.dtype)
        by_weight = jax.lax.map(
            lambda direction: jax.jvp(force, (none,), (direction,))[1],
            directions,
            batch_size=BATCH,
        )
        return Gradient(position=jnp.moveaxis(by_weight, 0, 2))

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        return jax.jvp(
            lambda change: self.moved(change).node_energy(graphs, self.theta),
            (self._none(),),
            (theta,),
        )[1]

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        return Gradient(position=self.gradient(graphs).position @ theta)

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return self.energy.out_of_range(graphs)

    def trained_range(self) -> None:
        return None

    def _none(self) -> Float[Array, " K"]:
        size = sum(w.size for w in self.energy.weights)
        return jnp.zeros(size, self.theta.dtype)
