"""Distributions of initial states."""

from abc import abstractmethod

import equinox as eqx
import jax.random as jr
from jax.typing import DTypeLike
from jaxtyping import Array

from .._types import Key


class AbstractStart(eqx.Module):
    """Distribution of initial states around a graph's own positions and momenta."""

    @abstractmethod
    def offsets(self, key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> tuple[Array, Array]:
        """Random offsets of that shape, to be added to positions (length) and momenta."""


class Uniform(AbstractStart):
    """Uniform offsets of every coordinate, within +-`position` (length) and +-`momentum`."""

    position: float = eqx.field(default=0.2, static=True)
    momentum: float = eqx.field(default=0.2, static=True)

    def offsets(self, key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> tuple[Array, Array]:
        q, p = jr.split(key)
        return (
            self.position * jr.uniform(q, shape, dtype, -1, 1),
            self.momentum * jr.uniform(p, shape, dtype, -1, 1),
        )


class Normal(AbstractStart):
    """Normal offsets of every coordinate, with standard deviations `position` (length) and
    `momentum`."""

    position: float = eqx.field(default=0.1, static=True)
    momentum: float = eqx.field(default=0.1, static=True)

    def offsets(self, key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> tuple[Array, Array]:
        q, p = jr.split(key)
        return self.position * jr.normal(q, shape, dtype), self.momentum * jr.normal(
            p, shape, dtype
        )
