"""Base of the sampled and the compressed pair energies of bodies with an axis."""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .contact import strength, surface_distance
from .pair_base import fade, observable, pair_count
from .site_energy import AbstractSiteColumns
from .sites import AxisPairs
from .trained_range import outside


class AbstractAxisPairFeatures(AbstractSiteColumns):
    r"""Products of functions of a distance s with $P_a(n_i \cdot \hat r) P_b(n_j \cdot \hat r)
    P_c(n_i \cdot n_j)$, where P are Legendre polynomials."""

    name: ClassVar[str] = "axis pair"
    sites: ClassVar[Any] = AxisPairs()
    dimension: ClassVar[int | None] = None
    range: eqx.AbstractVar[Float[Array, " 2"]]
    """Least and greatest s in training (length)."""
    degrees: eqx.AbstractVar[tuple[tuple[int, int, int], ...]]
    contact: eqx.AbstractVar[tuple[float, float]]
    cutoff: eqx.AbstractVar[float | None]

    @property
    def reach(self) -> float:
        return math.inf if self.cutoff is None else self.cutoff

    def distance(self, z: Float[Array, " 4"]) -> Float[Array, ""]:
        """s, positive also for pairs that are nearer than any in training."""
        return jnp.maximum(surface_distance(z, self.contact), self.range[0] / 2)

    def angular(self, z: Float[Array, " 4"]) -> Float[Array, " C"]:
        """The products of Legendre polynomials, times the strength of the overlap."""
        values = legendre(z[1:], max(map(max, self.degrees)))
        a, b, c = (values[np.array(of), k] for k, of in enumerate(zip(*self.degrees)))
        return strength(z, self.contact) * fade(z[0] ** 2, self.cutoff) * a * b * c

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        s = jax.vmap(lambda z: surface_distance(z, self.contact))(self.sites.of(graphs).vector)
        out = outside(s, observable(graphs, self.cutoff), self.range)
        return pair_count(graphs, out)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.range


def legendre(x: Float[Array, " k"], degree: int) -> Float[Array, "_ k"]:
    """Legendre polynomials of all degrees up to `degree`."""
    values = [jnp.ones_like(x), x]
    for n in range(1, degree):
        values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
    return jnp.stack(values[: degree + 1])
