"""The seam between graphs and the linear system: a spec is sampled into features."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import JacobianPair, Key, NodeIndex, NodeScalars, Vectors
from ..graphs.geometry import graph_index


class AbstractFeatures(eqx.Module):
    """Sampled features Phi: every column is a sum over sites (bodies or edges) of local values."""

    name: eqx.AbstractClassVar[str]
    separable: eqx.AbstractClassVar[bool]
    """Whether every column depends on positions alone or on momenta alone."""

    @property
    @abstractmethod
    def dimension(self) -> int | None:
        """Spatial dimension that the features are bound to; None if they work in any."""

    @abstractmethod
    def sites(self, graphs: GraphsTuple) -> tuple[Float[Array, "s K"], NodeIndex]:
        """Local values `[s K]` and the node that each site belongs to `[s]`; zero for padding."""

    @abstractmethod
    def gradient(self, graphs: GraphsTuple) -> JacobianPair:
        """(dPhi/dq, dPhi/dp), `[n d K]` each; None where zero by construction.

        Written per site (chain rule of small arrays): the fast path of assembly.
        """

    @abstractmethod
    def constants(self, graphs: GraphsTuple) -> Float[Array, "g c"]:
        """Extensive counts with zero gradient, which carry the constant of the energy."""

    @abstractmethod
    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        """Number of sites outside of the trained range, for each graph."""

    def accepts(self, graphs: GraphsTuple) -> None:
        """Raises `ValueError` for graphs that hold something training never saw; concrete only."""
        return None

    def groups(self, columns: int) -> tuple[int, ...]:
        """Widths of the consecutive groups of these K `columns` that each get a ridge of their own
        from `QR(ridge="groups")`: one group unless a class says otherwise."""
        return (columns,)

    @abstractmethod
    def trained_range(self) -> Float[Array, "... 2"]:
        """Least and greatest local input seen in sampling."""

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        """Phi of every graph, `[g K]`; extensive."""
        values, node = self.sites(graphs)
        index = graph_index(graphs)[node]
        return jax.ops.segment_sum(values, index, graphs.n_node.shape[0])

    @abstractmethod
    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        """Each node's share of Phi . theta, contracted at the sites."""

    @abstractmethod
    def energy_gradient(
        self, graphs: GraphsTuple, theta: Float[Array, " K"]
    ) -> tuple[Vectors | None, Vectors | None]:
        """(d/dq, d/dp) of Phi . theta, contracted at the sites; None where zero by construction.

        The fast path of rollouts.
        """


class AbstractFeatureSpec(eqx.Module):
    """What to sample: number of units, distribution, nonlinearity. All fields are static."""

    @property
    @abstractmethod
    def guided(self) -> bool:
        """Whether a second pass, drawn with the energies of a first fit, is wanted."""

    @abstractmethod
    def resolve(self, data: GraphsTuple) -> "AbstractFeatureSpec":
        """Fills in sizes that depend on values (the number of edge types); concrete data only."""

    @abstractmethod
    def sample(
        self, key: Key, data: GraphsTuple, previous: "Fitted | None" = None
    ) -> AbstractFeatures:
        """Draws the features. `previous` is a first fit of this spec, for a second pass."""


Fitted = tuple[AbstractFeatures, Float[Array, " K"]]
"""Features and their solved coefficients."""


def differentiated(
    features: AbstractFeatures, graphs: GraphsTuple, theta: Float[Array, " K"]
) -> tuple[Vectors, Vectors]:
    """(d/dq, d/dp) of Phi . theta by reverse-mode differentiation."""

    def energy(position: Vectors, momentum: Vectors) -> Array:
        moved = graphs.nodes | {"position": position, "momentum": momentum}
        return jnp.sum(features.node_energy(graphs._replace(nodes=moved), theta))

    return jax.grad(energy, (0, 1))(graphs.nodes["position"], graphs.nodes["momentum"])
