"""States along a rollout, and outputs."""

from typing import TypeAlias

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, PyTree

from .._types import Rates, Vectors
from ..graphs.neighbour_list import NeighbourList
from ..graphs.slab_list import SlabList

Found: TypeAlias = NeighbourList | SlabList
"""A neighbour list, of all bodies or of those of one device."""


class State(eqx.Module):
    """State of the chain of steps."""

    y: Rates
    solver: PyTree
    """State of the integrator, passed from step to step."""
    neighbours: Found | None
    step: Int[Array, ""]
    """Number of steps from the start."""
    stale: Bool[Array, ""]
    """True if the next step needs a new neighbour list: the last attempt went too far for it."""
    solved: Bool[Array, ""]
    """True if the integrator could solve all steps."""
    cell: Float[Array, "g d d"] | None
    """Periodic cells; None if they stay those of the start."""


class Output(eqx.Module):
    """Output at one time."""

    state: dict[str, Vectors]
    """The arrays of the state by name; empty if states are not kept."""
    energy: Float[Array, " g"]
    kinetic: Float[Array, " g"]
    """Scale of a tolerable change of the energy; zero if the state has no momenta."""
    cell: Float[Array, "g d d"] | None
    """Periodic cells; None if they stay those of the start."""
    observed: dict[str, Array]
    finite: Bool[Array, ""]


class Run(eqx.Module):
    """Outputs at all times, and the states around the step at which the motion failed."""

    outputs: Output
    end: State
    steps: Int[Array, ""]
    """Number of steps until the state was not finite, or of all steps."""
    before: State
    after: State
