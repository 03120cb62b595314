"""Two polynomial columns of the distance, to be put beside the random ones."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray
from jraph import GraphsTuple

from hgn_jax.features import AbstractEnergy, AbstractTermSpec
from hgn_jax.features.base import Fitted, differentiated
from hgn_jax.graphs.geometry import displacement, distance, edge_share, sum_over_edges


class PolynomialFeatures(AbstractEnergy):
    r"""$V = \sum_{pairs} c_{ij} (\theta_1 r_{ij} + \theta_2 r_{ij}^2)$, c the edges' `coupling`.

    It stands beside `Pair`, which sees the same distances: it counts the pairs and those out of
    range.
    """

    name: ClassVar[str] = "polynomial"
    separable: ClassVar[bool] = True

    @property
    def dimension(self) -> int | None:
        return None

    def sites(self, graphs: GraphsTuple) -> tuple[Float[Array, "s 2"], Int[Array, " s"]]:
        r = distance(graphs)
        values = jnp.stack([r, r**2], axis=1)
        return edge_share(graphs)[:, None] * values, graphs.receivers

    def gradient(self, graphs: GraphsTuple) -> tuple[Float[Array, "n d 2"], None]:
        r = distance(graphs)
        slope = jnp.stack([jnp.ones_like(r), 2 * r], axis=1)
        # Both directions of a pair pull on the receiver alike: twice the share of one.
        direction = displacement(graphs) * (2 * edge_share(graphs) / r)[:, None]
        pull = direction[:, :, None] * slope[:, None, :]
        return jax.ops.segment_sum(pull, graphs.receivers, len(graphs.nodes["position"])), None

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " 2"]) -> Float[Array, " n"]:
        return sum_over_edges(graphs, self.sites(graphs)[0] @ theta)

    def energy_gradient(
        self, graphs: GraphsTuple, theta: Float[Array, " 2"]
    ) -> tuple[Float[Array, "n d"], None]:
        return differentiated(self, graphs, theta)[0], None

    def constants(self, graphs: GraphsTuple) -> Float[Array, "g 0"]:
        return jnp.zeros((len(graphs.n_node), 0), graphs.nodes["position"].dtype)

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return jnp.zeros(len(graphs.n_node), jnp.int32)

    def trained_range(self) -> Float[Array, " 2"]:
        return jnp.array([0, jnp.inf])


class Polynomial(AbstractTermSpec):
    """The columns r and r^2; nothing is drawn."""

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "Polynomial":
        return self

    def sample(
        self, key: PRNGKeyArray, data: GraphsTuple, previous: Fitted | None = None
    ) -> PolynomialFeatures:
        return PolynomialFeatures()
