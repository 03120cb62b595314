"""Energies of bodies that are functions of sums over their neighbours."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import Gradient, NodeScalars
from ..graphs.geometry import count, edge_share, node_mask, sum_over_edges, sum_over_graphs
from .base import AbstractEnergy, Counts, differentiated
from .pair_base import AbstractPairFeatures

BATCH = 16
"""Number of columns whose derivatives are in memory at once, for every edge and radial function."""


class AbstractDensityEnergy(AbstractEnergy):
    r"""$\Phi_k = \sum_i \phi_k(x_i)$ with local inputs $x_i$ that are sums over the neighbours of
    body i, from $\phi$ at one body."""

    depends_on: ClassVar[tuple[str, ...]] = ("position",)
    pair: eqx.AbstractVar[AbstractPairFeatures]
    """Its units are the radial functions f_n of all sums."""

    @abstractmethod
    def inputs(self, graphs: GraphsTuple) -> Float[Array, "n v"]:
        """Local inputs of every body."""

    @abstractmethod
    def phi(self, x: Float[Array, " v"]) -> Float[Array, " K"]:
        """Columns at one body (energy)."""

    @property
    def dimension(self) -> int | None:
        return None

    @property
    def reach(self) -> float:
        return self.pair.reach

    @property
    def counts(self) -> Counts:
        return Counts(bodies=True)

    def accepts(self, graphs: GraphsTuple) -> None:
        self.pair.accepts(graphs)

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        return sum_over_graphs(graphs, self._values(graphs))

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        def of_positions(position: Float[Array, "n d"]) -> Float[Array, "n v"]:
            return self.inputs(graphs._replace(nodes=graphs.nodes | {"position": position}))

        x, pull_back = jax.vjp(of_positions, graphs.nodes["position"])
        slopes = jax.vmap(jax.jacfwd(self.phi))(x)  # [n K v]: inputs are few, columns many
        slopes = jnp.where(node_mask(graphs)[:, None, None], slopes, 0)
        # In batches: an edge has all radial functions for every column.
        pulled = jax.lax.map(
            lambda slope: pull_back(slope)[0], jnp.swapaxes(slopes, 0, 1), batch_size=BATCH
        )
        return Gradient(position=jnp.moveaxis(pulled, 0, 2))

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        return self._values(graphs) @ theta

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        return differentiated(self, graphs, theta)

    def _values(self, graphs: GraphsTuple) -> Float[Array, "n K"]:
        # Units have a value at padding, too.
        return jnp.where(node_mask(graphs)[:, None], jax.vmap(self.phi)(self.inputs(graphs)), 0)


def radial_functions(pair: AbstractPairFeatures, graphs: GraphsTuple) -> Float[Array, "e N"]:
    """Units of the pair term at every edge, multiplied by its coupling; zero for padding."""
    return (2 * edge_share(graphs))[:, None] * pair.columns(graphs)


def carried(graphs: GraphsTuple, densities: Float[Array, "n l"]) -> Float[Array, "e m"]:
    """The number one, and the densities of the neighbour, at every edge: factors of the radial
    functions."""
    ones = jnp.ones((count(graphs), 1), densities.dtype)
    return jnp.concatenate([ones, densities], axis=1)[graphs.senders]


def neighbour_sums(
    graphs: GraphsTuple, radial: Float[Array, "e N"], factors: Float[Array, "e m"]
) -> Float[Array, "n _"]:
    """Sums over the neighbours of every body of all products of a radial function and a factor."""
    products = radial[:, :, None] * factors[:, None]
    return sum_over_edges(graphs, products.reshape(len(radial), -1))
