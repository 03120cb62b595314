"""Fixed-point iteration, and derivatives by the same iteration."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.flatten_util import ravel_pytree
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Bool, Float, PyTree

T = TypeVar("T", bound=PyTree[Array])

PATIENCE = 10
"""Factor of the iterations allowed for derivatives, which do not start near the solution."""


def fixed_point(
    function: Callable[[T], T], start: T, scale: T, tolerance: float, iterations: int
) -> tuple[T, Bool[Array, ""]]:
    r"""Solves x = f(x) from `start`; returns x, and whether it converged within `iterations`.

    It has converged when no number changes by more than `tolerance` times the greatest of x or
    `scale`. It continues until that holds for each array of the tree (their units differ), or until
    rounding keeps the changes from falling.

    Derivatives are those of the exact x, $(1 - f'(x))^{-1} \partial f$. Their linear system is
    iterated in the same way, $y \leftarrow f'(x) y + b$, so the matrix of $f'$ is never formed.
    They are NaN if that does not converge. In a loop, second derivatives need reverse mode over
    forward mode; before JAX 0.12, forward over reverse mode raises `NotImplementedError`.
    """
    floor = _greatest(scale)

    def tangent(product: Callable[[T], T], b: T) -> T:
        # One flat vector: JAX transposes a system of arrays only if all depend on the input.
        flat, unravel = ravel_pytree(b)

        def linear(product: Callable[[Array], Array], b: Array) -> Array:
            """Solves product(y) = b, the product being that with f' - 1."""

            def update(y: T) -> T:
                vector = ravel_pytree(y)[0]
                return unravel(vector + product(vector) - b)  # f' y - b

            # Derivatives have no scale of their own; -b is the iterate that follows y = 0.
            none, most = jnp.zeros_like(floor), PATIENCE * iterations
            y, solved = _iterated(update, unravel(-b), none, tolerance, most)
            return jnp.where(solved, ravel_pytree(y)[0], jnp.nan)

        def joined(y: Array) -> Array:
            return ravel_pytree(product(unravel(y)))[0]

        # The same iteration solves the transposed system, whose product JAX passes in.
        return unravel(jax.lax.custom_linear_solve(joined, flat, linear, linear))

    def solve(_: Callable[[T], T], start: T) -> tuple[T, Array]:
        x, solved = _iterated(function, start, floor, tolerance, iterations)
        x = jax.tree.map(_iterates.bind, x)
        return x, solved.astype(floor.dtype)  # booleans have no derivative in JAX

    x, solved = jax.lax.custom_root(
        lambda x: jax.tree.map(jnp.subtract, function(x), x), start, solve, tangent, has_aux=True
    )
    return x, solved > 0


def _iterated(
    update: Callable[[T], T], start: T, floor: Float[Array, " l"], tolerance: float, iterations: int
) -> tuple[T, Bool[Array, ""]]:
    """The last iterate, and whether it has converged."""

    def going(carry: tuple[T, Array, Array]) -> Bool[Array, ""]:
        # `whole` compares with the greatest array, `each` with every array by itself.
        _, (whole, each, _, before), count = carry
        # Changes of positions and momenta alternate between iterations: every second one falls.
        improving = (each > tolerance) & (each < before)
        return ((whole > tolerance) | improving) & (count < iterations)

    def step(carry: tuple[T, Array, Array]) -> tuple[T, Array, Array]:
        old, (_, last, before, _), count = carry
        new = update(old)
        change = _greatest(jax.tree.map(jnp.subtract, new, old))
        size = jnp.maximum(floor, _greatest(new))
        whole = _ratio(jnp.max(change), jnp.max(size))
        # The change before the last is kept, too, since changes alternate.
        return new, jnp.stack([whole, jnp.max(_ratio(change, size)), last, before]), count + 1

    # Infinite: the first changes have nothing to compare with.
    first = (start, jnp.full(4, jnp.inf, floor.dtype), jnp.zeros((), jnp.int32))
    end, (whole, *_), _ = jax.lax.while_loop(going, step, first)
    return end, whole <= tolerance


def _ratio(change: Array, size: Array) -> Array:
    return jnp.where(change == 0, 0, change / jnp.where(size == 0, 1, size))  # zeros stay converged


def _greatest(tree: PyTree[Array]) -> Float[Array, " l"]:
    """The greatest absolute value of every array."""
    return jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)])


def _forgotten(*_: Any) -> Any:
    raise NotImplementedError(
        "second derivatives through steps of an implicit solver are taken by reverse mode over "
        "forward mode: jax.jacrev(jax.jacfwd(f)), not jax.hessian(f); "
        "jax.grad(lambda x: jax.jvp(f, (x,), (v,))[1]) for a product with v"
    )


# The identity. `scan` loses the rule of custom_root after the first derivative and would
# differentiate the iterates, whose second derivative is the worse the nearer they start.
_iterates = Primitive("iterates")
_iterates.def_impl(lambda x: x)
_iterates.def_abstract_eval(lambda x: x)
mlir.register_lowering(_iterates, mlir.lower_fun(lambda x: x, multiple_results=False))
batching.primitive_batchers[_iterates] = lambda values, axes: (_iterates.bind(*values), *axes)
ad.primitive_jvps[_iterates] = _forgotten
