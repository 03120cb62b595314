"""Potential energy of a body among its neighbours: random invariants of their densities."""

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._tree import is_concrete
from .._types import Gradient, Key, NodeMask, NodeScalars, Vectors
from ..graphs.geometry import count, distance, edge_mask, graph_index, node_mask, sum_over_graphs
from ..graphs.species import species_of
from .base import AbstractEnergy, AbstractTermSpec, Counts, Fitted
from .densities import Densities
from .many_body_energy import energy_and_slope, fold, pairs_of
from .many_body_rows import Weights, chained, derivatives, designs, factors
from .signatures import Signature, five_body, four_body, three_body
from .trained_range import extent, outside

SHARES = (0.10, 0.47, 0.43)
"""Shares of the features of body order 3, 4 and 5."""


class ManyBodyFeatures(AbstractEnergy):
    r"""$E = \sum_i B_k(i)$ with B products of densities with random radial functions.

    Factor f of feature k is $a_{lm} = \sum_{zn} w_{kf,zn} A_{i,zn,lm}$; the factors of a signature
    couple to an invariant. Each species of the central body has features of its own.
    """

    name: ClassVar[str] = "many-body"
    depends_on: ClassVar[tuple[str, ...]] = ("position",)
    bodies_at_once: ClassVar[int | None] = 64
    expects_model_error: ClassVar[bool] = True
    densities: Densities
    weights: tuple[Float[Array, "S _ _ Q"], ...]
    """Radial functions of each signature's features, for every species of the central body:
    `[S F K Q]` for K features of F factors."""
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
        return self._evaluated(graphs, self.densities(graphs), theta)[0]

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        def at(position: Vectors) -> Float[Array, "LM n Q"]:
            return self.densities(graphs._replace(nodes=graphs.nodes | {"position": position}))

        densities, pull_back = jax.vjp(at, graphs.nodes["position"])
        return Gradient(position=pull_back(self._evaluated(graphs, densities, theta)[1])[0])

    def _evaluated(
        self, graphs: GraphsTuple, densities: Float[Array, "LM n Q"], theta: Float[Array, " K"]
    ) -> tuple[NodeScalars, Float[Array, "LM n Q"]]:
        """Energy of every body, and its derivatives by that body's densities."""
        pairs = pairs_of(self.signatures)
        energy, slope = jnp.zeros(count(graphs), densities.dtype), jnp.zeros_like(densities)
        own = theta.reshape(self.densities.kinds, -1)
        for c, mine in enumerate(self._centres(graphs)):
            tensors = fold(self.signatures, [w[c] for w in self.weights], own[c])
            values, slopes = energy_and_slope(densities, pairs, tensors)
            energy += jnp.where(mine, values, 0)
            slope += jnp.where(mine[None, :, None], slopes, 0)
        return energy, slope

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        near = jnp.stack([self.range[0], jnp.asarray(math.inf, self.range.dtype)])
        closer = outside(distance(graphs), edge_mask(graphs), near)
        index = graph_index(graphs)[graphs.receivers]
        return jax.ops.segment_sum(closer.astype(jnp.int32), index, len(graphs.n_node)) // 2

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.range

    def accepts(self, graphs: GraphsTuple) -> None:
        known = set(self.densities.species)
        if known and (strange := sorted(set(species_of(graphs)) - known)):
            raise ValueError(
                f"species {strange} were not in the data that the many-body features were sampled "
                f"from, which hold {sorted(known)}"
            )

    def _rows(self, graphs: GraphsTuple) -> Float[Array, "rows K"]:
        """Derivatives by all coordinates, then the virial of each graph."""
        dtype = graphs.nodes["position"].dtype
        if self.assembly == "float32":
            dtype = jnp.dtype(jnp.float32)
        densities = self.densities(graphs).astype(dtype)
        every, present = designs(self.densities, graphs, dtype)

        def of_centre(mine: NodeMask, weights: tuple[Weights, ...]) -> Float[Array, "rows _"]:
            weights = tuple(w.astype(dtype) for w in weights)
            slopes = derivatives(densities, self.signatures, weights)
            own = [[jnp.where(mine[None, :, None], s, 0) for s in some] for some in slopes]
            by_kind = [w.reshape(*w.shape[:2], self.densities.kinds, -1) for w in weights]

            def of_neighbours(z: Int[Array, ""]) -> Float[Array, "rows _"]:
                radial = [w[:, :, z] for w in by_kind]
                return chained(every[z], own, self.signatures, radial, self.densities.degree)

            none = jnp.zeros((every.shape[1], sum(w.shape[1] for w in weights)), dtype)
            return _sum_where(present, of_neighbours, none)

        return self._over_centres(graphs, of_centre).astype(graphs.nodes["position"].dtype)

    def _centres(self, graphs: GraphsTuple) -> list[NodeMask]:
        """For each species the bodies that have it."""
        kind, real = self.densities.kind(graphs), node_mask(graphs)
        return [real & (kind == c) for c in range(self.densities.kinds)]

    def _over_centres(
        self,
        graphs: GraphsTuple,
        columns: Callable[[NodeMask, tuple[Weights, ...]], Float[Array, "r _"]],
    ) -> Float[Array, "r K"]:
        """The columns of every species of the central body, beside one another."""
        mine = jnp.stack(self._centres(graphs))
        if len(mine) == 1:
            return columns(mine[0], tuple(w[0] for w in self.weights))
        shape = jax.eval_shape(columns, mine[0], tuple(w[0] for w in self.weights))

        def of(each: tuple[NodeMask, tuple[Weights, ...]]) -> Float[Array, "r _"]:
            # Most frames hold some of the species only.
            return jax.lax.cond(
                jnp.any(each[0]), columns, lambda *_: jnp.zeros(shape.shape, shape.dtype), *each
            )

        blocks = jax.lax.map(of, (mine, self.weights))
        return blocks.transpose(1, 0, 2).reshape(shape.shape[0], -1)


def _sum_where(present: Array, of: Callable[[Array], Array], none: Array) -> Array:
    """Sum of the values at all places that are present."""
    if len(present) == 1:
        return of(jnp.zeros((), jnp.int32))

    def add(total: Array, z: Array) -> tuple[Array, None]:
        return total + jax.lax.cond(present[z], of, lambda _: none, z), None

    return jax.lax.scan(add, none, jnp.arange(len(present), dtype=jnp.int32))[0]


class ManyBody(AbstractTermSpec):
    """Many-body features with about `units` columns: a tenth of body order 3, half of 4, the rest
    of 5, alike for every species of the central body.

    `radial` slow functions of the distance end at `cutoff` (length); `degree` is the greatest of
    the spherical harmonics. Each factor of each feature has a random radial function of its own.
    Three-dimensional bodies only. Rows are computed in the precision of `assembly`: single
    precision halves the time, and loses nothing where the misfit is above 1e-4.
    """

    expects_model_error: ClassVar[bool] = True
    units: int = eqx.field(default=1000, static=True)
    cutoff: float = eqx.field(default=6.0, converter=float, static=True, kw_only=True)
    degree: int = eqx.field(default=4, static=True, kw_only=True)
    radial: int | tuple[int, int, int] = eqx.field(default=5, static=True, kw_only=True)
    species: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)
    assembly: Literal["float32", "float64"] = eqx.field(
        default="float32", static=True, kw_only=True
    )

    def __check_init__(self) -> None:
        whole_number("units", self.units, 1)
        whole_number("degree", self.degree, 0)
        if not 0 < self.cutoff < math.inf:
            raise ValueError(f"cutoff must be positive and finite, got {self.cutoff}")
        if len(self._radial) != 3:
            raise ValueError(
                "radial must be a number, or three for the body orders 3, 4 and 5, got "
                f"{self.radial}"
            )
        for number in self._radial:
            whole_number("radial", number, 1)
        if self.species is not None and list(self.species) != sorted(set(self.species)):
            raise ValueError(f"species must increase and differ, got {self.species}")
        if self.assembly not in ("float32", "float64"):
            raise ValueError(f"assembly must be float32 or float64, got {self.assembly!r}")

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "ManyBody":
        self._check_data(data)
        species = species_of(data) if self.species is None else self.species
        if not any(self._counts(max(1, len(species)))):
            raise ValueError(
                f"units={self.units} leave none for each of {len(species)} species: take more"
            )
        return dataclasses.replace(self, species=species)

    def _check_data(self, data: GraphsTuple) -> None:
        """Raises `ValueError` for data that these features cannot be sampled from."""
        d = data.nodes["position"].shape[1]
        if d != 3:
            raise ValueError(f"ManyBody() is for bodies in 3 dimensions, the data have {d}")
        if self.species and "species" not in data.nodes:
            raise ValueError(f'ManyBody(species={self.species}) needs nodes["species"]')
        if not is_concrete(data):
            return
        if self.species is not None and (strange := set(species_of(data)) - set(self.species)):
            raise ValueError(f"ManyBody(species={self.species}), but the data hold {strange}")
        with jax.ensure_compile_time_eval():  # data known inside jit are no tracers
            r = np.asarray(distance(data))[np.asarray(edge_mask(data))]
        if not (r < self.cutoff).any():
            found = f"the nearest two are {r.min():.4g} apart" if len(r) else "there are no edges"
            raise ValueError(f"ManyBody(cutoff={self.cutoff}) sees no joined bodies: {found}")

    @property
    def _radial(self) -> tuple[int, ...]:
        """Number of radial functions of body order 3, 4 and 5."""
        return self.radial if isinstance(self.radial, tuple) else (self.radial,) * 3

    def _counts(self, kinds: int) -> list[int]:
        """Number of features of body order 3, 4 and 5 of each species."""
        return [round(share * self.units / kinds) for share in SHARES]

    def sample(
        self, key: Key, data: GraphsTuple, previous: Fitted | None = None
    ) -> ManyBodyFeatures:
        dtype = data.nodes["position"].dtype
        orders = (three_body(self.degree), four_body(self.degree), five_body(self.degree))
        radial = self._radial
        species = self.species or ()
        kinds = max(1, len(species))
        signatures, sizes, waves = [], [], []
        for total, order, number in zip(self._counts(kinds), orders, radial):
            counts = _spread(total, len(order))
            signatures += [signature for signature, count in zip(order, counts) if count]
            sizes += [count for count in counts if count]
            waves += [number for count in counts if count]
        weights = []
        # One draw for all: each program of random numbers takes a while to compile.
        most = (len(signatures), kinds, 4, max(sizes), kinds, max(radial))
        for signature, size, number, w in zip(
            signatures, sizes, waves, jr.normal(key, most, dtype)
        ):
            w = w[:, : len(signature.degrees), :size, :, :].at[..., number:].set(0)
            w /= jnp.sqrt(jnp.sum(w**2, axis=(-2, -1), keepdims=True))
            weights.append(w.reshape(*w.shape[:3], -1))
        densities = Densities(self.cutoff, self.degree, max(radial), species)
        r = distance(data)
        seen = edge_mask(data) & (r < self.cutoff)
        return ManyBodyFeatures(
            densities, tuple(weights), extent(r, seen), tuple(signatures), self.assembly
        )


def _spread(total: int, places: int) -> list[int]:
    """The total in equal numbers, the first places one more where it is no multiple."""
    return [total // places + (k < total % places) for k in range(places)]
