"""Potential energy as random features of the distance between two bodies."""

import dataclasses
import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from jraph import GraphsTuple

from .._types import EdgeMask, EdgeScalars, JacobianPair, Key, NodeIndex
from ..checks import is_concrete
from ..graphs.geometry import (
    displacement,
    distance,
    edge_mask,
    edge_share,
    graph_index,
    movable,
)
from .base import AbstractFeatures, AbstractFeatureSpec, Fitted
from .dense import Dense
from .sampling import AbstractSampling, Elm, extent, outside


class PairFeatures(AbstractFeatures):
    r"""$V = \sum_{pairs} c_{ij} \phi(r_{ij})$: half of the units see r, half see log r.

    c is the edges' known `coupling` (one if absent). Each edge `type` has units of its own. r
    alone fails for planets (0.3 to 50 AU), log r alone is far worse on springs; half and half
    serves both.

    With a `cutoff` (length) every unit is multiplied by $(1 - (r/cutoff)^2)^2$ and is zero beyond:
    energies and forces are continuous when edges enter or leave a neighbour list, and edges beyond
    the cutoff count for nothing.
    """

    name: ClassVar[str] = "pair"
    separable: ClassVar[bool] = True
    layers: tuple[tuple[Dense, Dense], ...]
    """One pair of layers, of r and of log r, for each edge type."""
    ranges: Float[Array, "T 2"]
    cutoff: float | None = eqx.field(default=None, static=True)

    def units_at(self, r: Float[Array, " s"], type: int = 0) -> Float[Array, "s K"]:
        """All units at distances r (length) for edges of that type; other types' units are zero."""
        return self._columns(r, [jnp.full(r.shape, t == type) for t in range(len(self.layers))])

    @property
    def dimension(self) -> int | None:
        return None

    def sites(self, graphs: GraphsTuple) -> tuple[Float[Array, "s K"], NodeIndex]:
        values = self._columns(distance(graphs), self._types(graphs))
        return edge_share(graphs)[:, None] * values, graphs.receivers

    def gradient(self, graphs: GraphsTuple) -> JacobianPair:
        r = distance(graphs)
        slope = jnp.concatenate(
            [
                jnp.where(of_type[:, None], s, 0)
                for layers, of_type in zip(self.layers, self._types(graphs))
                for s in self._slopes(layers, r)
            ],
            axis=1,
        )
        # Both directions of a pair pull on the receiver alike: twice the share of one.
        direction = displacement(graphs) * (2 * edge_share(graphs) / r)[:, None]
        # One coordinate at a time: [e d K] would be the greatest array of the whole fit.
        total = graphs.nodes["mass"].shape[0]
        along = [
            jax.ops.segment_sum(direction[:, k, None] * slope, graphs.receivers, total)
            for k in range(direction.shape[1])
        ]
        return jnp.stack(along, axis=1), None

    def constants(self, graphs: GraphsTuple) -> Float[Array, "g c"]:
        share = edge_share(graphs)[:, None]
        if self.cutoff is not None:
            # The number of pairs within a cutoff jumps as bodies move; the energy must not.
            return jnp.zeros((graphs.n_node.shape[0], 0), share.dtype)
        counts = jnp.where(jnp.stack(self._types(graphs), axis=1), share, 0)
        index = graph_index(graphs)[graphs.receivers]
        return jax.ops.segment_sum(counts, index, graphs.n_node.shape[0])

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        r, types = distance(graphs), self._types(graphs)
        mask = _observable(graphs, self.cutoff)
        out = mask & ~jnp.any(jnp.stack(types), axis=0)  # a type that training never saw
        for of_type, range_ in zip(types, self.ranges):
            out |= outside(r, mask & of_type, range_)
        index = graph_index(graphs)[graphs.receivers]
        directed = jax.ops.segment_sum(out.astype(jnp.int32), index, graphs.n_node.shape[0])
        return directed // 2

    def accepts(self, graphs: GraphsTuple) -> None:
        greatest = int(np.max(np.asarray(graphs.edges.get("type", 0)), initial=0))
        if greatest >= len(self.layers):
            raise ValueError(
                f"the pair features know {len(self.layers)} edge types, the data have edge type "
                f"{greatest}"
            )

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.ranges

    def _columns(
        self, r: Float[Array, " s"], types: list[Bool[Array, " s"]]
    ) -> Float[Array, "s K"]:
        return jnp.concatenate(
            [
                jnp.where(of_type[:, None], self._fade(r)[:, None] * layer(x[:, None]), 0)
                for layers, of_type in zip(self.layers, types)
                for layer, x in zip(layers, (r, jnp.log(r)))
            ],
            axis=1,
        )

    def _slopes(self, layers: tuple[Dense, Dense], r: EdgeScalars) -> list[Float[Array, "e _"]]:
        """d(unit)/dr of the layers of r and of log r."""
        near, far = layers
        x, log = r[:, None], jnp.log(r)[:, None]
        slopes = [near.jacobian(x)[:, 0, :], far.jacobian(log)[:, 0, :] / x]
        if self.cutoff is None:
            return slopes
        fade, fall = jax.jvp(self._fade, (r,), (jnp.ones_like(r),))
        return [
            fade[:, None] * slope + fall[:, None] * value
            for slope, value in zip(slopes, (near(x), far(log)))
        ]

    def _fade(self, r: Float[Array, " s"]) -> Float[Array, " s"]:
        if self.cutoff is None:
            return jnp.ones_like(r)
        return jnp.maximum(1 - (r / self.cutoff) ** 2, 0) ** 2

    def _types(self, graphs: GraphsTuple) -> list[EdgeMask]:
        return edge_types(graphs, len(self.layers))


class Pair(AbstractFeatureSpec):
    """Pair features with `units` units per edge type.

    ELM is the default: of one variable its smoother units are more accurate than SWIM's, inside the
    trained range (bench/potentials.py) and beyond. Where the force has a kink, SWIM's steep units
    win (bench/molecular_dynamics.py).

    `types` is the number of edge types; None reads it from the data (concrete arrays only).

    `cutoff` (length) makes every unit fade to zero there, as liquids and neighbour lists need. The
    energy then has no constant per pair: the number of pairs would change with the list.
    """

    units: int = eqx.field(default=256, static=True)
    sampling: AbstractSampling = Elm()
    activation: str = eqx.field(default="tanh", static=True)
    types: int | None = eqx.field(default=None, static=True)
    cutoff: float | None = eqx.field(default=None, static=True)

    def __check_init__(self) -> None:
        if self.units < 2 or self.units % 2:
            raise ValueError(f"units must be even and at least 2, got {self.units}")
        if self.cutoff is not None and not 0 < self.cutoff < math.inf:
            raise ValueError(f"cutoff must be positive and finite, got {self.cutoff}")

    @property
    def guided(self) -> bool:
        return self.sampling.guided

    def resolve(self, data: GraphsTuple) -> "Pair":
        self._check_reach(data)
        if "type" not in data.edges:
            return self
        kinds = data.edges["type"]
        if isinstance(kinds, jax.core.Tracer):
            if self.types is None:
                raise ValueError("inside jit the edge types are unknown: give Pair(types=...)")
            return self
        types = int(np.max(np.asarray(kinds), initial=0)) + 1
        if self.types is not None and self.types < types:
            raise ValueError(f"Pair(types={self.types}), but the data have edge type {types - 1}")
        if self.types is not None:
            return self
        return dataclasses.replace(self, types=types)

    def _check_reach(self, data: GraphsTuple) -> None:
        if self.cutoff is None or not is_concrete(data) or not len(data.senders):
            return
        r = np.asarray(distance(data))[np.asarray(edge_mask(data))]
        if not (r < self.cutoff).any():
            raise ValueError(
                f"Pair(cutoff={self.cutoff}) sees no pair: the nearest two joined bodies are "
                f"{r.min():.4g} apart"
            )

    def sample(self, key: Key, data: GraphsTuple, previous: Fitted | None = None) -> PairFeatures:
        if not len(data.senders):
            raise ValueError("the data have no edges: leave Pair() out, or join bodies by edges")
        r, mask = distance(data), _observable(data, self.cutoff)
        types = edge_types(data, self.types or 1)
        layers, ranges = [], []
        for t, (k, of_type) in enumerate(zip(jr.split(key, len(types)), types)):
            chosen = mask & of_type
            energy = None
            if previous is not None:
                fitted, theta = previous
                assert isinstance(fitted, PairFeatures)
                energy = fitted.units_at(r, t) @ theta
            near, far = jr.split(k)
            half, args = self.units // 2, (self.activation, energy)
            layers.append(
                (
                    self.sampling(near, r[:, None], chosen, half, *args),
                    self.sampling(far, jnp.log(r)[:, None], chosen, half, *args, unit=1.0),
                )
            )
            ranges.append(extent(r, chosen))
        return PairFeatures(tuple(layers), jnp.stack(ranges), self.cutoff)


def edge_types(graphs: GraphsTuple, count: int) -> list[EdgeMask]:
    """For each type the edges that have it; without `type` all edges are of type 0."""
    kinds = graphs.edges.get("type", jnp.zeros(graphs.senders.shape, jnp.int32))
    return [kinds == t for t in range(count)]


def _observable(graphs: GraphsTuple, cutoff: float | None) -> EdgeMask:
    """Edges within the cutoff with an end that moves: no row shows the force between two fixed
    bodies."""
    free = movable(graphs)
    seen = edge_mask(graphs) & (free[graphs.senders] | free[graphs.receivers])
    return seen if cutoff is None else seen & (distance(graphs) < cutoff)
