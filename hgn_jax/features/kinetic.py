"""Kinetic energy as random features of each body's speed."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import Gradient, Key, NodeScalars
from ..graphs.geometry import movable, sum_over_graphs, velocity_of
from .base import AbstractEnergy, AbstractTermSpec, Fitted
from .blockwise import blockwise
from .compressed import CompressedKineticFeatures
from .compression import MARGIN, Target, cheapest, in_double_precision
from .dense import Dense
from .kinetic_base import AbstractKineticFeatures
from .sampling import ELM, AbstractSampling
from .trained_range import extent


class KineticFeatures(AbstractKineticFeatures):
    r"""$T = \sum_i m_i f(|v_i|^2)$ with $v_i = p_i / m_i$, with K units f that vanish at v = 0.

    The last column is the exact $|p_i|^2 / 2 m_i$. A function of $|p|^2$ alone could not give
    $v = p/m$ for unequal masses.
    """

    speed_range: Float[Array, " 2"]
    layer: Dense | None

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        mass = graphs.nodes["mass"]
        square = jnp.sum(velocity_of(graphs) ** 2, axis=1, keepdims=True)
        columns = [square / 2]
        if self.layer is not None:
            # Without its value at rest, a unit is zero for padding, whose velocity is zero.
            columns.insert(0, self.layer(square) - self.layer(jnp.zeros_like(square[:1])))
        return sum_over_graphs(graphs, mass[:, None] * jnp.concatenate(columns, axis=1))

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        velocity = velocity_of(graphs)
        columns = [jnp.ones_like(velocity[:, :1])]
        if self.layer is not None:
            square = jnp.sum(velocity**2, axis=1, keepdims=True)
            # d(m f(|v|^2))/dp = 2 f' v: the mass cancels.
            columns.insert(0, 2 * self.layer.jacobian(square)[:, 0, :])
        columns_by_speed = jnp.concatenate(columns, axis=1)[:, None, :]
        return Gradient(momentum=velocity[:, :, None] * columns_by_speed)

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        mass = graphs.nodes["mass"]
        square = jnp.sum(velocity_of(graphs) ** 2, axis=1)
        energy = theta[-1] * square / 2
        if self.layer is not None:
            # Outside of `units`, so that the value at rest is computed once, not in every block.
            layer, still = self.layer, self.layer(jnp.zeros((1, 1), square.dtype))

            def units(s: Float[Array, " s"]) -> Float[Array, " s"]:
                return (layer(s[:, None]) - still) @ theta[:-1]

            energy = energy + blockwise(units, len(theta), square)
        return mass * energy

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        velocity = velocity_of(graphs)
        if self.layer is None:
            return Gradient(momentum=theta[-1] * velocity)
        layer = self.layer

        def slope(s: Float[Array, " s"]) -> Float[Array, " s"]:
            return layer.jacobian(s[:, None])[:, 0, :] @ theta[:-1]

        by_square = blockwise(slope, len(theta), jnp.sum(velocity**2, axis=1))
        return Gradient(momentum=(theta[-1] + 2 * by_square)[:, None] * velocity)

    def compress(
        self,
        theta: Float[Array, " K"],
        constants: Float[Array, " c"],
        tolerance: float,
        smallest: bool,
    ) -> tuple[AbstractEnergy, Float[Array, " _"]]:
        target, words = self._target(theta), f"{self.name} energy"
        best = cheapest(target, tolerance, smallest, theta.dtype, words)
        error = jnp.asarray(best.error, theta.dtype)
        compressed = CompressedKineticFeatures(self.speed_range, best.curve, error)
        # The curve holds the coefficients already.
        return compressed, jnp.ones_like(error)[None]

    def _target(self, theta: Float[Array, " K"]) -> Target:
        units, theta = in_double_precision((self, theta))
        top = float(units.speed_range[1])
        if not 0 < top < math.inf:
            raise ValueError("no body moved in training: there is no range to compress over")

        def value(square: Float[Array, " s"]) -> Float[Array, " s"]:
            columns = [square[:, None] / 2]
            if units.layer is not None:
                still = units.layer(jnp.zeros((1, 1), square.dtype))
                columns.insert(0, units.layer(square[:, None]) - still)
            return jnp.concatenate(columns, axis=1) @ theta

        slope = jax.vmap(jax.grad(lambda square: value(square[None])[0]))
        followed = (0.0, (1 + MARGIN) * top)  # from rest: all columns vanish there
        return Target(eqx.filter_jit(value), eqx.filter_jit(slope), (0.0, top), followed, None)


class Kinetic(AbstractTermSpec):
    r"""Random features of the kinetic energy, $T = \sum_i m_i f(|p_i / m_i|^2)$.

    The last column is the exact Newtonian $|p_i|^2 / 2 m_i$.

    **Arguments:**

    - `units`: number of random units f; with 0 only the Newtonian column is left.
    - `sampling`: distribution of their weights, `hgn.ELM()` or `hgn.SWIM()`.
    - `activation`: "tanh", "erf", "sigmoid", "sin" or "relu", whose forces jump.

    **Raises:** `ValueError` if `units` is negative.
    """

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
                assert isinstance(fitted, KineticFeatures)
                # Units are energies per mass; padding may have none.
                per_mass = jnp.where(mask, data.nodes["mass"], 1)
                energy = jnp.where(mask, fitted.node_energy(data, theta) / per_mass, 0)
            draw, _ = jr.split(key)  # split in two, as elsewhere, to reuse that program
            layer = self.sampling(draw, square, mask, self.units, self.activation, energy)
        return KineticFeatures(extent(jnp.sqrt(square[:, 0]), mask), layer)
