"""Shape aliases. n nodes, e directed edges, g graphs, d dimensions, K random units, t times."""

from typing import TypeAlias

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

Key: TypeAlias = PRNGKeyArray
Vectors: TypeAlias = Float[Array, "n d"]
NodeScalars: TypeAlias = Float[Array, " n"]
EdgeScalars: TypeAlias = Float[Array, " e"]
GraphScalars: TypeAlias = Float[Array, " g"]
NodeMask: TypeAlias = Bool[Array, " n"]
EdgeMask: TypeAlias = Bool[Array, " e"]
NodeIndex: TypeAlias = Int[Array, " n"]

Rates: TypeAlias = tuple[Vectors, Vectors]
Jacobian: TypeAlias = Float[Array, "n d K"]
"""Derivatives of K features with respect to every node's d coordinates."""
JacobianPair: TypeAlias = tuple[Jacobian | None, Jacobian | None]
"""(dPhi/dq, dPhi/dp); None where the derivative is zero by construction."""
