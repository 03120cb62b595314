"""Many-body features as a term: how many, how far they see, and how they are drawn."""

import dataclasses
import math
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jraph import GraphsTuple

from .._arguments import whole_number
from .._tree import is_concrete
from .._types import Key
from ..graphs.geometry import distance, edge_mask
from ..graphs.species import species_of
from .base import AbstractTermSpec, Fitted
from .densities import Densities
from .many_body_features import ManyBodyFeatures
from .signatures import five_body, four_body, three_body
from .trained_range import extent

SHARES = (0.10, 0.47, 0.43)
"""Shares of the features of body order 3, 4 and 5."""


class ManyBody(AbstractTermSpec):
    r"""Random features of a body's surroundings, for potentials of atoms from quantum mechanics.

    A body sees the densities $A_{nlm} = \sum_j g_n(r_{ij}) Y_{lm}(u_{ij})$ of its neighbours within
    the cutoff. A feature is a product of two to four factors $a_{lm} = \sum_n w_n A_{nlm}$ that is
    coupled to an invariant, with random weights w for each factor and each species of neighbour.
    Energies are invariant under rotations, reflections and permutations of like bodies, extensive,
    and twice continuously differentiable at the cutoff. The products are those of the atomic
    cluster expansion (Drautz, Phys. Rev. B 99, 2019); random weights take the place of its tensor
    of radial functions, as in Darby et al., Phys. Rev. Lett. 131, 2023.

    **Arguments:**

    - `units`: number of columns, about: a tenth of body order 3, half of 4, the rest of 5, in equal
        parts for every species of the central body.
    - `cutoff`: distance at which neighbours end (length). At least the third shell of a crystal.
    - `degree`: greatest degree of the spherical harmonics.
    - `radial`: number of slow radial functions, or one number for each of the body orders 3, 4, 5.
        Few are smooth: take what cross-validation prefers (`hgn.tune`).
    - `species`: those to expect, in increasing order; None takes those of the data.
    - `assembly`: precision of the rows of forces. "float32" is exact to about 1e-6, far below
        the misfit to quantum mechanics. Energies are always in the precision of the data.

    **Raises:** `ValueError` for other arguments, and in a fit for data in other than three
    dimensions, or without neighbours within the cutoff.
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
        # One draw for all: a program for each signature would take long to compile.
        most = (len(signatures), kinds, 4, max(sizes), kinds, max(radial))
        kept = np.arange(max(radial)) < np.array(waves)[:, None]
        kept = kept.reshape(-1, 1, 1, 1, 1, max(radial))
        every = jnp.where(kept, jr.normal(key, most, dtype), 0)
        every /= jnp.sqrt(jnp.sum(every**2, axis=(-2, -1), keepdims=True))
        every = every.reshape(*most[:4], -1)
        weights = [
            w[:, : len(signature.degrees), :size]
            for signature, size, w in zip(signatures, sizes, every)
        ]
        densities = Densities(self.cutoff, self.degree, max(radial), species)
        r = distance(data)
        seen = edge_mask(data) & (r < self.cutoff)
        return ManyBodyFeatures(
            densities, tuple(weights), extent(r, seen), tuple(signatures), self.assembly
        )


def _spread(total: int, places: int) -> list[int]:
    """The total in equal numbers, the first places one more where it is no multiple."""
    return [total // places + (k < total % places) for k in range(places)]
