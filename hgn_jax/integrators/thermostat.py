"""Base of thermostats: integrators that keep bodies at a temperature."""

import dataclasses
from abc import abstractmethod
from typing import Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from diffrax import RESULTS
from jaxtyping import Array, ArrayLike, Float, PyTree
from jraph import GraphsTuple

from .._tree import is_concrete
from .._types import GraphScalars, Vectors
from ..graphs.geometry import movable
from ..graphs.schema import require
from .base import AbstractSeparable, State, Terms

Carry: TypeAlias = tuple[Vectors, PyTree, GraphScalars]
"""Last force, state of the thermostat, and the heat that it has given to each graph."""


class AbstractThermostat(AbstractSeparable):
    r"""Velocity Verlet with a thermostat in the middle of each step: half a kick, half a drift, the
    thermostat, half a drift, half a kick.

    To write your own, implement `begin` and `act`, and let `act` preserve the canonical
    distribution of the momenta, $\exp(-\sum_i |p_i|^2 / 2 m_i k T)$. The kinetic energy of the
    model must be $|p|^2 / 2m$. Numbers that a thermostat draws follow from its key and from its
    state, so a resumed rollout is bitwise identical. Between steps `hgn.rollout` moves the bodies
    without the thermostat, which preserves the distribution too.

    Zhang, Liu, Chen, Tong, Liu and Liu, Unified efficient thermostat scheme for the canonical
    ensemble, J. Phys. Chem. A 123, 2019.
    """

    temperature: eqx.AbstractVar[ArrayLike]
    """k T (energy)."""
    graph: eqx.AbstractVar[GraphsTuple | None]
    dt: eqx.AbstractVar[Float[Array, ""] | None]

    @abstractmethod
    def begin(self) -> PyTree:
        """State of the thermostat at the start: arrays."""

    @abstractmethod
    def act(
        self, p: Vectors, state: PyTree, time: Float[Array, ""]
    ) -> tuple[Vectors, PyTree, GraphScalars]:
        """Momenta, state and heat `[g]` (energy given to the bodies) after that time.

        Momenta that it returns for fixed bodies and for padding are ignored.
        """

    def order(self, terms: Terms) -> int:
        return 2

    def of(self, graph: GraphsTuple, dt: Float[Array, ""]) -> "AbstractThermostat":
        """The thermostat with the graph's masses and the length of a step; `hgn.rollout` calls it.

        **Raises:** `ValueError` for graphs without momenta, masses or mobile bodies, or for steps
        back in time.
        """
        name = type(self).__name__
        require(graph, {"nodes": ["momentum", "mass"]}, name)
        if is_concrete(graph) and not np.any(movable(graph)):
            raise ValueError(f"{name} needs mobile bodies, but all are fixed")
        if is_concrete(dt) and not dt > 0:
            raise ValueError(f"{name} cannot go back in time: give times that increase")
        temperature = jnp.asarray(self.temperature, graph.nodes["position"].dtype)
        return dataclasses.replace(self, temperature=temperature, graph=graph, dt=dt)

    def heat(self, carry: Carry) -> GraphScalars:
        """Energy that the thermostat has given to each graph since the start."""
        return carry[2]

    def init(self, terms: Terms, t0: Any, t1: Any, y0: State, args: Any) -> Carry:
        graph, _ = self.bound()
        none = jnp.zeros(graph.n_node.shape, y0[0].dtype)
        return terms[1].vf(t0, y0[0], args), self.begin(), none

    def step(
        self,
        terms: Terms,
        t0: Any,
        t1: Any,
        y0: State,
        args: Any,
        solver_state: Carry,
        made_jump: Any,
    ) -> tuple[State, None, dict[str, State], Carry, RESULTS]:
        graph, dt = self.bound()
        drift, kick = terms
        (q, p), (force, state, heat) = y0, solver_state
        h = jnp.asarray(drift.contr(t0, t1), q.dtype)
        middle = t0 + (t1 - t0) / 2
        p = p + h / 2 * force
        q = q + h / 2 * drift.vf(middle, p, args)
        after, state, gained = self.act(p, state, h * jnp.abs(dt))  # h counts steps
        # Fixed bodies and padding keep their momenta, whatever the thermostat returns.
        p = jnp.where(movable(graph)[:, None], after, p)
        q = q + h / 2 * drift.vf(middle, p, args)
        force = kick.vf(t1, q, args)  # reused by the next step
        y1 = (q, p + h / 2 * force)
        carry = force, state, heat + gained
        return y1, None, {"y0": y0, "y1": y1}, carry, RESULTS.successful  # type: ignore[return-value]

    def bound(self) -> tuple[GraphsTuple, Float[Array, ""]]:
        """The graph and the length of a step, which `of` has set."""
        if self.graph is None or self.dt is None:
            raise ValueError(
                f"{type(self).__name__} works only in hgn.rollout, which sets masses and step"
            )
        return self.graph, self.dt
