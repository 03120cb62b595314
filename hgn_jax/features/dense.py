"""Hidden layer of random or trained units."""

import equinox as eqx
from jaxtyping import Array, Float

from .activations import activation


class Dense(eqx.Module):
    r"""Layer $\sigma((x - c) W + b)$ of K units for inputs x `[s inputs]`: sampled, or trained by
    `train`.

    `centre` c is the mean of the inputs that the layer was sampled for; W has the inverse units
    of x. Subtracting c before multiplying preserves the digits of inputs that vary little.
    """

    weight: Float[Array, "inputs K"]
    bias: Float[Array, " K"]
    centre: Float[Array, " inputs"]
    activation: str = eqx.field(static=True)

    def __call__(self, x: Float[Array, "s inputs"]) -> Float[Array, "s K"]:
        """Values of the units."""
        return activation(self.activation).function(self._argument(x))

    def jacobian(self, x: Float[Array, "s inputs"]) -> Float[Array, "s inputs K"]:
        """Derivatives of the units with respect to each input."""
        _, slope = activation(self.activation).value_and_slope(self._argument(x))
        return self.weight[None] * slope[:, None, :]  # sigma'(z_k) W_ak

    def _argument(self, x: Float[Array, "s inputs"]) -> Float[Array, "s K"]:
        return (x - self.centre[None]) @ self.weight + self.bias[None]
