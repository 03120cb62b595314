"""Nonlinearities of the random layer, with the constants that SWIM needs for each."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Activation(NamedTuple):
    r"""A nonlinearity $\sigma$ and SWIM's constants.

    A SWIM unit has argument $-s_2$ at its first data point and $s_1 - s_2$ at its second.
    """

    function: Callable[[Array], Array]
    s1: float
    s2: float

    def value_and_slope(self, z: Float[Array, "..."]) -> tuple[Array, Array]:
        """sigma(z) and sigma'(z), elementwise."""
        # Elementwise: a tangent of ones gives every slope, in the same pass as the values.
        return jax.jvp(self.function, (z,), (jnp.ones_like(z),))


_LN3 = 1.0986122886681098  # tanh(_LN3 / 2) = 1/2, sigmoid(_LN3) = 3/4
_ERF_HALF = 0.4769362762044699  # erf(_ERF_HALF) = 1/2

# At the end of each line: the unit's values at its two data points.
ACTIVATIONS = {
    "tanh": Activation(jnp.tanh, _LN3, _LN3 / 2),  # -1/2 and +1/2
    "erf": Activation(jax.scipy.special.erf, 2 * _ERF_HALF, _ERF_HALF),  # -1/2 and +1/2
    "sigmoid": Activation(jax.nn.sigmoid, 2 * _LN3, _LN3),  # 1/4 and 3/4
    "sin": Activation(jnp.sin, jnp.pi / 3, jnp.pi / 6),  # -1/2 and +1/2
    "relu": Activation(jax.nn.relu, 1.0, 0.0),  # 0 and 1; its forces jump
}


def activation(name: str) -> Activation:
    """The activation of that name; `ValueError` lists the known ones."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known are {sorted(ACTIVATIONS)}")
    return ACTIVATIONS[name]
