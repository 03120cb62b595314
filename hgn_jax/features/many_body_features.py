"""Potential energy of a body among its neighbours: random invariants of their densities."""

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import Gradient, NodeMask, NodeScalars
from ..graphs.dense_edges import SlottedGraphs
from ..graphs.geometry import (
    count,
    distance,
    edge_mask,
    node_mask,
    sum_over_edges,
    sum_over_graphs,
)
from ..graphs.species import species_of
from .base import AbstractEnergy, Counts
from .densities import Densities
from .many_body_energy import (
    OfDensities,
    block_of_bodies,
    by_features,
    energy_and_slope,
    fold,
    in_blocks,
    pairs_of,
)
from .many_body_rows import (
    LARGE,
    Product,
    Weights,
    by_neighbours,
    chained,
    derivatives,
    design,
    factors,
    in_one_product,
    sum_where,
)
from .pair_base import pair_count
from .signatures import Signature
from .trained_range import outside


class ManyBodyFeatures(AbstractEnergy):
    r"""$E_k = \sum_i B_k(i)$, where B are products of densities with random radial functions.

    Factor f of feature k is $a_{lm} = \sum_{zn} w_{kf,zn} A_{i,zn,lm}$; the factors of a signature
    couple to an invariant. Each species of the central body has features of its own.
    """

    name: ClassVar[str] = "many-body"
    depends_on: ClassVar[tuple[str, ...]] = ("position",)
    bodies_at_once: ClassVar[int | None] = 64
    expects_model_error: ClassVar[bool] = True
    densities: Densities
    weights: tuple[Float[Array, "S _ _ Q"], ...]
    """Radial weights of each signature's features: `[S F K Q]` for S species of the central body
    and K features of F factors."""
    range: Float[Array, " 2"]
    """Least and greatest distance of neighbours in training (length)."""
    signatures: tuple[Signature, ...] = eqx.field(static=True)
    assembly: Literal["float32", "float64"] = eqx.field(static=True)

    @property
    def dimension(self) -> int | None:
        return 3

    @property
    def reach(self) -> float:
        return self.densities.cutoff

    @property
    def counts(self) -> Counts:
        return Counts(bodies=True)

    @property
    def columns(self) -> int:
        """Number of columns K."""
        return sum(w.shape[0] * w.shape[2] for w in self.weights)

    def groups(self, columns: int) -> tuple[int, ...]:
        """Every body order by itself, for each species of the central body."""
        sizes = Counter[int]()
        for signature, w in zip(self.signatures, self.weights):
            sizes[signature.body_order] += w.shape[2]
        return tuple(sizes.values()) * self.densities.kinds

    def labels(self, count: int) -> tuple[str, ...]:
        orders = sorted({signature.body_order for signature in self.signatures})
        species = self.densities.species
        of = [f" around species {z}" for z in species] if len(species) > 1 else [""]
        return tuple(f"many-body of order {k}{centre}" for centre in of for k in orders)

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        densities = self.densities(graphs)

        def of_centre(mine: NodeMask, weights: tuple[Weights, ...]) -> Float[Array, "g _"]:
            values = [
                signature(factors(densities, signature, w))
                for signature, w in zip(self.signatures, weights)
            ]
            return sum_over_graphs(
                graphs, jnp.where(mine[:, None], jnp.concatenate(values, axis=1), 0)
            )

        return self._over_centres(graphs, of_centre)

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        n = count(graphs)
        return Gradient(position=self._rows(graphs)[: 3 * n].reshape(n, 3, -1))

    def virial(self, graphs: GraphsTuple) -> Float[Array, "g d d K"]:
        n = count(graphs)
        return self._rows(graphs)[3 * n :].reshape(-1, 3, 3, self.columns)

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        return self._evaluated(graphs, theta)[0]

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        n, pulls = count(graphs), self._evaluated(graphs, theta)[1]
        # An edge's vector runs from its receiver, the central body, to its sender, the neighbour.
        back = jax.ops.segment_sum(pulls, graphs.senders, n)
        return Gradient(position=back - sum_over_edges(graphs, pulls))

    def energy_virial(
        self, graphs: GraphsTuple, theta: Float[Array, " K"]
    ) -> Float[Array, "g d d"]:
        pulls = self._evaluated(graphs, theta)[1]
        strain = self.densities.vectors(graphs).T[:, :, None] * pulls[:, None]  # x_a dE/dx_b
        return sum_over_graphs(graphs, sum_over_edges(graphs, strain))

    def _evaluated(
        self, graphs: GraphsTuple, theta: Float[Array, " K"]
    ) -> tuple[NodeScalars, Float[Array, "e 3"]]:
        """Energy of every body, and its derivatives with respect to its neighbours' vectors."""
        n, kind = count(graphs), self.densities.kind(graphs)
        centre = jnp.where(node_mask(graphs), kind, self.densities.kinds)  # no species: no energy
        vector, kinds = self.densities.vectors(graphs), kind[graphs.senders]
        of_densities = self._of_densities(theta)
        if not isinstance(graphs, SlottedGraphs) or not graphs.slots:
            summed = partial(self.densities.summed, graphs)
            energy, pulls = self._around(of_densities, centre, vector, kinds, summed)
            return energy, pulls.T
        slots, size = graphs.slots, min(n, block_of_bodies())

        def of_block(start: Array) -> tuple[NodeScalars, Array]:
            cut = partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=size, axis=-1)
            # As a product of matrices: a sum of products computes each function many times.
            summed = partial(jnp.einsum, "amn,qmn->aqn", precision="highest")
            vectors, of_slots = cut(vector.reshape(3, slots, n)), cut(kinds.reshape(slots, n))
            return self._around(of_densities, cut(centre), vectors, of_slots, summed)

        # The last block overlaps the one before: all have one size.
        starts = np.append(np.arange(0, n - size, size), n - size)
        energy, pulls = jax.lax.map(of_block, jnp.asarray(starts))
        overlap = size - (n - (len(starts) - 1) * size)  # bodies that the block before has
        energy = jnp.append(energy[:-1].ravel(), energy[-1, overlap:])
        pulls = pulls.transpose(2, 0, 3, 1)  # [slots blocks size 3]
        # No -1 in the shape: there may be no slots.
        before = pulls[:, :-1].reshape(slots, (len(starts) - 1) * size, 3)
        pulls = jnp.concatenate([before, pulls[:, -1, overlap:]], axis=1)
        return energy, pulls.reshape(slots * n, 3)

    def _of_densities(self, theta: Float[Array, " K"]) -> OfDensities:
        """Function that returns bodies' energies, and the derivatives by their densities."""
        own, width = theta.reshape(self.densities.kinds, -1), self.weights[0].shape[-1]
        pairs = pairs_of(self.signatures)
        folded = width**2 <= own.shape[1]  # else the tensors outnumber the features

        def of_kind(c: int) -> Callable[[Array], tuple[Array, Array]]:
            weights = [w[c] for w in self.weights]
            if not folded:
                return lambda densities: by_features(densities, self.signatures, weights, own[c])
            tensors = fold(self.signatures, weights, own[c])
            return lambda densities: energy_and_slope(densities, pairs, tensors)

        every = [of_kind(c) for c in range(self.densities.kinds)]

        def of_block(densities: Array, centre: Array) -> tuple[Array, Array]:
            none = jnp.zeros_like(densities[0, 0]), jnp.zeros_like(densities)
            energy, slope = none
            for c, of_bodies in enumerate(every):
                mine = centre == c
                values, slopes = jax.lax.cond(jnp.any(mine), of_bodies, lambda _: none, densities)
                energy += jnp.where(mine, values, 0)
                slope += jnp.where(mine[None, None], slopes, 0)
            return energy, slope

        return in_blocks(of_block)

    def _around(
        self,
        of_densities: OfDensities,
        centre: Int[Array, " n"],
        vector: Float[Array, " 3 *e"],
        kinds: Int[Array, " *e"],
        summed: Callable[[Array, Array], Float[Array, "LM Q n"]],
    ) -> tuple[NodeScalars, Float[Array, " 3 *e"]]:
        """Energies of bodies, and their derivatives with respect to the neighbours' vectors."""
        densities, pull_back = jax.vjp(
            lambda vector: summed(*self.densities.by_kind(vector, kinds)), vector
        )
        energy, slope = of_densities(densities, centre)
        return energy, pull_back(slope)[0]

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        # Farther neighbours are no extrapolation: they fade out at the cutoff.
        near = jnp.stack([self.range[0], jnp.asarray(math.inf, self.range.dtype)])
        closer = outside(distance(graphs), edge_mask(graphs), near)
        return pair_count(graphs, closer)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.range

    def accepts(self, graphs: GraphsTuple) -> None:
        known = set(self.densities.species)
        if known and (unknown := sorted(set(species_of(graphs)) - known)):
            raise ValueError(
                f"species {unknown} were not in the data that the many-body features were sampled "
                f"from, which hold {sorted(known)}"
            )

    def _rows(self, graphs: GraphsTuple) -> Float[Array, "rows K"]:
        """Derivatives with respect to all coordinates, then the virial of each graph."""
        dtype = graphs.nodes["position"].dtype
        if self.assembly == "float32":
            dtype = jnp.dtype(jnp.float32)
        functions, large = self.densities, count(graphs) > LARGE
        densities = functions(graphs).astype(dtype)
        kinds = jnp.arange(functions.kinds, dtype=jnp.int32)
        kind = functions.kind(graphs)[graphs.senders]
        present = jnp.any(kind[None] == kinds[:, None], axis=1)  # as neighbours
        designs = None if large else jax.lax.map(partial(design, functions, graphs, dtype), kinds)
        none = jnp.zeros(
            (3 * count(graphs) + 9 * len(graphs.n_node), self.columns // len(kinds)), dtype
        )

        def of_centre(mine: NodeMask, weights: tuple[Weights, ...]) -> Float[Array, "rows _"]:
            weights = tuple(w.astype(dtype) for w in weights)
            slopes = derivatives(densities, self.signatures, weights)  # [m n K] each
            own = [[jnp.where(mine[None, :, None], s, 0) for s in each] for each in slopes]
            by_kind = [w.reshape(*w.shape[:2], functions.kinds, -1) for w in weights]

            def of_neighbours(z: Int[Array, ""]) -> Float[Array, "rows _"]:
                radial = [w[:, :, z] for w in by_kind]

                def rows(multiply: Product, at: Any = slice(None)) -> Float[Array, "*rows _"]:
                    slopes_at = [[s[:, at] for s in each] for each in own]
                    return chained(multiply, slopes_at, self.signatures, radial, functions.degree)

                if designs is None:
                    return by_neighbours(functions, graphs, z, rows, none)
                return rows(in_one_product(designs[z]))

            return sum_where(present, of_neighbours, none)

        return self._over_centres(graphs, of_centre).astype(graphs.nodes["position"].dtype)

    def _centres(self, graphs: GraphsTuple) -> list[NodeMask]:
        """Mask of the bodies of each species."""
        kind, real = self.densities.kind(graphs), node_mask(graphs)
        return [real & (kind == c) for c in range(self.densities.kinds)]

    def _over_centres(
        self,
        graphs: GraphsTuple,
        columns: Callable[[NodeMask, tuple[Weights, ...]], Float[Array, "r _"]],
    ) -> Float[Array, "r K"]:
        """Columns of all species of the central body, concatenated."""
        mine = jnp.stack(self._centres(graphs))
        if len(mine) == 1:
            return columns(mine[0], tuple(w[0] for w in self.weights))
        shape = jax.eval_shape(columns, mine[0], tuple(w[0] for w in self.weights))

        def of(each: tuple[NodeMask, tuple[Weights, ...]]) -> Float[Array, "r _"]:
            # Most frames hold only some of the species.
            return jax.lax.cond(
                jnp.any(each[0]), columns, lambda *_: jnp.zeros(shape.shape, shape.dtype), *each
            )

        blocks = jax.lax.map(of, (mine, self.weights))
        return blocks.transpose(1, 0, 2).reshape(shape.shape[0], -1)
