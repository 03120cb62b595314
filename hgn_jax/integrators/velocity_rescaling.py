"""Stochastic velocity rescaling."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, UInt32
from jraph import GraphsTuple

from .._arguments import check_number
from .._types import GraphScalars, Key, Vectors
from ..graphs.geometry import graph_index
from ..graphs.kinetic import degrees_of_freedom, kinetic_energy
from .thermostat import AbstractThermostat


class VelocityRescaling(AbstractThermostat):
    r"""Stochastic velocity rescaling: all momenta of a graph are multiplied by one random number,
    which keeps the kinetic energy canonical.

    The kinetic energy K obeys
    $dK = (\bar K - K)\, dt / \tau + 2 \sqrt{K \bar K / N_f \tau}\, dW$ with
    $\bar K = N_f k T / 2$ and is drawn from the exact solution after each step. Directions are
    kept, so diffusion and other dynamics change little, and a total momentum of zero stays zero.

    - `temperature`: k T (energy).
    - `time`: $\tau$, in which the kinetic energy relaxes (time); usually 20 to 1000 steps.
    - `key`: of the random numbers. Same key: same trajectory.
    - `constraints`: conserved quantities, subtracted from the degrees of freedom $N_f$: d for a
        total momentum of zero, as in `hgn.Temperature`.

    **Raises:** `ValueError` for a temperature or time that is not positive.

    Bussi, Donadio and Parrinello, Canonical sampling through velocity rescaling, J. Chem. Phys.
    126, 2007.
    """

    temperature: ArrayLike
    time: ArrayLike
    key: Key | Array = eqx.field(kw_only=True)
    constraints: int = eqx.field(default=0, static=True, kw_only=True)
    graph: GraphsTuple | None = eqx.field(default=None, kw_only=True)
    dt: Float[Array, ""] | None = eqx.field(default=None, kw_only=True)
    """Both are set by `hgn.rollout`."""

    def __check_init__(self) -> None:
        check_number("temperature", self.temperature)
        check_number("time", self.time)

    def begin(self) -> UInt32[Array, ""]:
        """Number of steps so far: it selects the random numbers of the next."""
        return jnp.zeros((), jnp.uint32)

    def act(
        self, p: Vectors, state: UInt32[Array, ""], time: Float[Array, ""]
    ) -> tuple[Vectors, UInt32[Array, ""], GraphScalars]:
        graph, _ = self.bound()
        before = kinetic_energy(graph, p)
        kinetic = jnp.where(before > 0, before, 1)  # bodies at rest stay so
        free = degrees_of_freedom(graph, self.constraints)
        c = jnp.exp(-time / jnp.asarray(self.time, p.dtype))
        one, others = jr.split(jr.fold_in(self.key, state))
        normal = jr.normal(one, kinetic.shape, p.dtype)
        # Sum of the squares of N_f - 1 normal numbers.
        shape = jnp.where(free > 1, (free - 1) / 2, 1)  # gamma needs a positive shape
        squares = jnp.where(free > 1, 2 * jr.gamma(others, shape, dtype=p.dtype), 0)
        share = (1 - c) * self.temperature / (2 * kinetic)
        along = jnp.sqrt(c) + jnp.sqrt(share) * normal
        # The sign is part of the exact solution: momenta of few degrees of freedom may reverse.
        factor = jnp.sign(along) * jnp.sqrt(along**2 + share * squares)
        heat = (factor**2 - 1) * before  # `before`: bodies at rest take none
        return factor[graph_index(graph)][:, None] * p, state + jnp.uint32(1), heat
