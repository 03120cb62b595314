"""Energies defined by a function of one site, from which everything else is derived."""

import math
from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import Gradient, NodeScalars, Vectors, gradient_of
from ..graphs.geometry import sum_over_graphs
from .base import AbstractEnergy, AbstractUntrained, Counts, differentiated
from .sites import AbstractSites, Site, Sites


class AbstractSiteColumns(AbstractEnergy):
    r"""$\Phi_k = \sum_s w_s \phi_k(z_s)$ over the sites s of a graph, from $\phi$ at one site.

    Energies, Jacobians, contracted gradients and the virial follow by differentiation of `phi`.
    """

    sites: eqx.AbstractClassVar[AbstractSites]

    @abstractmethod
    def phi(self, z: Float[Array, " v"], site: Site) -> Float[Array, " K"]:
        """Columns at one site with local vector z (energy, before coupling or mass)."""

    @property
    def depends_on(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.sites.depends_on

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.sites.needs

    @property
    def counts(self) -> Counts:
        # The number of pairs within a cutoff changes as bodies move; the energy must not jump.
        fades = self.sites.pairs and self.reach < math.inf
        return Counts(bodies=True) if fades else self.sites.counts

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        at = self.sites.of(graphs)
        values = at.weight[:, None] * jax.vmap(self.phi)(at.vector, at.site)
        return sum_over_graphs(graphs, self.sites.collect(graphs, values))

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        at, pull_back = self._differentiable(graphs)
        # Forward mode: local vectors are short, columns many.
        slopes = jax.vmap(jax.jacfwd(self.phi))(at.vector, at.site)
        weighted = at.weight[:, None, None] * slopes  # [s K v], pulled back to [n d K]
        return gradient_of(jax.vmap(pull_back, in_axes=1, out_axes=2)(weighted))

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        at = self.sites.of(graphs)
        values = jax.vmap(lambda z, site: self.phi(z, site) @ theta)(at.vector, at.site)
        return self.sites.collect(graphs, at.weight * values)

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        return differentiated(self, graphs, theta)

    def _differentiable(
        self, graphs: GraphsTuple
    ) -> tuple[Sites, Callable[[Array], dict[str, Array]]]:
        """The sites, and the chain rule from derivatives with respect to the local vectors to
        derivatives with respect to the state."""

        def vectors(state: dict[str, Vectors]) -> tuple[Float[Array, "s v"], Sites]:
            at = self.sites.of(graphs._replace(nodes=graphs.nodes | state))
            return at.vector, at

        state = {name: graphs.nodes[name] for name in self.depends_on}
        # The sites come from the same pass as an auxiliary output, which is not differentiated.
        _, pull_back, at = jax.vjp(vectors, state, has_aux=True)
        return at, lambda by_vector: pull_back(by_vector)[0]


class AbstractSiteEnergy(AbstractUntrained, AbstractSiteColumns):
    r"""$\Phi_k = \sum_s w_s \phi_k(z_s)$ over the sites s of a graph, from $\phi$ at one site.

    A potential of two columns, $\theta_1 r + \theta_2 r^2$, for every pair of joined bodies:

    ```python
    class Polynomial(hgn.AbstractSiteEnergy):
        name: ClassVar[str] = "polynomial"
        sites: ClassVar[AbstractSites] = hgn.sites.Pairs()

        def phi(self, z, site):
            r = jnp.linalg.norm(z)
            return jnp.stack([r, r**2])
    ```

    Energies, Jacobians, contracted gradients and the virial follow by differentiation of `phi`. An
    instance is passed in `terms` as it is, since nothing has to be sampled. If pairs act up to a
    distance only, declare a field or class variable `cutoff` (length), which neighbour lists read
    and at which `phi` must vanish.
    """

    @property
    def acts_on_pairs(self) -> bool:
        return self.sites.pairs
