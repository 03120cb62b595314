"""Potential energy of pairs that depends on the direction of the bond."""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int
from jraph import GraphsTuple

from .._types import Key
from ..graphs.geometry import distance
from .dense import Dense
from .harmonics import solid_harmonics
from .multipoles import AbstractMultipoles, outer
from .pair_base import (
    check_types,
    edge_types,
    fade,
    observable,
    pairs_out_of_range,
    up_to_cutoff,
)
from .sampling import AbstractSampling
from .sites import Pairs, Site
from .trained_range import extent


class PairMultipoles(AbstractMultipoles):
    r"""$V = \sum_{pairs} c_{ij} \sum_{lm} f_{lm}(r_{ij}) \, Y_{lm}(\hat r_{ij})$ for even l.

    The radial functions are a constant, units of r and units of log r. Each edge type has its own
    coefficients.
    """

    name: ClassVar[str] = "pair"
    span: ClassVar[int] = 1
    sites: ClassVar[Any] = Pairs()
    near: Dense
    far: Dense
    means: tuple[Float[Array, " _"], ...]
    ranges: Float[Array, "T 2"]
    """Least and greatest distance in training, for each edge type (length)."""
    degrees: tuple[int, ...] = eqx.field(static=True)
    cutoff: float | None = eqx.field(static=True)
    space: int = eqx.field(static=True)
    """Number of spatial dimensions."""

    @property
    def dimension(self) -> int | None:
        return self.space

    @property
    def reach(self) -> float:
        return math.inf if self.cutoff is None else self.cutoff

    @property
    def types(self) -> int:
        return int(self.ranges.shape[-2])

    def phi(self, z: Float[Array, " d"], site: Site) -> Float[Array, " K"]:
        r = jnp.sqrt(jnp.sum(z**2))  # not zero: `Pairs` gives padding a vector of ones
        # Padding has type -1, and so no columns.
        kinds = jnp.arange(self.types, dtype=site.kind.dtype) == site.kind
        radial = radial_functions(self.near, self.far, r[None], kinds[None], self.cutoff)[0]
        angular = solid_harmonics(z / r, self.degrees[-1])
        return jnp.concatenate([outer(angular[degree], radial) for degree in self.degrees])

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return pairs_out_of_range(graphs, self.ranges, self.cutoff)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.ranges

    def accepts(self, graphs: GraphsTuple) -> None:
        check_types(graphs, self.types)


def sampled_pair_multipoles(
    key: Key,
    data: GraphsTuple,
    degrees: tuple[int, ...],
    count: int,
    types: int,
    cutoff: float | None,
    sampling: AbstractSampling,
    activation: str,
) -> PairMultipoles:
    """Samples `count` radial units, half of r and half of log r."""
    r, mask = distance(data), observable(data, cutoff)
    near, far = (
        sampling(k, x[:, None], mask, count // 2, activation, unit=unit)
        # If the mean of log r is zero, rounding would count as variation: hence unit 1.
        for k, x, unit in zip(jr.split(key), (r, jnp.log(r)), (0.0, 1.0))
    )
    of_type = edge_types(data, types)
    radial = radial_functions(near, far, r, jnp.stack(of_type, axis=1), cutoff)
    weight = mask.astype(r.dtype)
    mean = weight @ radial / jnp.maximum(jnp.sum(weight), 1)
    ranges = jnp.stack([up_to_cutoff(extent(r, mask & kind), cutoff) for kind in of_type])
    space = data.nodes["position"].shape[1]
    return PairMultipoles(
        near=near,
        far=far,
        means=(mean,) * len(degrees),
        ranges=ranges,
        degrees=degrees,
        cutoff=cutoff,
        space=space,
    )


def radial_functions(
    near: Dense,
    far: Dense,
    r: Float[Array, " s"],
    kinds: Bool[Array, "s T"],
    cutoff: float | None,
) -> Float[Array, "s _"]:
    """Radial functions at distances r; those of other edge types than `kinds` are zero."""
    ones = jnp.ones_like(r)[:, None]
    radial = jnp.concatenate([ones, near(r[:, None]), far(jnp.log(r)[:, None])], axis=1)
    faded = fade(r**2, cutoff)[:, None] * radial
    every = jnp.where(kinds[:, :, None], faded[:, None], 0)
    return every.reshape(len(r), -1)
