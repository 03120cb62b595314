"""Weights of rows, which multiply the equations of every body."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import NodeMask, NodeScalars
from ..graphs.geometry import movable, node_mask
from ..linear.triangle import column_norm

WeightFunction: TypeAlias = Callable[[GraphsTuple], tuple[NodeScalars, ...]]
"""Weights of every node's rows, `[n]` for each observed rate, before the data's `weight`."""


class AbstractWeights(eqx.Module):
    """Base class of weights, whose scales may come from the data."""

    @abstractmethod
    def calibrated(self, data: GraphsTuple, names: Sequence[str]) -> "AbstractWeights":
        """A copy with its scales fixed from `data`, for use on later batches."""

    @abstractmethod
    def __call__(self, graphs: GraphsTuple, names: Sequence[str]) -> tuple[NodeScalars, ...]:
        """Weights of every node's rows, `[n]` for each of the named rates."""


class GivenWeights(AbstractWeights):
    """User-defined weights: a function or a module."""

    function: WeightFunction

    def calibrated(self, data: GraphsTuple, names: Sequence[str]) -> "GivenWeights":
        return self

    def __call__(self, graphs: GraphsTuple, names: Sequence[str]) -> tuple[NodeScalars, ...]:
        weights = self.function(graphs)
        if len(weights) != len(names):
            raise ValueError(
                f"the weights' function returned {len(weights)} arrays, but {len(names)} rates are "
                f"observed: {list(names)}"
            )
        return tuple(weights)


class UniformWeights(AbstractWeights):
    """Weight 1 for every row: plain least squares in the data's units."""

    def calibrated(self, data: GraphsTuple, names: Sequence[str]) -> "UniformWeights":
        return self

    def __call__(self, graphs: GraphsTuple, names: Sequence[str]) -> tuple[NodeScalars, ...]:
        position = graphs.nodes["position"]
        return (jnp.ones(len(position), position.dtype),) * len(names)


class RelativeWeights(AbstractWeights):
    """1 / max(|v_i|, floor) and 1 / (m_i max(|a_i|, floor)): errors relative to each body's motion.

    The floors are a hundredth of the data's median speed and acceleration, so that bodies at rest
    do not dominate. Springs and planets, whose forces differ by 10^7, are thus fitted alike.
    """

    floors: Float[Array, " r"] | None = None
    """Floors of speed and acceleration; None takes them from the graphs that are weighted."""

    def calibrated(self, data: GraphsTuple, names: Sequence[str]) -> "RelativeWeights":
        if self.floors is not None:
            return self
        mask = movable(data)
        floors = [_floor(_size(data, name) / _unit(data, name), mask) for name in names]
        return RelativeWeights(jnp.stack(floors))

    def __call__(self, graphs: GraphsTuple, names: Sequence[str]) -> tuple[NodeScalars, ...]:
        floors = self.calibrated(graphs, names).floors
        assert floors is not None
        weights = []
        for name, floor in zip(names, floors, strict=True):
            unit = _unit(graphs, name)
            weights.append(1 / (unit * jnp.maximum(_size(graphs, name) / unit, floor)))
        return tuple(weights)


class ScaledWeights(AbstractWeights):
    """1 / root mean square of the rate over the data: all bodies count alike, in any units."""

    sizes: Float[Array, " r"] | None = None
    """Root mean square of each rate's vectors; None takes them from the weighted graphs."""

    def calibrated(self, data: GraphsTuple, names: Sequence[str]) -> "ScaledWeights":
        if self.sizes is not None:
            return self
        return ScaledWeights(jnp.stack([root_mean_square(data, name) for name in names]))

    def __call__(self, graphs: GraphsTuple, names: Sequence[str]) -> tuple[NodeScalars, ...]:
        sizes = self.calibrated(graphs, names).sizes
        assert sizes is not None
        return tuple(jnp.broadcast_to(1 / size, node_mask(graphs).shape) for size in sizes)


def as_weights(
    weights: Literal["relative", "scaled", "uniform"] | WeightFunction | AbstractWeights,
) -> AbstractWeights:
    """The weights with that name, or user-defined ones."""
    if isinstance(weights, AbstractWeights):
        return weights
    if isinstance(weights, str):
        named = {
            "relative": RelativeWeights(),
            "scaled": ScaledWeights(),
            "uniform": UniformWeights(),
        }
        if weights not in named:
            raise ValueError(
                f"weights must be one of {sorted(named)}, or a function, got {weights!r}"
            )
        return named[weights]
    if not callable(weights):
        raise ValueError(f"weights must be a function of graphs, got {type(weights).__name__}")
    # A function must be part of the tree's structure, since results of jit hold only arrays.
    leaf = jax.tree.leaves(weights) == [weights]
    return GivenWeights(jax.tree_util.Partial(weights) if leaf else weights)


def _size(graphs: GraphsTuple, name: str) -> NodeScalars:
    """Length of each node's vector, without squares that overflow; zero where there is none."""
    still = jnp.zeros_like(graphs.nodes["position"])
    vectors = graphs.nodes.get(name, still)
    return column_norm(vectors.T)  # one column for each body


def _unit(graphs: GraphsTuple, name: str) -> NodeScalars:
    """Masses for forces, so that accelerations are compared; one for other rates."""
    if name != "force" or "mass" not in graphs.nodes:
        return jnp.ones(len(graphs.nodes["position"]), graphs.nodes["position"].dtype)
    return jnp.where(node_mask(graphs), graphs.nodes["mass"], 1)


def root_mean_square(data: GraphsTuple, name: str) -> Float[Array, ""]:
    """Root mean square of a rate's vectors over the mobile bodies that have a weight; one if all
    are zero."""
    mask, size = movable(data), _size(data, name)
    if "weight" in data.nodes:
        mask &= data.nodes["weight"] > 0
    total = column_norm(jnp.where(mask, size, 0)[:, None])[0]
    number = jnp.maximum(jnp.sum(mask), 1).astype(size.dtype)
    return jnp.where(total > 0, total / jnp.sqrt(number), 1)


def _floor(size: NodeScalars, mask: NodeMask) -> Float[Array, ""]:
    median = jnp.nanmedian(jnp.where(mask, size, jnp.nan))
    # Where most bodies rest the median is zero.
    floor = jnp.where(median > 0, 1e-2 * median, jnp.max(jnp.where(mask, size, 0)))
    return jnp.where(floor > 0, floor, 1)
