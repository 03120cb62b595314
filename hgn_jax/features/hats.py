"""Piecewise linear units of one input."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class Hats(eqx.Module):
    """Units of one input x `[s 1]`, each of which falls linearly from one at its own knot to zero
    at the next. They add up to one; the outer two are constant beyond the last knots.

    A sum of units is nowhere negative if no coefficient is, and only then.
    """

    knots: Float[Array, " K"]

    def __call__(self, x: Float[Array, "s 1"]) -> Float[Array, "s K"]:
        """Values of the units."""
        low, high = self.knots[0], self.knots[-1]
        width = (high - low) / max(len(self.knots) - 1, 1)  # a single knot has no interval
        away = jnp.abs(jnp.clip(x, low, high) - self.knots[None])
        # The width is zero if all training inputs were alike.
        return jnp.maximum(1 - away / jnp.where(width > 0, width, 1), 0)


def in_words(name: str, x: Float[Array, " s"], values: Float[Array, "s _"]) -> str:
    """Least and greatest value of functions of x, and a warning if one is negative."""
    least = jnp.min(values, axis=1)
    words = f"{name}: {float(jnp.min(least)):.3g} .. {float(jnp.max(values)):.3g}"
    if jnp.min(least) >= 0:
        return words
    return (
        f"{words}, negative at {float(x[jnp.argmin(least)]):.3g}, where it feeds energy in: "
        "nonnegative=True forbids that"
    )
