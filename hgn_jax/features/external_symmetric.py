"""Potential energy of a body in an external field that has the symmetry of a finite group."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int
from jraph import GraphsTuple

from .._types import Key
from ..graphs.geometry import movable, sum_over_graphs
from .dense import Dense
from .sampling import AbstractSampling
from .site_energy import AbstractSiteColumns
from .sites import Positions, Site
from .trained_range import box_of, outside_box


class ExternalSymmetric(AbstractSiteColumns):
    r"""$V = \sum_i \frac{1}{|G|} \sum_{g \in G} f(g (q_i - c))$, the mean of random units f over a
    group G of orthogonal matrices about a centre c.

    The energy is invariant under the group to rounding, whatever its coefficients.
    """

    name: ClassVar[str] = "external"
    sites: ClassVar[Any] = Positions()
    reach: ClassVar[float] = 0.0
    layer: Dense
    elements: Float[Array, "G d d"]
    centre: Float[Array, " d"]
    box: Float[Array, "d 2"]
    """Least and greatest coordinate in training (length)."""

    @property
    def dimension(self) -> int | None:
        return int(self.box.shape[-2])

    def phi(self, z: Float[Array, " d"], site: Site) -> Float[Array, " K"]:
        x = z - self.centre

        def add(
            total: Float[Array, " K"], element: Float[Array, "d d"]
        ) -> tuple[Float[Array, " K"], None]:
            return total + self.layer((element @ x)[None])[0], None

        # One element at a time: all images of all bodies would take |G| times the memory.
        total, _ = jax.lax.scan(add, jnp.zeros_like(self.layer.bias), self.elements)
        return total / len(self.elements)

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        x, mask = graphs.nodes["position"] - self.centre[None], movable(graphs)

        def out(element: Float[Array, "d d"]) -> Bool[Array, " n"]:
            return outside_box(x @ element.T + self.centre[None], mask, self.box)

        # A body is in range if one of its images is.
        everywhere = jnp.all(jax.vmap(out)(self.elements), axis=0)
        return sum_over_graphs(graphs, everywhere.astype(jnp.int32))

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.box


def sampled_symmetric(
    key: Key,
    x: Float[Array, "n d"],
    mask: Bool[Array, " n"],
    elements: Float[Array, "G d d"],
    centre: Float[Array, " d"],
    count: int,
    sampling: AbstractSampling,
    activation: str,
) -> ExternalSymmetric:
    """Samples units for random images of the positions x with a true mask: training may have
    visited one wedge alone."""
    draw, turn = jr.split(key)
    # One random image of each body, since all images would be |G| times the inputs.
    chosen = elements[jr.randint(turn, (len(x),), 0, len(elements))]
    images = jnp.einsum("nij,nj->ni", chosen, x - centre[None])
    layer = sampling(draw, images, mask, count, activation)
    return ExternalSymmetric(layer=layer, elements=elements, centre=centre, box=box_of(x, mask))
