"""Predicates of trees of arrays."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree


def is_concrete(tree: PyTree) -> bool:
    """True if values can be inspected: no array is traced by jit, vmap or grad."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """True if no floating-point array holds NaN or Inf. Works inside jit."""
    finite: dict[tuple[int, ...], Array] = {}
    for array in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)):
        # Arrays of one shape share a reduction: two kernels of a GPU.
        earlier = finite.get(array.shape, True)
        finite[array.shape] = jnp.isfinite(array) & earlier
    return functools.reduce(jnp.logical_and, map(jnp.all, finite.values()), jnp.array(True))
