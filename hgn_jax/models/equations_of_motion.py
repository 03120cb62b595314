"""Dynamics: maps from the gradient of an energy to motion."""

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jraph import GraphsTuple

from .._types import Gradient
from ..graphs.geometry import movable


class AbstractDynamics(eqx.Module):
    """A linear map from the gradient of an energy to the rates of a state.

    Its names of the state's arrays are used everywhere else: by data checks, observations,
    rollouts and integrators. Matrices that belong to the state space, such as a mobility, are
    fields.
    """

    state: eqx.AbstractClassVar[tuple[str, ...]]
    """Node arrays of the state: ("position", "momentum"), or ("position",) alone."""
    observed: eqx.AbstractClassVar[tuple[str, ...]]
    """Node arrays that hold the measured rates of the state: ("velocity", "force")."""
    separable: eqx.AbstractClassVar[bool]
    """True if the rate of positions needs dE/dp alone and that of momenta dE/dq alone, as explicit
    symplectic integrators require."""
    conserves_energy: eqx.AbstractClassVar[bool]
    """True if the energy is constant along the motion."""

    @abstractmethod
    def rates(self, graphs: GraphsTuple, gradient: Gradient) -> tuple[Any, ...]:
        """Rates of the state's arrays, in their order, from (dE/dq, dE/dp).

        Arrays are `[n d]`, or `[n d K]` for the K columns of a term, which must not be mixed. None
        means zero by construction, in the gradient and in the rates. The caller sets the rates of
        fixed bodies and padding to zero.
        """

    def offset(self, graphs: GraphsTuple) -> tuple[Any, ...]:
        """Rates of the state without any energy, such as those that keep rods rigid, `[n d]` each.
        None, which means zero, unless overridden."""
        return (None,) * len(self.state)

    def motion(self, graphs: GraphsTuple, gradient: Gradient) -> tuple[Any, ...]:
        """Rates of the state `[n d]` by an energy with this gradient, zero for fixed bodies and
        padding."""
        parts = self.rates(graphs, gradient), self.offset(graphs)
        return moving(graphs, tuple(map(total, zip(*parts))), self.state)

    def accepts(self, graphs: GraphsTuple) -> None:
        """Raises `ValueError` for concrete graphs whose state these dynamics do not allow. Accepts
        all graphs unless overridden."""
        return None


class Canonical(AbstractDynamics):
    """Hamilton's equations: dq/dt = dH/dp, dp/dt = -dH/dq."""

    state: ClassVar[tuple[str, ...]] = ("position", "momentum")
    observed: ClassVar[tuple[str, ...]] = ("velocity", "force")
    separable: ClassVar[bool] = True
    conserves_energy: ClassVar[bool] = True

    def rates(self, graphs: GraphsTuple, gradient: Gradient) -> tuple[Any, ...]:
        by_position, by_momentum = gradient
        return by_momentum, None if by_position is None else -by_position


def at_rest_where_fixed(graphs: GraphsTuple, rates: tuple[Any, ...]) -> tuple[Any, ...]:
    """Rates `[n d ...]` with zeros for fixed bodies and padding."""
    mobile = movable(graphs)

    def masked(rate: Any) -> Any:
        if rate is None:
            return None
        # [n d] for one motion, [n d K] for the columns of a fit.
        return jnp.where(mobile.reshape(-1, *[1] * (rate.ndim - 1)), rate, 0)

    return tuple(map(masked, rates))


def total(parts: tuple[Any, ...]) -> Any:
    """Sum of the arrays that are not None; None if there is none."""
    present = [part for part in parts if part is not None]
    # Not from 0, so that a single array is returned as it is.
    return sum(present[1:], start=present[0]) if present else None


def moving(graphs: GraphsTuple, rates: tuple[Any, ...], state: tuple[str, ...]) -> tuple[Any, ...]:
    """Rates `[n d]` with zeros in place of None, and for fixed bodies and padding."""
    filled = (
        jnp.zeros_like(graphs.nodes[name]) if rate is None else rate
        for name, rate in zip(state, rates, strict=True)
    )
    return at_rest_where_fixed(graphs, tuple(filled))
