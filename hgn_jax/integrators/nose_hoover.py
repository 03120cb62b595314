"""Nose-Hoover chains."""

from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float
from jraph import GraphsTuple

from .._arguments import check_number, whole_number
from .._types import GraphScalars, Vectors
from ..graphs.geometry import graph_index
from ..graphs.kinetic import degrees_of_freedom, kinetic_energy
from .thermostat import AbstractThermostat

Chain: TypeAlias = tuple[Float[Array, "g c"], Float[Array, "g c"]]
"""Positions (no unit) and velocities (1 / time) of each graph's chain."""


class NoseHoover(AbstractThermostat):
    r"""Nose-Hoover chain: deterministic, time-reversible friction that keeps the mean kinetic
    energy.

    $\dot p = f - \dot\eta_1 p$, and the chain obeys
    $Q_1 \ddot\eta_1 = 2 K - N_f k T - Q_1 \dot\eta_1 \dot\eta_2$,
    $Q_k \ddot\eta_k = Q_{k-1} \dot\eta_{k-1}^2 - k T - Q_k \dot\eta_k \dot\eta_{k+1}$ with
    $Q_1 = N_f k T \tau^2$ and $Q_k = k T \tau^2$. It conserves
    $H + \sum_k Q_k \dot\eta_k^2 / 2 + N_f k T \eta_1 + k T \sum_{k>1} \eta_k$. It samples the
    canonical distribution only if the motion is chaotic: not in a harmonic solid.

    - `temperature`: k T (energy).
    - `time`: $\tau$ (time), about a period of the bodies' oscillations over $2 \pi$.
    - `chain`: number of thermostats in the chain.
    - `constraints`: conserved quantities, subtracted from the degrees of freedom $N_f$: d for a
        total momentum of zero, as in `hgn.Temperature`.

    **Raises:** `ValueError` for a temperature or time that is not positive, or an empty chain.

    Martyna, Tuckerman, Tobias and Klein, Explicit reversible integrators for extended systems
    dynamics, Molecular Physics 87, 1996.
    """

    temperature: ArrayLike
    time: ArrayLike
    chain: int = eqx.field(default=3, static=True)
    constraints: int = eqx.field(default=0, static=True, kw_only=True)
    graph: GraphsTuple | None = eqx.field(default=None, kw_only=True)
    dt: Float[Array, ""] | None = eqx.field(default=None, kw_only=True)
    """Both are set by `hgn.rollout`."""

    def __check_init__(self) -> None:
        check_number("temperature", self.temperature)
        check_number("time", self.time)
        whole_number("chain", self.chain, 1)

    def begin(self) -> Chain:
        """A chain at rest."""
        graph, _ = self.bound()
        rest = jnp.zeros((graph.n_node.shape[0], self.chain), graph.nodes["position"].dtype)
        return rest, rest

    def act(
        self, p: Vectors, state: Chain, time: Float[Array, ""]
    ) -> tuple[Vectors, Chain, GraphScalars]:
        graph, _ = self.bound()
        position, velocity = state
        doubled = 2 * kinetic_energy(graph, p)
        # Last link to first, then back: the order is symmetric, hence time-reversible.
        velocity = self._kicked(doubled, velocity, time / 2, outwards=False)
        factor = jnp.exp(-time * velocity[:, 0])
        position = position + time * velocity
        # The kinetic energy after scaling, without a second sum over bodies.
        velocity = self._kicked(factor**2 * doubled, velocity, time / 2, outwards=True)
        after = position, velocity
        heat = self.chain_energy(state) - self.chain_energy(after)  # what the chain loses
        return factor[graph_index(graph)][:, None] * p, after, heat

    def chain_energy(self, state: Chain) -> GraphScalars:
        """Energy of each graph's chain; it conserves its sum with the energy of the bodies."""
        position, velocity = state
        masses, targets = self._masses()
        return jnp.sum(masses * velocity**2 / 2 + targets * position, axis=1)

    def _masses(self) -> tuple[Float[Array, "g c"], Float[Array, "g c"]]:
        """Masses $Q_k$ (energy time^2), and the energies $N_f k T$, k T, ... of their targets."""
        graph, _ = self.bound()
        free = degrees_of_freedom(graph, self.constraints)  # at least one: padding divides by it
        ones = jnp.ones((len(free), self.chain - 1), free.dtype)
        targets = jnp.concatenate([free[:, None], ones], axis=1) * self.temperature
        return targets * jnp.asarray(self.time, free.dtype) ** 2, targets

    def _kicked(
        self, doubled: GraphScalars, velocity: Array, time: Array, *, outwards: bool
    ) -> Float[Array, "g c"]:
        """Velocities of the chain after that time, from its last link to its first or outwards."""
        masses, targets = self._masses()
        links = list(velocity.T)
        for k in range(self.chain) if outwards else reversed(range(self.chain)):
            driven = doubled if k == 0 else masses[:, k - 1] * links[k - 1] ** 2
            kick = time * (driven - targets[:, k]) / masses[:, k]
            # The next link acts as friction, half before the kick and half after it.
            held = 1.0 if k == self.chain - 1 else jnp.exp(-time / 2 * links[k + 1])
            links[k] = (links[k] * held + kick) * held
        return jnp.stack(links, axis=1)
