"""Kinetic energy as random features of each body's speed."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import JacobianPair, Key, NodeIndex, NodeScalars, Vectors
from ..graphs.geometry import movable, norm, sum_over_graphs, velocity_of
from .base import AbstractEnergy, AbstractTermSpec, Fitted
from .blockwise import blockwise
from .dense import Dense
from .sampling import ELM, AbstractSampling, extent, outside


class KineticFeatures(AbstractEnergy):
    r"""$T = \sum_i m_i f(|v_i|^2)$ with $v_i = p_i / m_i$: `[K]` units f that vanish at v = 0.

    The last column is the exact $|p_i|^2 / 2 m_i$. A function of $|p|^2$ alone could not give
    $v = p/m$ for unequal masses.
    """

    name: ClassVar[str] = "kinetic"
    separable: ClassVar[bool] = True
    layer: Dense | None
    speed_range: Float[Array, " 2"]

    @property
    def dimension(self) -> int | None:
        return None

    def sites(self, graphs: GraphsTuple) -> tuple[Float[Array, "s K"], NodeIndex]:
        mass = graphs.nodes["mass"]
        square = jnp.sum(velocity_of(graphs) ** 2, axis=1, keepdims=True)
        columns = [square / 2]
        if self.layer is not None:
            columns.insert(0, self.layer(square) - self.layer(jnp.zeros_like(square[:1])))
        return mass[:, None] * jnp.concatenate(columns, axis=1), jnp.arange(len(mass))

    def gradient(self, graphs: GraphsTuple) -> JacobianPair:
        velocity = velocity_of(graphs)
        columns = [jnp.ones_like(velocity[:, :1])]
        if self.layer is not None:
            square = jnp.sum(velocity**2, axis=1, keepdims=True)
            columns.insert(0, 2 * self.layer.jacobian(square)[:, 0, :])
        return None, velocity[:, :, None] * jnp.concatenate(columns, axis=1)[:, None, :]

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        mass = graphs.nodes["mass"]
        square = jnp.sum(velocity_of(graphs) ** 2, axis=1)
        energy = theta[-1] * square / 2
        if self.layer is not None:
            layer, still = self.layer, self.layer(jnp.zeros((1, 1), square.dtype))

            def units(s: Float[Array, " s"]) -> Float[Array, " s"]:
                return (layer(s[:, None]) - still) @ theta[:-1]

            energy = energy + blockwise(units, len(theta), square)
        return mass * energy

    def energy_gradient(
        self, graphs: GraphsTuple, theta: Float[Array, " K"]
    ) -> tuple[None, Vectors]:
        velocity = velocity_of(graphs)
        if self.layer is None:
            return None, theta[-1] * velocity
        layer = self.layer

        def slope(s: Float[Array, " s"]) -> Float[Array, " s"]:
            return layer.jacobian(s[:, None])[:, 0, :] @ theta[:-1]

        by_square = blockwise(slope, len(theta), jnp.sum(velocity**2, axis=1))
        return None, (theta[-1] + 2 * by_square)[:, None] * velocity

    def constants(self, graphs: GraphsTuple) -> Float[Array, "g c"]:
        return jnp.zeros((graphs.n_node.shape[0], 0), graphs.nodes["position"].dtype)

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return too_fast(graphs, self.speed_range)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.speed_range


class Kinetic(AbstractTermSpec):
    """Kinetic features; `units=0` leaves the exact Newtonian |p|^2 / 2m alone."""

    units: int = eqx.field(default=64, static=True)
    sampling: AbstractSampling = ELM()
    activation: str = eqx.field(default="tanh", static=True)

    def __check_init__(self) -> None:
        if self.units < 0:
            raise ValueError(f"units must not be negative, got {self.units}")

    @property
    def guided(self) -> bool:
        return self.units > 0 and self.sampling.guided

    def resolve(self, data: GraphsTuple) -> "Kinetic":
        return self

    def sample(
        self, key: Key, data: GraphsTuple, previous: Fitted | None = None
    ) -> KineticFeatures:
        square = jnp.sum(velocity_of(data) ** 2, axis=1, keepdims=True)
        mask = movable(data)
        layer = None
        if self.units:
            energy = None
            if previous is not None:
                fitted, theta = previous
                values, _ = fitted.sites(data)
                energy = jnp.where(mask, values @ theta / jnp.where(mask, data.nodes["mass"], 1), 0)
            (draw,) = jr.split(key, 1)
            layer = self.sampling(draw, square, mask, self.units, self.activation, energy)
        return KineticFeatures(layer, extent(jnp.sqrt(square[:, 0]), mask))


def too_fast(graphs: GraphsTuple, speed_range: Float[Array, " 2"]) -> Int[Array, " g"]:
    """Bodies faster than in training; slower ones do not count, as all columns vanish at rest."""
    reach = speed_range.at[0].min(0)
    out = outside(norm(velocity_of(graphs)), movable(graphs), reach)
    return sum_over_graphs(graphs, out.astype(jnp.int32))
