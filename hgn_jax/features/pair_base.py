"""Base of pair potentials: sums over edges of functions of the squared distance."""

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import EdgeMask, EdgeScalars, Gradient, NodeScalars
from ..graphs.geometry import (
    displacement,
    distance,
    edge_kinds,
    edge_mask,
    edge_share,
    graph_index,
    movable,
    sum_over_edges,
)
from ..graphs.pair_sums import OfEdges, pair_energy, pair_gradient
from .base import AbstractEnergy, Counts
from .blockwise import blockwise
from .trained_range import outside

NEAR = 0.95
"""Share of the cutoff above which the greatest distance in training counts as the cutoff."""

_Columns = Callable[[Float[Array, " s"], int], Float[Array, "s _"]]


class AbstractPairFeatures(AbstractEnergy):
    r"""$V = \sum_{pairs} c_{ij} \phi(r_{ij})$, c the edges' known `coupling` (one if absent).

    Each edge `type` has its own units, equal in number for all types.
    """

    name: ClassVar[str] = "pair"
    span: ClassVar[int] = 1
    depends_on: ClassVar[tuple[str, ...]] = ("position",)
    ranges: eqx.AbstractVar[Float[Array, "T 2"]]
    """Least and greatest distance in training, for each edge type (length)."""
    cutoff: eqx.AbstractVar[float | None]
    """Distance beyond which all units are zero (length)."""

    @abstractmethod
    def units(self, square: Float[Array, " s"], type: int) -> Float[Array, "s _"]:
        """Units of that type at squared distances."""

    @abstractmethod
    def slopes(self, square: Float[Array, " s"], type: int) -> Float[Array, "s _"]:
        """Derivatives of the units with respect to the squared distance."""

    def units_at(self, r: Float[Array, " s"], type: int = 0) -> Float[Array, "s K"]:
        """All units at distances r (length) for edges of that type; other types' units are zero."""
        return self._columns([jnp.full(r.shape, t == type) for t in range(self.types)], r**2)

    def columns(self, graphs: GraphsTuple) -> Float[Array, "e K"]:
        """All units at every edge; those of other types than the edge's are zero."""
        return self._columns(self._types(graphs), distance(graphs) ** 2)

    @property
    def types(self) -> int:
        return self.ranges.shape[-2]  # from the back: stacked models have one more axis

    def groups(self, columns: int) -> tuple[int, ...]:
        """Every edge type by itself: a type that does not interact vanishes."""
        return (columns // self.types,) * self.types

    def labels(self, count: int) -> tuple[str, ...]:
        return ("pair",) if count == 1 else tuple(f"pair of type {k}" for k in range(count))

    @property
    def dimension(self) -> int | None:
        return None

    @property
    def reach(self) -> float:
        return math.inf if self.cutoff is None else self.cutoff

    @property
    def counts(self) -> Counts:
        # The number of pairs within a cutoff jumps as bodies move; the energy must not.
        return Counts(pair_types=self.types) if self.cutoff is None else Counts(bodies=True)

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        values = self.columns(graphs)
        index = graph_index(graphs)[graphs.receivers]
        weighted = edge_share(graphs)[:, None] * values
        # Both directions of a pair are listed, and each has half of its energy.
        return jax.ops.segment_sum(weighted, index, graphs.n_node.shape[0])

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        energy = self._contracted(self.units, theta)
        return pair_energy(graphs, lambda kinds, r: energy(kinds, r**2))

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        return Gradient(position=pair_gradient(graphs, self._contracted(self.slopes, theta)))

    def _contracted(self, columns: _Columns, theta: Float[Array, " K"]) -> OfEdges:
        """Sum over the units, as a function of the edges' squared distances."""

        def at(kinds: Int[Array, " e"], square: EdgeScalars) -> EdgeScalars:
            total = jnp.zeros_like(square)
            for t, own in enumerate(by_type):
                units, active = partial(_dot, columns, t, own), kinds == t
                if self.cutoff is not None:
                    active &= ~(square >= self.cutoff**2)  # NaN stays active, and shows
                values = blockwise(units, len(own), square, active=active)
                total = jnp.where(active, values, total)  # not added: inactive values are undefined
            return total

        by_type = jnp.split(theta, self.types)
        return at

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        square = distance(graphs) ** 2
        slope = jnp.concatenate(
            [
                jnp.where(of_type[:, None], self.slopes(square, t), 0)
                for t, of_type in enumerate(self._types(graphs))
            ],
            axis=1,
        )
        # Both directions of a pair pull on the receiver alike: twice the share of one.
        direction = displacement(graphs) * (4 * edge_share(graphs))[:, None]
        # One coordinate at a time: [e d K] would be the largest array of the whole fit.
        along = [
            sum_over_edges(graphs, direction[:, k, None] * slope) for k in range(direction.shape[1])
        ]
        return Gradient(position=jnp.stack(along, axis=1))

    @property
    def covered(self) -> Float[Array, "T 2"]:
        """Least and greatest distance that is no extrapolation. The trained ranges unless
        overridden."""
        return self.ranges

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return pairs_out_of_range(graphs, self.covered, self.cutoff)

    def accepts(self, graphs: GraphsTuple) -> None:
        check_types(graphs, self.types)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.ranges

    def _columns(self, types: list[EdgeMask], square: Float[Array, " s"]) -> Float[Array, "s K"]:
        return jnp.concatenate(
            [
                jnp.where(of_type[:, None], self.units(square, t), 0)
                for t, of_type in enumerate(types)
            ],
            axis=1,
        )

    def _types(self, graphs: GraphsTuple) -> list[EdgeMask]:
        return edge_types(graphs, self.types)


def _dot(columns: _Columns, type: int, theta: Array, square: Array) -> Array:
    return columns(square, type) @ theta


def edge_types(graphs: GraphsTuple, count: int) -> list[EdgeMask]:
    """Mask of the edges of each type; without `type` all edges have type 0."""
    kinds = edge_kinds(graphs)
    return [kinds == t for t in range(count)]


def check_types(graphs: GraphsTuple, count: int) -> None:
    """Raises `ValueError` for concrete graphs with other edge types than 0 .. `count` - 1."""
    greatest = int(np.max(np.asarray(graphs.edges.get("type", 0)), initial=0))  # also without edges
    if greatest >= count:
        raise ValueError(
            f"the pair features were sampled for {count} edge types, but the data have "
            f"edge type {greatest}"
        )


def pairs_out_of_range(
    graphs: GraphsTuple, ranges: Float[Array, "T 2"], cutoff: float | None
) -> Int[Array, " g"]:
    """Number of pairs of each graph whose distance is outside of the range of their edge type, or
    whose type was absent in training."""
    r, types, mask = distance(graphs), edge_types(graphs, len(ranges)), observable(graphs, cutoff)
    out = mask & ~jnp.any(jnp.stack(types), axis=0)  # types absent in training
    for of_type, range_ in zip(types, ranges):
        out |= outside(r, mask & of_type, range_)
    return pair_count(graphs, out)


def pair_count(graphs: GraphsTuple, edges: EdgeMask) -> Int[Array, " g"]:
    """Number of pairs of each graph, of which `edges` holds both directions."""
    index = graph_index(graphs)[graphs.receivers]
    return jax.ops.segment_sum(edges.astype(jnp.int32), index, graphs.n_node.shape[0]) // 2


def fade(square: Float[Array, "..."], cutoff: float | None) -> Float[Array, "..."]:
    """$(1 - (r / cutoff)^2)^2$ at squared distances, zero beyond; one without a cutoff."""
    if cutoff is None:
        return jnp.ones_like(square)
    return jnp.maximum(1 - square / cutoff**2, 0) ** 2  # squared, so that forces fade out, too


def up_to_cutoff(range_: Float[Array, " 2"], cutoff: float | None) -> Float[Array, " 2"]:
    """The range, extended to the cutoff if training came near: units fade to zero there, so that a
    slightly greater distance than in training is no extrapolation."""
    if cutoff is None:
        return range_
    return range_.at[1].set(jnp.where(range_[1] > NEAR * cutoff, cutoff, range_[1]))


def observable(graphs: GraphsTuple, cutoff: float | None) -> EdgeMask:
    """Edges within the cutoff with at least one mobile end: pairs of fixed bodies give no rows."""
    free = movable(graphs)
    mask = edge_mask(graphs) & (free[graphs.senders] | free[graphs.receivers])
    return mask if cutoff is None else mask & (distance(graphs) < cutoff)
