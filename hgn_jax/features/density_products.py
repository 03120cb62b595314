"""Polynomials of the inputs of a layer, from whose coefficients its density is found."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from ..graphs.geometry import count
from .density_energy import AbstractDensityEnergy, carried, neighbour_sums, radial_functions
from .embedded import EmbeddedFeatures
from .pair_base import AbstractPairFeatures


class DensityProducts(AbstractDensityEnergy):
    r"""Columns $\sum_i z_{ia}$ and $\sum_i z_{ia} z_{ib}$, $a \le b$.

    $z_i = P^T (x_i - c)$ are combinations of the sums $x_i$ over the neighbours of body i that a
    further layer of `EmbeddedFeatures` would be a function of.
    """

    name: ClassVar[str] = "density products"
    pair: AbstractPairFeatures
    below: EmbeddedFeatures | None
    """Layers whose densities the neighbours send."""
    centre: Float[Array, " v"]
    projection: Float[Array, "v a"]

    def inputs(self, graphs: GraphsTuple) -> Float[Array, "n a"]:
        sums = sums_of_next_layer(self.pair, self.below, graphs)
        return (sums - self.centre[None]) @ self.projection

    def phi(self, x: Float[Array, " a"]) -> Float[Array, " K"]:
        first, second = np.triu_indices(len(x))
        return jnp.concatenate([x, x[first] * x[second]])

    def quadratic_form(self, theta: Float[Array, " K"]) -> Float[np.ndarray, "a a"]:
        """The symmetric matrix M of the energy $z^T M z$ that these coefficients describe."""
        size = self.projection.shape[1]
        form = np.zeros((size, size))
        form[np.triu_indices(size)] = np.asarray(theta)[size:]
        return (form + form.T) / 2

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return jnp.zeros(graphs.n_node.shape, jnp.int32)

    def trained_range(self) -> None:
        return None


def sums_of_next_layer(
    pair: AbstractPairFeatures, below: EmbeddedFeatures | None, graphs: GraphsTuple
) -> Float[Array, "n v"]:
    """All sums over the neighbours of every body that a layer on top of those below may combine."""
    radial = radial_functions(pair, graphs)
    densities = jnp.zeros((count(graphs), 0), radial.dtype)
    if below is not None:
        densities = below.inputs(graphs)
    return neighbour_sums(graphs, radial, carried(graphs, densities))
