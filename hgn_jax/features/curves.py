"""Cheap functions of a square, which replace sums of many units of one variable."""

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

Squares = Float[Array, "*s"]

VARIABLES = ("square", "inverse square", "root", "logarithm")
"""Variables in which a curve is a polynomial or a spline: s, 1/s, sqrt(s) or log s."""


class AbstractCurve(eqx.Module):
    r"""$\phi(s)$ of squares s between `span[0]` and `span[1]`.

    Outside of the span $\phi$ continues linearly in s: the force of a pair is continuous, and
    proportional to its distance there. With an `end`, $\phi$ and its slope are zero from there on.
    """

    span: eqx.AbstractVar[Float[Array, " 2"]]
    variable: eqx.AbstractVar[str]
    end: eqx.AbstractVar[float | None]

    @abstractmethod
    def inside(self, x: Squares) -> Squares:
        """phi, where x runs from -1 to 1 over the span."""

    @abstractmethod
    def slope_inside(self, x: Squares) -> Squares:
        """d phi / dx."""

    def __call__(self, s: Squares) -> Squares:
        """phi(s)."""
        x, scale, within = self._scaled(s)
        # s - within is zero inside the span.
        value = self.inside(x) + self.slope_inside(x) * scale * (s - within)
        return value if self.end is None else jnp.where(s >= self.end, 0, value)

    def slope(self, s: Squares) -> Squares:
        """d phi / ds."""
        x, scale, _ = self._scaled(s)
        slope = self.slope_inside(x) * scale
        return slope if self.end is None else jnp.where(s >= self.end, 0, slope)

    def _scaled(self, s: Squares) -> tuple[Squares, Float[Array, "..."], Squares]:
        """x in [-1, 1], dx/ds, and s brought into the span."""
        # Clipped before it is transformed: 1/s would be infinite for s = 0.
        within = jnp.clip(s, self.span[0], self.span[1])
        first, last = (transformed(self.span[k], self.variable) for k in (0, 1))
        stretch = 2 / (last - first)
        t = transformed(within, self.variable)
        # dt/ds. Lambdas, as in `transformed`.
        by_square = {
            "square": lambda: jnp.ones_like(t),
            "inverse square": lambda: -(t**2),
            "root": lambda: 0.5 / t,
            "logarithm": lambda: 1 / within,
        }[self.variable]()
        return (t - first) * stretch - 1, stretch * by_square, within


def transformed(s: Array, variable: str) -> Array:
    """Value of the named variable at s."""
    # Lambdas, so that only the variable that is named is computed.
    return {
        "square": lambda: s,
        "inverse square": lambda: 1 / s,
        "root": lambda: jnp.sqrt(s),
        "logarithm": lambda: jnp.log(s),
    }[variable]()


class Chebyshev(AbstractCurve):
    """A polynomial, given by the Chebyshev coefficients of itself and of its derivative."""

    name: ClassVar[str] = "polynomial"
    coefficients: Float[Array, " k"]
    derivative: Float[Array, " k-1"]
    span: Float[Array, " 2"]
    variable: str = eqx.field(static=True)
    end: float | None = eqx.field(static=True)

    def inside(self, x: Squares) -> Squares:
        return clenshaw(self.coefficients, x)

    def slope_inside(self, x: Squares) -> Squares:
        return clenshaw(self.derivative, x)


def clenshaw(coefficients: Any, x: Squares) -> Squares:
    """Sum of c_k T_k(x), by Clenshaw's recurrence, from an array or a kernel's reference to one."""
    ahead = beyond = jnp.zeros_like(x)
    # From the highest degree down to 1. The unrolled loop is elementwise, which XLA fuses.
    for k in range(coefficients.shape[0] - 1, 0, -1):
        ahead, beyond = coefficients[k] + 2 * x * ahead - beyond, ahead
    return coefficients[0] + x * ahead - beyond


class Spline(AbstractCurve):
    """Cubic pieces between evenly spaced knots. Each has the model's slope at both ends and in the
    middle: the force is continuous, its derivative is not."""

    name: ClassVar[str] = "spline"
    pieces: Float[Array, "k 4"]
    """Coefficients of 1, t, t^2, t^3, where t runs from 0 to 1 over the piece."""
    span: Float[Array, " 2"]
    variable: str = eqx.field(static=True)
    end: float | None = eqx.field(static=True)

    def inside(self, x: Squares) -> Squares:
        t, (a, b, c, d) = self._piece(x, range(4))
        return a + t * (b + t * (c + t * d))

    def slope_inside(self, x: Squares) -> Squares:
        t, (b, c, d) = self._piece(x, range(1, 4))
        return (b + t * (2 * c + t * 3 * d)) * (self.pieces.shape[0] / 2)  # dt/dx

    def _piece(self, x: Squares, powers: range) -> tuple[Squares, list[Squares]]:
        """t, and the coefficients of its powers, of the piece that holds x."""
        count = self.pieces.shape[0]
        place = (x + 1) * (count / 2)
        # The end x = 1 belongs to the last piece.
        k = jnp.clip(place.astype(jnp.int32), 0, count - 1)
        return place - k.astype(x.dtype), [self.pieces[k, power] for power in powers]
