"""Shape aliases. n nodes, e directed edges, g graphs, d dimensions, K random units, t times."""

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

Rates: TypeAlias = tuple[Float[Array, "n _"], ...]
"""Time derivatives of the state, in the order of the dynamics' `state`: (dq/dt, dp/dt). Each has d
components for every node, those of rotations d(d-1)/2."""
Jacobian: TypeAlias = Float[Array, "n d K"]
"""Derivatives of K columns with respect to every node's d coordinates."""


class Gradient(NamedTuple):
    """Derivatives of an energy `[n d]`, or of K columns `[n d K]`, with respect to each array of
    the state; None means zero. Those by `angular_momentum` have its components, `[n d(d-1)/2]`."""

    position: Any = None
    momentum: Any = None
    axis: Any = None
    angular_momentum: Any = None
