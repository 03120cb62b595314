"""The seam of rollouts and metrics: an energy of graphs with its equations of motion."""

import math
from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import Gradient, GraphScalars, Rates, Vectors
from ..graphs.strain import strained
from .equations_of_motion import AbstractDynamics, Canonical, moving


class AbstractModel(eqx.Module):
    """An energy of a GraphsTuple (mass * length^2 / time^2), and how it moves the bodies.

    Learned models and known systems are models. To write a Hamiltonian of your own, subclass
    `AbstractHamiltonian`, which derives everything from the energy.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    """Node arrays that are read beside the state."""

    @property
    @abstractmethod
    def dynamics(self) -> AbstractDynamics:
        """How the gradient becomes motion; names the state."""

    @property
    @abstractmethod
    def separable(self) -> bool:
        """True if dq/dt depends on momenta alone and dp/dt on positions alone: H = T(p) + V(q)."""

    @property
    @abstractmethod
    def conserves_energy(self) -> bool:
        """True if the energy is constant along the motion."""

    @property
    @abstractmethod
    def time_dependent(self) -> bool:
        """True if the motion depends on `globals["time"]`."""

    @property
    @abstractmethod
    def reach(self) -> float:
        """Distance beyond which bodies do not act on one another; inf without a cutoff (length)."""

    @property
    @abstractmethod
    def handles_padding(self) -> bool:
        """True if padding nodes and edges contribute nothing."""

    @abstractmethod
    def __call__(self, graphs: GraphsTuple) -> GraphScalars:
        """Energy of every graph, `[g]`."""

    @abstractmethod
    def gradient(self, graphs: GraphsTuple) -> Gradient:
        """(dE/dq, dE/dp), each `[n d]`; None where zero by construction."""

    @abstractmethod
    def vector_field(self, graphs: GraphsTuple) -> Rates:
        """Rates of the state, each `[n d]`: (dq/dt, dp/dt) (length / time, mass * length / time^2)
        for Hamilton's equations."""

    def virial(self, graphs: GraphsTuple) -> Float[Array, "g d d"]:
        r"""$\partial E / \partial \epsilon$ for positions and cell mapped to $x (1 + \epsilon)$ at
        constant momenta (energy); the stress is the virial over the cell's volume."""
        graph_count, d = graphs.n_node.shape[0], graphs.nodes["position"].shape[1]
        none = jnp.zeros((graph_count, d, d), graphs.nodes["position"].dtype)
        return jax.grad(lambda strain: jnp.sum(self(strained(graphs, strain))))(none)


class AbstractHamiltonian(AbstractModel):
    """A Hamiltonian of your own: write `__call__`, and `separable` (True if H = T(p) + V(q)).

    Derivatives are taken by reverse-mode differentiation and moved by Hamilton's equations. With
    neighbour lists, give the class a field `cutoff` (length) beyond which bodies do not act on one
    another.
    """

    @property
    def dynamics(self) -> AbstractDynamics:
        return Canonical()

    @property
    def conserves_energy(self) -> bool:
        return not self.time_dependent

    @property
    def time_dependent(self) -> bool:
        return False

    @property
    def reach(self) -> float:
        cutoff = getattr(self, "cutoff", None)
        return math.inf if cutoff is None else float(cutoff)

    @property
    def handles_padding(self) -> bool:
        return False

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        return differentiated(self, graphs)

    def vector_field(self, graphs: GraphsTuple) -> Rates:
        rates = self.dynamics.rates(graphs, self.gradient(graphs))
        return moving(graphs, rates, self.dynamics.state)


def differentiated(model: AbstractModel, graphs: GraphsTuple) -> Gradient:
    """Gradient of a model's energy by reverse-mode differentiation: tests compare with it."""

    def energy(state: dict[str, Vectors]) -> Array:
        return jnp.sum(model(graphs._replace(nodes=graphs.nodes | state)))

    return Gradient(**jax.grad(energy)({name: graphs.nodes[name] for name in model.dynamics.state}))
