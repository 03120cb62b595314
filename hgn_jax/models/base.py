"""Base classes of models: an energy of graphs with its equations of motion."""

import math
from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import Gradient, GraphScalars, Rates, Vectors, gradient_of
from ..graphs.strain import strained
from .equations_of_motion import AbstractDynamics, Canonical


class AbstractModel(eqx.Module):
    """An energy of a GraphsTuple (mass * length^2 / time^2), and the motion that follows from it.

    Learned models and known systems are models. To write your own Hamiltonian, subclass
    `AbstractHamiltonian`, which derives everything else from the energy.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    """Node arrays that the model reads besides the state."""

    @property
    def span(self) -> int:
        """Distance, in reaches, up to which bodies act on the motion of a body: one if bodies act
        in pairs alone."""
        return 2

    @property
    @abstractmethod
    def dynamics(self) -> AbstractDynamics:
        """Map from the gradient of the energy to motion. It names the arrays of the state."""

    @property
    @abstractmethod
    def separable(self) -> bool:
        """True if dq/dt depends on momenta alone and dp/dt on positions alone: H = T(p) + V(q)."""

    @property
    def separable_drift(self) -> bool:
        """True if dq/dt depends on momenta alone, whatever dp/dt depends on."""
        return self.separable

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
        """(dE/dq, dE/dp), each `[n d]` (mass * length / time^2, length / time); None means zero."""

    @abstractmethod
    def vector_field(self, graphs: GraphsTuple) -> Rates:
        """Rates of the arrays of the state, each `[n d]`.

        For Hamilton's equations (dq/dt, dp/dt) (length / time, mass * length / time^2).
        """

    def virial(self, graphs: GraphsTuple) -> Float[Array, "g d d"]:
        r"""$\partial E / \partial \epsilon$ `[g d d]` (energy), at constant momenta.

        Positions and cell are mapped to $x (1 + \epsilon)$. The stress is the virial over the
        volume of the cell.
        """
        graph_count, d = graphs.n_node.shape[0], graphs.nodes["position"].shape[1]
        unstrained = jnp.zeros((graph_count, d, d), graphs.nodes["position"].dtype)
        # Graphs are independent: the gradient of the sum holds that of each graph.
        return jax.grad(lambda strain: jnp.sum(self(strained(graphs, strain))))(unstrained)


class AbstractHamiltonian(AbstractModel):
    """Base of your own Hamiltonian: write `__call__`, and `separable` (True if H = T(p) + V(q)).

    The gradient follows by reverse-mode differentiation, motion by Hamilton's equations. For
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
        return self.dynamics.motion(graphs, self.gradient(graphs))


def differentiated(model: AbstractModel, graphs: GraphsTuple) -> Gradient:
    """Gradient of a model's energy by reverse-mode differentiation; also the reference in tests."""

    def energy(state: dict[str, Vectors]) -> Array:
        # Graphs are independent: the gradient of the sum holds that of each graph.
        return jnp.sum(model(graphs._replace(nodes=graphs.nodes | state)))

    state = {name: graphs.nodes[name] for name in model.dynamics.state}
    return gradient_of(jax.grad(energy)(state))
