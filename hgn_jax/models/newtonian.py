"""Hamiltonians with the Newtonian kinetic energy, and that energy alone."""

from typing import ClassVar

from jraph import GraphsTuple

from .._types import Gradient, GraphScalars, Rates, gradient_of
from ..graphs.geometry import sum_over_graphs
from ..graphs.kinetic import node_kinetic_energy, velocities
from .base import AbstractModel
from .equations_of_motion import AbstractDynamics, Canonical


class AbstractNewtonian(AbstractModel):
    r"""$H = \sum_i |p_i|^2 / 2 m_i + V(q)$: separable, conserved, and known in closed form."""

    needs: ClassVar[tuple[str, ...]] = ("mass",)

    @property
    def dynamics(self) -> AbstractDynamics:
        return Canonical()

    @property
    def separable(self) -> bool:
        return True

    @property
    def conserves_energy(self) -> bool:
        return True

    @property
    def time_dependent(self) -> bool:
        return False

    @property
    def handles_padding(self) -> bool:
        return True

    def vector_field(self, graphs: GraphsTuple) -> Rates:
        return self.dynamics.motion(graphs, self.gradient(graphs))


class Newtonian(AbstractNewtonian):
    r"""$T = \sum_i |p_i|^2 / 2 m_i$ alone (mass * length^2 / time^2), and $|L_i|^2 / 2 I_i$ of
    bodies with an angular momentum.

    The known part of models in which no term depends on momenta. Graphs without momenta count as at
    rest.
    """

    @property
    def reach(self) -> float:
        return 0.0

    def __call__(self, graphs: GraphsTuple) -> GraphScalars:
        return sum_over_graphs(graphs, node_kinetic_energy(graphs))

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        return gradient_of(velocities(graphs))
