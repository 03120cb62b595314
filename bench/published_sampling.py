"""Distributions of hidden weights as in the authors' package swimnetworks 0.0.2 (MIT): raw inputs,
without standardisation. tests/test_published_sampling.py compares both."""

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int

import hgn_jax as hgn
from hgn_jax._types import Key
from hgn_jax.features.activations import activation
from hgn_jax.features.dense import Dense

LEAST_DISTANCE = 1e-10
REDRAWS = 4
"""Candidates per unit, from which the first pairs that differ are taken."""


class PublishedELM(hgn.AbstractSampling):
    """w ~ N(0, 1), b ~ U(-pi, pi)."""

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
        w, b = jr.split(key)
        weight = jr.normal(w, (x.shape[1], units), x.dtype)
        bias = jr.uniform(b, (units,), x.dtype, -jnp.pi, jnp.pi)
        return Dense(weight, bias, jnp.zeros_like(x[0]), nonlinearity)


class PublishedSWIM(hgn.AbstractSampling):
    r"""$w = s_1 (x_2 - x_1) / |x_2 - x_1|^2$, $b = -w \cdot x_1 - s_2$ for distinct pairs, all
    equally likely (Bolager et al., arXiv 2306.16830)."""

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
        weight, bias = between(*x[pairs(key, mask, units)], nonlinearity)
        return Dense(weight, bias, jnp.zeros_like(x[0]), nonlinearity)


def between(
    first: Float[Array, "K inputs"], second: Float[Array, "K inputs"], nonlinearity: str = "tanh"
) -> tuple[Float[Array, "inputs K"], Float[Array, " K"]]:
    """Weights and biases of the units of pairs of inputs."""
    sigma, step = activation(nonlinearity), second - first
    distance = jnp.maximum(jnp.linalg.norm(step, axis=1, keepdims=True), LEAST_DISTANCE)
    weight = sigma.s1 * step / distance**2
    return weight.T, -jnp.sum(weight * first, axis=1) - sigma.s2


def pairs(key: Key, mask: Bool[Array, " s"], units: int) -> Int[Array, "2 K"]:
    """Numbers of two different unmasked inputs for every unit. Duplicates are re-drawn, as long as
    there are other pairs."""
    one, two = jr.split(key)
    count = jnp.sum(mask)
    first = jr.randint(one, (REDRAWS * units,), 0, count)
    second = (first + jr.randint(two, first.shape, 1, jnp.maximum(count, 2))) % count
    order = jnp.lexsort((second, first))  # stable: of equal pairs, the first drawn comes first
    again = (jnp.diff(first[order]) == 0) & (jnp.diff(second[order]) == 0)
    duplicate = jnp.zeros(first.shape, bool).at[order[1:]].set(again)
    chosen = jnp.argsort(duplicate, stable=True)[:units]
    unmasked = jnp.argsort(~mask, stable=True)
    return unmasked[jnp.stack([first, second])[:, chosen]]
