"""How much every body's equations count."""

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import NodeMask, NodeScalars
from ..graphs.geometry import movable, node_mask, norm

Weights: TypeAlias = Callable[[GraphsTuple], tuple[NodeScalars, NodeScalars]]
"""Weights of every node's velocity rows and force rows, before its own `weight`."""


class AbstractWeights(eqx.Module):
    """Weights that may take a scale from the data."""

    @abstractmethod
    def settled(self, data: GraphsTuple) -> "AbstractWeights":
        """The same with every scale taken from these data, to be used on further batches."""

    @abstractmethod
    def __call__(self, graphs: GraphsTuple) -> tuple[NodeScalars, NodeScalars]:
        """Weights of every node's velocity rows and force rows, before its own `weight`."""


class GivenWeights(AbstractWeights):
    """A function, or module, of the user's."""

    function: Weights

    def settled(self, data: GraphsTuple) -> "GivenWeights":
        return self

    def __call__(self, graphs: GraphsTuple) -> tuple[NodeScalars, NodeScalars]:
        return self.function(graphs)


class RelativeWeights(AbstractWeights):
    """1 / max(|v_i|, floor) and 1 / (m_i max(|a_i|, floor)): every body counts by its own motion.

    The floors are a hundredth of the data's median speed and acceleration: bodies at rest do not
    dominate. So springs and planets, which differ by 10^7 in force, are fitted alike.
    """

    floors: Float[Array, " 2"] | None = None
    """Of speed and acceleration; None takes them from the graphs at hand."""

    def settled(self, data: GraphsTuple) -> "RelativeWeights":
        if self.floors is not None:
            return self
        mask = movable(data)
        return RelativeWeights(jnp.stack([_floor(size, mask) for size in _sizes(data)]))

    def __call__(self, graphs: GraphsTuple) -> tuple[NodeScalars, NodeScalars]:
        floors = self.settled(graphs).floors
        assert floors is not None
        speed, acceleration = _sizes(graphs)
        return (
            1 / jnp.maximum(speed, floors[0]),
            1 / (_mass(graphs) * jnp.maximum(acceleration, floors[1])),
        )


relative_weights = RelativeWeights()
"""The default: every body counts by its own motion."""


def uniform_weights(graphs: GraphsTuple) -> tuple[NodeScalars, NodeScalars]:
    """One for every row: plain least squares in the data's units."""
    ones = jnp.ones_like(graphs.nodes["position"][:, 0])
    return ones, ones


def as_weights(weights: Weights | AbstractWeights) -> AbstractWeights:
    if isinstance(weights, AbstractWeights):
        return weights
    # A function becomes part of the tree's structure: results of jit hold arrays only.
    leaf = jax.tree.leaves(weights) == [weights]
    return GivenWeights(jax.tree_util.Partial(weights) if leaf else weights)


def _mass(graphs: GraphsTuple) -> NodeScalars:
    return jnp.where(node_mask(graphs), graphs.nodes["mass"], 1)


def _sizes(graphs: GraphsTuple) -> tuple[NodeScalars, NodeScalars]:
    """Speed and acceleration; zero where the data have none."""
    still = jnp.zeros_like(graphs.nodes["position"])
    speed, force = (norm(graphs.nodes.get(name, still)) for name in ("velocity", "force"))
    return speed, force / _mass(graphs)


def _floor(size: NodeScalars, mask: NodeMask) -> Float[Array, ""]:
    median = jnp.nanmedian(jnp.where(mask, size, jnp.nan))
    floor = jnp.where(median > 0, 1e-2 * median, jnp.max(jnp.where(mask, size, 0)))
    return jnp.where(floor > 0, floor, 1)
