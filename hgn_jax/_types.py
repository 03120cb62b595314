"""Shape aliases. n nodes, e directed edges, g graphs, d dimensions, K random units, t times."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

Key: TypeAlias = PRNGKeyArray
Vectors: TypeAlias = Float[Array, "n d"]
NodeScalars: TypeAlias = Float[Array, " n"]
EdgeScalars: TypeAlias = Float[Array, " e"]
GraphScalars: TypeAlias = Float[Array, " g"]
NodeMask: TypeAlias = Bool[Array, " n"]
EdgeMask: TypeAlias = Bool[Array, " e"]
NodeIndex: TypeAlias = Int[Array, " n"]

Rates: TypeAlias = tuple[Vectors, ...]
"""Time derivatives of the state, in the order of the dynamics' `state`: (dq/dt, dp/dt)."""
Jacobian: TypeAlias = Float[Array, "n d K"]
"""Derivatives of K columns with respect to every node's d coordinates."""


class Gradient(NamedTuple):
    """Derivatives of an energy `[n d]`, or of K columns `[n d K]`; None means zero."""

    position: Any = None
    momentum: Any = None


class _ByRotorState(NamedTuple):
    position: Any = None
    momentum: Any = None
    axis: Any = None
    angular_momentum: Any = None


class RotorGradient(_ByRotorState, Gradient):  # type: ignore[misc]  # two bases are tuples
    """`Gradient` of bodies with an axis, also with respect to `axis` and `angular_momentum`,
    `[n 3]` or `[n 3 K]`; None means zero."""

    @classmethod
    def of(cls, gradient: Gradient) -> "RotorGradient":
        """The gradient, with None for axes and angular momenta if it has none."""
        return cls(**gradient._asdict())


def gradient_of(slopes: Mapping[str, Any]) -> Gradient:
    """Gradient of these derivatives by the names of the state's arrays."""
    kind = Gradient if set(slopes) <= set(Gradient._fields) else RotorGradient
    return kind(**slopes)
