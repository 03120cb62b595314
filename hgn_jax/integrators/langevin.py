"""Langevin dynamics."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, UInt32
from jraph import GraphsTuple

from .._arguments import check_number
from .._types import GraphScalars, Key, Vectors
from ..graphs.geometry import movable
from ..graphs.kinetic import kinetic_energy
from .thermostat import AbstractThermostat


class Langevin(AbstractThermostat):
    r"""Langevin dynamics in steps BAOAB: every mobile body feels friction and noise.

    $dp = (f - \gamma p)\, dt + \sqrt{2 \gamma m k T}\, dW$. The middle of a step is exact,
    $p' = c p + \sqrt{(1 - c^2) m k T}\, \xi$ with $c = e^{-\gamma h}$ and normal numbers $\xi$. In
    harmonic potentials the distribution of positions is exact for every stable step. Momentum is
    not conserved, so all degrees of freedom of the mobile bodies have the temperature. Without
    friction the steps are those of `StormerVerlet`.

    - `temperature`: k T (energy).
    - `friction`: $\gamma$ (1 / time).
    - `key`: of the random numbers. Same key: same trajectory.

    **Raises:** `ValueError` for a temperature that is not positive or friction below zero.

    Leimkuhler and Matthews, Rational construction of stochastic numerical methods for molecular
    sampling, Applied Mathematics Research eXpress 2013.
    """

    temperature: ArrayLike
    friction: ArrayLike
    key: Key | Array = eqx.field(kw_only=True)
    graph: GraphsTuple | None = eqx.field(default=None, kw_only=True)
    dt: Float[Array, ""] | None = eqx.field(default=None, kw_only=True)
    """Both are set by `hgn.rollout`."""

    def __check_init__(self) -> None:
        check_number("temperature", self.temperature)
        check_number("friction", self.friction, zero=True)

    def begin(self) -> UInt32[Array, ""]:
        """Number of steps so far: it selects the random numbers of the next."""
        return jnp.zeros((), jnp.uint32)

    def act(
        self, p: Vectors, state: UInt32[Array, ""], time: Float[Array, ""]
    ) -> tuple[Vectors, UInt32[Array, ""], GraphScalars]:
        graph, _ = self.bound()
        rate = jnp.asarray(self.friction, p.dtype) * time
        # Padding has no mass; what it and fixed bodies get here is ignored by `step`.
        mass = jnp.where(movable(graph), graph.nodes["mass"], 1)
        # 1 - c^2 without cancellation.
        variance = -jnp.expm1(-2 * rate) * mass * self.temperature
        noise = jr.normal(jr.fold_in(self.key, state), p.shape, p.dtype)
        after = jnp.exp(-rate) * p + jnp.sqrt(variance)[:, None] * noise
        # Exact, since positions stay while this acts.
        heat = kinetic_energy(graph, after) - kinetic_energy(graph, p)
        return after, state + jnp.uint32(1), heat
