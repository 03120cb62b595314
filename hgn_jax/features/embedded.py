"""Random units of learned densities: deeper layers of a model, see `hgn.boost`."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from ..graphs.geometry import count, node_mask, sum_over_edges
from .dense import Dense
from .density_energy import AbstractDensityEnergy, carried, radial_functions
from .pair_base import AbstractPairFeatures
from .trained_range import count_outside_box


class EmbeddedFeatures(AbstractDensityEnergy):
    r"""$V = \sum_l \sum_i F_l(\rho^l_i)$ with random units $F_l$ of one density for each layer l,

    $$\rho^l_i = \sum_j c_{ij} \sum_n f_n(r_{ij})
        \Big(w^l_{n0} + \sum_{k < l} w^l_{nk} \rho^k_j\Big).$$

    The radial functions $f_n$ are the units of a pair term, c the edges' known `coupling` (one if
    absent). A first density is that of the embedded-atom method (Daw and Baskes, Phys. Rev. B 29,
    1984); later ones also read the densities of the neighbours, and so depend on neighbours of
    neighbours.
    """

    name: ClassVar[str] = "embedded"
    pair: AbstractPairFeatures
    weights: tuple[Float[Array, "N m"], ...]
    """w of each layer: factors of the radial functions alone, then of their products with the
    densities of all layers below."""
    layers: tuple[Dense, ...]
    """Units of each density."""
    ranges: Float[Array, "l 2"]
    """Least and greatest density of each layer in training."""

    @property
    def span(self) -> int:
        # A density sums over neighbours, whose densities sum over theirs; forces reach as far back.
        return 2 * len(self.layers)

    def inputs(self, graphs: GraphsTuple) -> Float[Array, "n l"]:
        radial = radial_functions(self.pair, graphs)
        densities = jnp.zeros((count(graphs), 0), radial.dtype)
        for weight in self.weights:
            sent = jnp.sum((radial @ weight) * carried(graphs, densities), axis=1)
            own = sum_over_edges(graphs, sent[:, None])
            densities = jnp.concatenate([densities, own], axis=1)
        return densities

    def phi(self, x: Float[Array, " l"]) -> Float[Array, " K"]:
        units = [layer(density[None, None])[0] for layer, density in zip(self.layers, x)]
        return jnp.concatenate(units)

    def groups(self, columns: int) -> tuple[int, ...]:
        """Every layer by itself."""
        return (columns // len(self.layers),) * len(self.layers)

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return count_outside_box(graphs, self.inputs(graphs), node_mask(graphs), self.ranges)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.ranges
