"""Predicates of trees of arrays."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree


def is_concrete(tree: PyTree) -> bool:
    """True if values can be inspected: no array is traced by jit, vmap or grad."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """True if no floating-point array holds NaN or Inf. Works inside jit."""
    arrays = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return (
        jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in arrays]))
        if arrays  # stack() refuses an empty list
        else jnp.array(True)
    )
