"""Potential energy of the angle between two bonds."""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._types import Key
from ..graphs.geometry import sum_over_graphs
from ..graphs.tuples import check_types
from .base import AbstractTermSpec, Fitted
from .dense import Dense
from .sampling import ELM, AbstractSampling
from .site_energy import AbstractSiteColumns
from .sites import Site, Triples
from .trained_range import extent, outside


class BendingFeatures(AbstractSiteColumns):
    r"""$V = \sum_{(i,j,k)} f(\cos \vartheta_{ijk})$ with random units f for each type of triple."""

    name: ClassVar[str] = "bending"
    sites: ClassVar[Any] = Triples()
    reach: ClassVar[float] = 0.0  # triples are named: they need no neighbour list
    dimension: ClassVar[int | None] = None
    layers: tuple[Dense, ...]
    """One layer for each type of triple."""
    ranges: Float[Array, "T 2"]
    """Least and greatest angle in training for each type (rad)."""

    def phi(self, z: Float[Array, " v"], site: Site) -> Float[Array, " K"]:
        x = cosine(z)[None, None]
        # Empty slots have type -1, so that no layer contributes.
        units = [jnp.where(site.kind == t, f(x)[0], 0) for t, f in enumerate(self.layers)]
        return jnp.concatenate(units)

    def groups(self, columns: int) -> tuple[int, ...]:
        """One group for each type."""
        return (columns // len(self.layers),) * len(self.layers)

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        angle, kind = angles(graphs)
        out = kind >= len(self.layers)  # types absent in training
        for t, range_ in enumerate(self.ranges):
            out |= outside(angle, kind == t, range_)
        return sum_over_graphs(graphs, self.sites.collect(graphs, out.astype(jnp.int32)))

    def accepts(self, graphs: GraphsTuple) -> None:
        check_types(graphs, "triples", len(self.layers), "Bending")

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.ranges


class Bending(AbstractTermSpec):
    r"""Potential energy of the angle at the middle body j of each triple (i, j, k),
    $V = \sum_{(i,j,k)} f(\cos \vartheta_{ijk})$.

    `hgn.graphs.with_triples` names the triples; they need no edges. Units are functions of the
    cosine, so that forces have no kink at straight angles. Each type of triple has its own units.

    **Arguments:**

    - `units`: number of units for each type.
    - `sampling`: distribution of their weights, `hgn.ELM()` or `hgn.SWIM()`.
    - `activation`: "tanh", "erf", "sigmoid", "sin" or "relu", whose forces jump.
    - `types`: number of types; None reads it from the data (concrete arrays only).

    **Raises:** `ValueError` for numbers less than 1. A fit raises it for data without triples, in
    one dimension, or with more types.
    """

    units: int = eqx.field(default=64, static=True)
    sampling: AbstractSampling = ELM()
    activation: str = eqx.field(default="tanh", static=True)
    types: int | None = eqx.field(default=None, static=True)

    def __check_init__(self) -> None:
        whole_number("units", self.units, 1)
        if self.types is not None:
            whole_number("types", self.types, 1)

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "Bending":
        if "triples" not in data.nodes:
            raise ValueError(
                'Bending() needs nodes["triples"]: name them, hgn.graphs.with_triples(data, '
                "[(0, 1, 2)])"
            )
        if data.nodes["position"].shape[1] < 2:
            raise ValueError("Bending() needs at least 2 dimensions, but the data have 1")
        if self.types is not None:
            check_types(data, "triples", self.types, "Bending")
            return self
        kinds = data.nodes.get("triple_type", np.zeros(1, int))  # all of type 0 unless named
        if isinstance(kinds, jax.core.Tracer):
            raise ValueError("inside jit the types are unknown: give Bending(types=...)")
        # With `initial`, an array without slots gives one type.
        return dataclasses.replace(self, types=int(np.max(np.asarray(kinds), initial=0)) + 1)

    def sample(
        self, key: Key, data: GraphsTuple, previous: Fitted | None = None
    ) -> BendingFeatures:
        types = self.types or 1
        angle, kind = angles(data)
        # Units see the cosine, as `phi` does; the trained ranges are of the angle.
        x, masks = jnp.cos(angle)[:, None], [kind == t for t in range(types)]
        layers = tuple(
            self.sampling(k, x, mask, self.units, self.activation)
            for k, mask in zip(jr.split(key, types), masks)
        )
        return BendingFeatures(layers, jnp.stack([extent(angle, mask) for mask in masks]))


def cosine(z: Float[Array, " v"]) -> Float[Array, ""]:
    """Cosine of the angle between the two vectors of a triple."""
    first, second = z.reshape(2, -1)
    return first @ second / jnp.sqrt((first @ first) * (second @ second))


def angles(graphs: GraphsTuple) -> tuple[Float[Array, " s"], Int[Array, " s"]]:
    """Angles of all triples (rad) and their types, -1 for empty slots."""
    at = Triples().of(graphs)
    # Rounding can carry the cosine of a straight angle beyond 1, where arccos is NaN.
    return jnp.arccos(jnp.clip(jax.vmap(cosine)(at.vector), -1, 1)), at.site.kind
