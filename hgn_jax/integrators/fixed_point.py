"""Fixed points by plain iteration, their derivatives by the same."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, PyTree

T = TypeVar("T", bound=PyTree[Array])


def fixed_point(
    function: Callable[[T], T], start: T, tolerance: float, iterations: int
) -> tuple[T, Bool[Array, ""]]:
    r"""x = f(x), iterated from `start`, and whether the last change was below `tolerance`, after at
    most so many `iterations`.

    Derivatives are those of the exact x, $(1 - f'(x))^{-1} \partial f$, and of any order. Their
    linear system is iterated too, $y \leftarrow f'(x) y + b$, which converges as fast; no matrix is
    made of $f'$.
    """

    def linear(product: Callable[[Array], Array], b: Array) -> Array:
        """Solves product(y) = b, where the product is with f' - 1."""
        return _iterated(lambda y: y + product(y) - b, -b, tolerance * greatest(b), iterations)[0]

    def tangent(product: Callable[[T], T], b: T) -> T:
        # One vector, as JAX transposes systems of parts only if all depend on what is asked.
        flat, parts = ravel_pytree(b)

        def joined(y: Array) -> Array:
            return ravel_pytree(product(parts(y)))[0]

        return parts(jax.lax.custom_linear_solve(joined, flat, linear, linear))

    least = jnp.asarray(tolerance, greatest(start).dtype)
    solution, change = jax.lax.custom_root(
        lambda x: jax.tree.map(jnp.subtract, function(x), x),
        start,
        lambda _, start: _iterated(function, start, least, iterations),
        tangent,
        has_aux=True,
    )
    return solution, change <= least


def _iterated(update: Callable[[T], T], start: T, least: Array, iterations: int) -> tuple[T, Array]:
    """The last iterate, and the greatest change that led to it."""

    def onward(carry: tuple[T, Array, Array]) -> Array:
        return ~(carry[1] <= least) & (carry[2] < iterations)

    def step(carry: tuple[T, Array, Array]) -> tuple[T, Array, Array]:
        old, _, count = carry
        new = update(old)
        return new, greatest(jax.tree.map(jnp.subtract, new, old)), count + 1

    first = (start, jnp.full_like(least, jnp.inf), jnp.zeros((), jnp.int32))
    end, change, _ = jax.lax.while_loop(onward, step, first)
    return end, change


def greatest(tree: PyTree[Array]) -> Array:
    """The greatest absolute value."""
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]))
