r"""Densities of the neighbours around each body.

$A_{i,zn,lm} = \sum_{j \in z} g_n(r_{ij}) Y_{lm}(u_{ij})$ sums over the neighbours j of species z,
with slowly varying radial functions
$g_n(r) = \cos(n \pi y(r)) (1 - (r / r_c)^2)^3$, whose values, slopes and second derivatives are
continuous at the cutoff $r_c$. The radial coordinate y increases from 0 to 1: it is $r / r_c$, or
$(1 - e^{-r / s}) / (1 - e^{-r_c / s})$, which resolves short distances better.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from ..graphs.geometry import count, displacement, edge_mask, sum_over_edges
from .harmonics import harmonics


class Densities(eqx.Module):
    """Functions whose sums over neighbours are the densities: `radial` cosines within `cutoff`
    (length), and spherical harmonics up to `degree`."""

    cutoff: float = eqx.field(static=True)
    degree: int = eqx.field(static=True)
    radial: int = eqx.field(static=True)
    stretch: float | None = eqx.field(static=True)
    """The length s; None for the distance itself."""
    species: tuple[int, ...] = eqx.field(static=True)
    """Species in increasing order; empty if all bodies are alike."""

    @property
    def kinds(self) -> int:
        """Number of species."""
        return max(1, len(self.species))

    def functions(
        self, vector: Float[Array, " 3 *e"]
    ) -> tuple[Float[Array, " LM *e"], Float[Array, " N *e"]]:
        """$Y_{lm}$ and $g_n$ at the vectors from a body to its neighbours (length)."""
        r = jnp.sqrt(jnp.sum(vector**2, axis=0))
        # Beyond the cutoff every function is exactly zero, and so is its slope.
        x = jnp.minimum(r / self.cutoff, 1)
        y = x
        if self.stretch is not None:
            rate = self.cutoff / self.stretch
            y = jnp.expm1(-rate * x) / math.expm1(-rate)  # no digits lost at short distances
        waves = jnp.pi * jnp.arange(self.radial, dtype=x.dtype)
        # Explicit axes: edges may be [e] or [slots bodies].
        radial = jnp.cos(waves.reshape(-1, *[1] * x.ndim) * y[None]) * (1 - x**2)[None] ** 3
        # Rows l^2 to (l + 1)^2 of the harmonics belong to degree l, here and in all densities.
        return jnp.concatenate(harmonics(vector / r[None], self.degree)), radial

    def slopes(self, vector: Float[Array, "3 e"]) -> Float[Array, "3 LM N e"]:
        """Derivatives of the products $g_n Y_{lm}$ with respect to the vectors."""

        def values(v: Float[Array, "3 e"]) -> Float[Array, "LM N e"]:
            angular, radial = self.functions(v)
            return angular[:, None] * radial[None]

        # Edges are independent: a unit tangent at all of them gives one component of every slope.
        axes = jnp.broadcast_to(jnp.eye(3, dtype=vector.dtype)[:, :, None], (3, *vector.shape))
        return jax.vmap(lambda axis: jax.jvp(values, (vector,), (axis,))[1])(axes)

    def vectors(self, graphs: GraphsTuple) -> Float[Array, "3 e"]:
        """Vectors from receivers to senders (length); padding lies at the cutoff, where all
        functions vanish."""
        # Not zero, where the direction and its derivative are undefined.
        beyond = jnp.asarray([self.cutoff, 0, 0], graphs.nodes["position"].dtype)
        return jnp.where(edge_mask(graphs)[:, None], -displacement(graphs), beyond).T  # [3 e]

    def kind(self, graphs: GraphsTuple) -> Int[Array, " n"]:
        """Index of each body's species in `species`; the number of species for an unknown one."""
        if not self.species:
            return jnp.zeros(count(graphs), jnp.int32)
        known = jnp.asarray(self.species, graphs.nodes["species"].dtype)
        # The search also returns a place for a species that is not listed.
        place = jnp.searchsorted(known, graphs.nodes["species"]).astype(jnp.int32)
        is_known = known[jnp.minimum(place, len(self.species) - 1)] == graphs.nodes["species"]
        return jnp.where(is_known, place, len(self.species))

    def by_kind(
        self, vector: Float[Array, " 3 *e"], kind: Int[Array, " *e"]
    ) -> tuple[Float[Array, " LM *e"], Float[Array, " Q *e"]]:
        """`functions` at neighbours of those species: radial functions of other species vanish;
        Q = species * radial."""
        angular, radial = self.functions(vector)
        if self.kinds > 1:
            # An unknown species has the number `kinds`, and no function.
            of_kind = [jnp.where((kind == z)[None], radial, 0) for z in range(self.kinds)]
            radial = jnp.concatenate(of_kind)
        return angular, radial

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "LM n Q"]:
        """Densities A of every body."""
        vector, kind = self.vectors(graphs), self.kind(graphs)[graphs.senders]  # neighbours send
        return self.summed(graphs, *self.by_kind(vector, kind)).swapaxes(1, 2)

    def summed(
        self, graphs: GraphsTuple, angular: Float[Array, "LM e"], radial: Float[Array, "Q e"]
    ) -> Float[Array, "LM Q n"]:
        """Products of the functions, summed over the neighbours of each body."""
        # Sums over edges need the edges in front.
        products = (angular[:, None] * radial[None]).transpose(2, 0, 1)
        return sum_over_edges(graphs, products).transpose(1, 2, 0)
