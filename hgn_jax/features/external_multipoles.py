"""Potential energy of a body in an external field, by degrees of spherical harmonics."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from jraph import GraphsTuple

from .._types import Key
from ..graphs.geometry import movable
from .dense import Dense
from .harmonics import solid_harmonics
from .multipoles import AbstractMultipoles, outer
from .sampling import AbstractSampling
from .sites import Positions, Site
from .trained_range import box_of, count_outside_box


class ExternalMultipoles(AbstractMultipoles):
    r"""$V = \sum_i \sum_{lm} f_{lm}(r_i^2) \, r_i^l Y_{lm}$ of positions relative to a centre.

    The radial functions are random units of $r^2$, which are smooth at the centre, and one exact
    column: a constant, or $r^2$ for degree 0. The exact columns are a uniform field (degree 1),
    a harmonic trap (degrees 0 and 2), and the harmonic polynomials of higher degree.
    """

    name: ClassVar[str] = "external"
    sites: ClassVar[Any] = Positions()
    reach: ClassVar[float] = 0.0
    layer: Dense
    centre: Float[Array, " d"]
    means: tuple[Float[Array, " _"], ...]
    box: Float[Array, "d 2"]
    """Least and greatest coordinate in training (length)."""
    degrees: tuple[int, ...] = eqx.field(static=True)

    @property
    def dimension(self) -> int | None:
        return int(self.box.shape[-2])

    def phi(self, z: Float[Array, " d"], site: Site) -> Float[Array, " K"]:
        x = z - self.centre
        square = jnp.sum(x**2)[None, None]  # a layer takes rows of inputs
        radial, solid = self.layer(square), solid_harmonics(x, self.degrees[-1])
        columns = [
            outer(solid[degree], of_degree(radial, square, degree)[0]) for degree in self.degrees
        ]
        return jnp.concatenate(columns)

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return count_outside_box(graphs, graphs.nodes["position"], movable(graphs), self.box)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.box


def sampled_multipoles(
    key: Key,
    x: Float[Array, "n d"],
    mask: Bool[Array, " n"],
    degrees: tuple[int, ...],
    centre: Float[Array, " d"],
    count: int,
    sampling: AbstractSampling,
    activation: str,
) -> ExternalMultipoles:
    """Samples `count` radial units from the positions x with a true mask."""
    square = jnp.sum((x - centre[None]) ** 2, axis=1, keepdims=True)
    layer = sampling(key, square, mask, count, activation)
    radial, means = layer(square), []
    for degree in degrees:
        # The squared force of degree l grows as r^(2l-2) if f is constant.
        # For degree 0 that would be infinite at the centre, so that all bodies count alike.
        weight = jnp.where(mask, square[:, 0] ** max(degree - 1, 0), 0)
        total = jnp.sum(weight)
        # The weights add up to zero if all bodies are at the centre.
        mean = weight @ of_degree(radial, square, degree) / jnp.where(total > 0, total, 1)
        means.append(mean)
    return ExternalMultipoles(
        layer=layer, centre=centre, means=tuple(means), box=box_of(x, mask), degrees=degrees
    )


def of_degree(
    radial: Float[Array, "s _"], square: Float[Array, "s 1"], degree: int
) -> Float[Array, "s _"]:
    """Radial functions of one degree: the exact column, then the units."""
    # A constant of degree 0 has no force.
    exact = jnp.ones_like(square) if degree else square
    return jnp.concatenate([exact, radial], axis=1)
