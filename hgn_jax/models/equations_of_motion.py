"""How a gradient becomes motion."""

from abc import abstractmethod
from typing import Any, TypeVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from ..graphs.geometry import movable

# An array [n d ...], or None for a derivative that is zero by construction.
ByPosition = TypeVar("ByPosition", bound=Float[Array, "n d ..."] | None)
ByMomentum = TypeVar("ByMomentum", bound=Float[Array, "n d ..."] | None)


class AbstractDynamics(eqx.Module):
    """A linear map from the gradient of H to the rates of positions and momenta."""

    @abstractmethod
    def rates(
        self, graphs: GraphsTuple, gradient: tuple[ByPosition, ByMomentum]
    ) -> tuple[ByMomentum, ByPosition]:
        """(dH/dq, dH/dp) -> (dq/dt, dp/dt).

        Each array is `[n d ...]`; trailing axes (one per feature) ride along. None stands for a
        derivative that is zero by construction.
        """


class Canonical(AbstractDynamics):
    """Hamilton's equations dq/dt = dH/dp, dp/dt = -dH/dq; `fixed` bodies and padding stay put."""

    def rates(
        self, graphs: GraphsTuple, gradient: tuple[ByPosition, ByMomentum]
    ) -> tuple[ByMomentum, ByPosition]:
        by_position, by_momentum = gradient

        def still(rate: Any) -> Any:
            if rate is None:
                return None
            return jnp.where(movable(graphs).reshape(-1, *[1] * (rate.ndim - 1)), rate, 0)

        return still(by_momentum), still(None if by_position is None else -by_position)
