"""Distributions of the hidden weights: ELM, SWIM, and the initial weights of gradient descent."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

from .._types import Key
from ..graphs.geometry import norm
from .activations import activation
from .dense import Dense


class AbstractSampling(eqx.Module):
    """Base class of distributions of a dense layer's weights and biases."""

    @property
    @abstractmethod
    def guided(self) -> bool:
        """True if layers are sampled twice, the second time guided by energies of a first fit."""

    @abstractmethod
    def __call__(
        self,
        key: Key,
        x: Float[Array, "s inputs"],
        mask: Bool[Array, " s"],
        units: int,
        nonlinearity: str = "tanh",
        energy: Float[Array, " s"] | None = None,
        unit: float = 0.0,
    ) -> Dense:
        """Samples a layer of `units` units for the inputs x; only inputs with a true mask count.

        `energy`, if given, is the site energy of a first fit at every input. `unit` is the least
        magnitude by which an input's variation is compared with rounding (1 for logarithms, whose
        mean may be zero).
        """


class ELM(AbstractSampling):
    """w ~ N(0, scale^2 / inputs), b ~ U(-1, 1) on standardised inputs (Huang et al., Neurocomputing
    70, 2006).

    `scale` is the standard deviation of w . x. The default of 1 suits a single input. Stacked
    layers, as in `MessagePassing`, need less, since more of their units saturate
    (bench/potentials.py).
    """

    scale: float = eqx.field(default=1.0, static=True)

    def __check_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"scale must be positive, got {self.scale}")

    @property
    def guided(self) -> bool:
        return False

    def __call__(
        self,
        key: Key,
        x: Float[Array, "s inputs"],
        mask: Bool[Array, " s"],
        units: int,
        nonlinearity: str = "tanh",
        energy: Float[Array, " s"] | None = None,
        unit: float = 0.0,
    ) -> Dense:
        centre, scale = moments(x, mask, unit)
        w, b = jr.split(key)
        size = self.scale / x.shape[1] ** 0.5
        # Drawn flat, like the biases: with one input both reuse one compiled generator.
        normal = jr.normal(w, (x.shape[1] * units,), x.dtype).reshape(x.shape[1], units)
        # Inputs are standardised by the layer itself: by its weights, and by its centre.
        weight = size * normal / scale[:, None]
        bias = jr.uniform(b, (units,), x.dtype, -1, 1)
        return Dense(weight, bias, centre, nonlinearity)


class Glorot(AbstractSampling):
    """w ~ N(0, 2 / (inputs + units)) on standardised inputs, b = 0: the standard initialisation
    for gradient descent (Glorot and Bengio, AISTATS 2010)."""

    @property
    def guided(self) -> bool:
        return False

    def __call__(
        self,
        key: Key,
        x: Float[Array, "s inputs"],
        mask: Bool[Array, " s"],
        units: int,
        nonlinearity: str = "tanh",
        energy: Float[Array, " s"] | None = None,
        unit: float = 0.0,
    ) -> Dense:
        centre, scale = moments(x, mask, unit)
        shape = (x.shape[1], units)
        weight = (2 / sum(shape)) ** 0.5 * jr.normal(key, shape, x.dtype) / scale[:, None]
        return Dense(weight, jnp.zeros(units, x.dtype), centre, nonlinearity)


class SWIM(AbstractSampling):
    r"""Units placed between pairs of data points (Bolager et al., arXiv 2306.16830).

    $w = s_1 (x_2 - x_1) / |x_2 - x_1|^2$, $b = -w \cdot x_1 - s_2$ on standardised inputs, with
    constants s of the activation. Distances |x_2 - x_1| count as at least `floor` (standard
    deviations), so that no unit becomes a step function.

    Pairs are drawn uniformly. With `passes=2` a second pass draws them with probability
    proportional to $|\Delta E| / |\Delta x|$, where E is the site energy of the first fit (Rahma
    et al., arXiv 2411.17511).
    """

    floor: float = eqx.field(default=0.5, static=True)
    passes: int = eqx.field(default=1, static=True)

    def __check_init__(self) -> None:
        if not self.floor > 0:
            raise ValueError(f"floor must be positive, got {self.floor}")
        if self.passes not in (1, 2):
            raise ValueError(f"passes must be 1 or 2, got {self.passes}")

    @property
    def guided(self) -> bool:
        return self.passes == 2

    def __call__(
        self,
        key: Key,
        x: Float[Array, "s inputs"],
        mask: Bool[Array, " s"],
        units: int,
        nonlinearity: str = "tanh",
        energy: Float[Array, " s"] | None = None,
        unit: float = 0.0,
    ) -> Dense:
        centre, scale = moments(x, mask, unit)
        z = jnp.where(mask[:, None], (x - centre[None]) / scale[None], 0)
        first, second = self._pairs(key, z, mask, units, energy)
        step = z[second] - z[first]
        length = norm(step)[:, None]
        # Two equal points define no direction: take the diagonal.
        diagonal = x.shape[1] ** -0.5
        direction = jnp.where(length > 0, step / jnp.where(length > 0, length, 1), diagonal)
        sigma = activation(nonlinearity)
        w = sigma.s1 * direction / jnp.maximum(length, self.floor)
        bias = -jnp.sum(w * z[first], axis=1) - sigma.s2
        # w was made for standardised inputs; the layer takes the original ones.
        return Dense(w.T / scale[:, None], bias, centre, nonlinearity)

    def _pairs(
        self,
        key: Key,
        z: Float[Array, "s inputs"],
        mask: Bool[Array, " s"],
        units: int,
        energy: Float[Array, " s"] | None,
    ) -> tuple[Array, Array]:
        one, two, choose = jr.split(key, 3)
        chance = mask.astype(z.dtype)  # need not add up to one
        count = units if energy is None else 64 * units  # candidates, of which steep ones are kept
        first = jr.choice(one, z.shape[0], (count,), p=chance)
        second = jr.choice(two, z.shape[0], (count,), p=chance)
        if energy is None:
            return first, second
        length = jnp.maximum(norm(z[second] - z[first]), self.floor)
        steepness = jnp.abs(energy[second] - energy[first]) / length
        # If the energy is constant, all pairs are equally likely.
        steepness = jnp.where(jnp.any(steepness > 0), steepness, 1)
        chosen = jr.choice(choose, count, (units,), replace=False, p=steepness)
        return first[chosen], second[chosen]


def moments(
    x: Float[Array, "s inputs"], mask: Bool[Array, " s"], unit: float = 0.0
) -> tuple[Float[Array, " inputs"], Float[Array, " inputs"]]:
    """Mean and standard deviation of the unmasked inputs.

    If inputs do not vary (a rigid rod), their magnitude takes the place of the deviation: at least
    `unit`, and 1 if it is zero.
    """
    count = jnp.maximum(jnp.sum(mask), 1).astype(x.dtype)
    kept = mask[:, None]
    mean = jnp.sum(jnp.where(kept, x, 0), axis=0) / count
    # Masked before the squares, so that nothing in padding can overflow.
    deviation = jnp.sqrt(jnp.sum(jnp.where(kept, x - mean[None], 0) ** 2, axis=0) / count)
    size = jnp.maximum(jnp.abs(mean), unit)
    constant = deviation <= 100 * jnp.finfo(x.dtype).eps * size
    return mean, jnp.where(constant, jnp.where(size > 0, size, 1), deviation)
