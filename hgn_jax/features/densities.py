r"""Densities of neighbours: what a body sees of its surroundings.

$A_{i,zn,lm} = \sum_{j \in z} g_n(r_{ij}) Y_{lm}(u_{ij})$ sums over the neighbours j of species z,
with the slow radial functions $g_n(r) = \cos(n \pi r / r_c) (1 - (r / r_c)^2)^3$: values, slopes
and second derivatives are continuous at the cutoff $r_c$.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from ..graphs.geometry import count, displacement, edge_mask
from .harmonics import harmonics


class Densities(eqx.Module):
    """The densities' functions: `radial` slow cosines below `cutoff`, harmonics up to `degree`."""

    cutoff: float = eqx.field(static=True)
    degree: int = eqx.field(static=True)
    radial: int = eqx.field(static=True)
    species: tuple[int, ...] = eqx.field(static=True)
    """Species in increasing order; empty if all bodies are alike."""

    @property
    def kinds(self) -> int:
        """Number of species."""
        return max(1, len(self.species))

    @property
    def harmonics(self) -> int:
        """Number of components (l, m)."""
        return (self.degree + 1) ** 2

    def functions(self, vector: Float[Array, "3 e"]) -> Float[Array, "e LM N"]:
        """$g_n Y_{lm}$ of the vectors from a body to its neighbours (length)."""
        r = jnp.sqrt(jnp.sum(vector**2, axis=0))
        x = jnp.minimum(r / self.cutoff, 1)
        waves = jnp.cos(np.pi * jnp.arange(self.radial, dtype=x.dtype)[:, None] * x[None])
        radial = waves * (1 - x**2)[None] ** 3
        angular = jnp.concatenate(harmonics(vector / r[None], self.degree))
        return (angular[:, None] * radial[None]).transpose(2, 0, 1)

    def slopes(self, vector: Float[Array, "3 e"]) -> Float[Array, "3 e LM N"]:
        """Derivatives of the functions by the vectors' components."""
        axes = jnp.broadcast_to(jnp.eye(3, dtype=vector.dtype)[:, :, None], (3, *vector.shape))
        return jax.vmap(lambda axis: jax.jvp(self.functions, (vector,), (axis,))[1])(axes)

    def vectors(self, graphs: GraphsTuple) -> Float[Array, "3 e"]:
        """From the body where an edge ends to the one where it begins; padding is out of reach."""
        beyond = jnp.asarray([self.cutoff, 0, 0], graphs.nodes["position"].dtype)
        return jnp.where(edge_mask(graphs)[:, None], -displacement(graphs), beyond).T

    def kind(self, graphs: GraphsTuple) -> Int[Array, " n"]:
        """Place of each body's species; the number of species for one that is not known."""
        if not self.species:
            return jnp.zeros(count(graphs), jnp.int32)
        known = jnp.asarray(self.species, graphs.nodes["species"].dtype)
        place = jnp.searchsorted(known, graphs.nodes["species"]).astype(jnp.int32)
        found = known[jnp.minimum(place, len(self.species) - 1)] == graphs.nodes["species"]
        return jnp.where(found, place, len(self.species))

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "LM n Q"]:
        """A of every body; Q = species * radial."""
        n, kinds = count(graphs), self.kinds
        values = self.functions(self.vectors(graphs))
        kind = self.kind(graphs)[graphs.senders]
        slot = jnp.where(kind < kinds, graphs.receivers * kinds + kind, n * kinds)
        sums = jax.ops.segment_sum(values, slot, n * kinds)
        by_harmonic = sums.reshape(n, kinds, -1, self.radial).transpose(2, 0, 1, 3)
        return by_harmonic.reshape(-1, n, kinds * self.radial)
