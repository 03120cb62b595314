"""Recipe of many-body features: their number, their cutoff, and how they are sampled."""

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
"""Shares of body orders 3, 4 and 5 in the number of features."""


class ManyBody(AbstractTermSpec):
    r"""Random many-body features, for interatomic potentials learned from quantum mechanics.

    The neighbours of body i within the cutoff have the densities
    $A_{nlm} = \sum_j g_n(r_{ij}) Y_{lm}(u_{ij})$. A feature is a product of two to four factors
    $a_{lm} = \sum_n w_n A_{nlm}$ that are coupled to an invariant, with random weights w for each
    factor and each species of neighbour, correlated between species by `likeness`. Energies are
    extensive, twice continuously differentiable at the cutoff, and invariant under rotations,
    reflections and permutations of like bodies. The products are those of the atomic cluster
    expansion (Drautz, Phys. Rev. B 99, 2019). Random weights replace its tensor of radial
    functions, as in Darby et al., Phys. Rev. Lett. 131, 2023.

    **Arguments:**

    - `units`: approximate number of columns: a tenth of body order 3, about half of order 4, the
        rest of order 5. They are divided equally among the species of the central body.
    - `cutoff`: distance within which bodies are neighbours (length). It should include the third
        shell of a crystal.
    - `degree`: greatest degree of the spherical harmonics.
    - `radial`: number of radial functions, or one number for each of the body orders 3, 4 and 5.
        Fewer make the potential smoother: choose by cross-validation (`hgn.tune`).
    - `stretch`: length s of the radial coordinate in which these functions are cosines,
        $(1 - e^{-r / s}) / (1 - e^{-r_c / s})$; None for r / r_c. Cross-validation chose about
        twice the shortest bond for ethanol, whose bonds are far shorter than the cutoff.
    - `likeness`: correlation of the radial weights of different species of neighbours, at least 0
        and less than 1. With 0, every species has densities of its own. Near 1, features hardly
        tell species apart, which suits elements that bond alike, such as the metals of an alloy:
        choose by cross-validation.
    - `species`: all species that may occur, in increasing order; None takes those of the data.
    - `assembly`: precision of the rows of forces and stresses. The relative error of "float32" is
        about 1e-6, far below the misfit to quantum mechanics. Energies always have the precision
        of the data.

    **Raises:** `ValueError` for arguments out of range. A fit raises it for data that are not in
    three dimensions, have no neighbours within the cutoff, or hold species not listed.
    """

    expects_model_error: ClassVar[bool] = True
    units: int = eqx.field(default=1000, static=True)
    cutoff: float = eqx.field(default=6.0, converter=float, static=True, kw_only=True)
    degree: int = eqx.field(default=4, static=True, kw_only=True)
    radial: int | tuple[int, int, int] = eqx.field(default=5, static=True, kw_only=True)
    stretch: float | None = eqx.field(default=None, static=True, kw_only=True)
    likeness: float = eqx.field(default=0.8, static=True, kw_only=True)
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
        if self.stretch is not None and not 0 < self.stretch < math.inf:
            raise ValueError(f"stretch must be positive and finite, got {self.stretch}")
        if not 0 <= self.likeness < 1:
            raise ValueError(f"likeness must be at least 0 and less than 1, got {self.likeness}")
        if self.species is not None and list(self.species) != sorted(set(self.species)):
            raise ValueError(f"species must be strictly increasing, got {self.species}")
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
                f"units={self.units} are too few for {len(species)} species: each needs several"
            )
        return dataclasses.replace(self, species=species)

    def _check_data(self, data: GraphsTuple) -> None:
        """Raises `ValueError` for data from which these features cannot be sampled."""
        d = data.nodes["position"].shape[1]
        if d != 3:
            raise ValueError(f"ManyBody() needs data in 3 dimensions, got {d}")
        if self.species and "species" not in data.nodes:
            raise ValueError(f'ManyBody(species={self.species}) needs nodes["species"]')
        if not is_concrete(data):
            return
        if self.species is not None and (
            unknown := sorted(set(species_of(data)) - set(self.species))
        ):
            raise ValueError(f"ManyBody(species={self.species}), but the data also hold {unknown}")
        with jax.ensure_compile_time_eval():  # else jit would trace concrete data
            r = np.asarray(distance(data))[np.asarray(edge_mask(data))]
        if not (r < self.cutoff).any():
            found = f"the shortest edge is {r.min():.4g}" if len(r) else "there are no edges"
            raise ValueError(f"ManyBody(cutoff={self.cutoff}) finds no neighbours: {found}")

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
        signatures, sizes, waves = [], [], []  # `waves`: radial functions
        for total, order, number in zip(self._counts(kinds), orders, radial):
            counts = _spread(total, len(order))
            # Signatures without features are left out, or they would add empty arrays.
            signatures += [signature for signature, count in zip(order, counts) if count]
            sizes += [count for count in counts if count]
            waves += [number for count in counts if count]
        # One draw for all signatures: a program for each would take long to compile.
        shape = (len(signatures), kinds, 4, max(sizes), kinds, max(radial))  # at most four factors
        # A body order with fewer radial functions has weights of zero for the others.
        used = np.arange(max(radial)) < np.array(waves)[:, None]
        used = used.reshape(-1, 1, 1, 1, 1, max(radial))
        drawn = jr.normal(key, shape, dtype)
        if kinds > 1:
            common = jr.normal(jr.fold_in(key, 1), (*shape[:4], 1, shape[5]), dtype)
            # The variance stays one; weights of two species have the likeness as their correlation.
            drawn = (1 - self.likeness) ** 0.5 * drawn + self.likeness**0.5 * common
        drawn = jnp.where(used, drawn, 0)
        # Factors of unit norm, whatever their number of radial functions.
        drawn /= jnp.sqrt(jnp.sum(drawn**2, axis=(-2, -1), keepdims=True))
        drawn = drawn.reshape(*shape[:4], -1)
        weights = [
            w[:, : len(signature.degrees), :size]
            for signature, size, w in zip(signatures, sizes, drawn)
        ]
        densities = Densities(self.cutoff, self.degree, max(radial), self.stretch, species)
        r = distance(data)
        near = edge_mask(data) & (r < self.cutoff)
        return ManyBodyFeatures(
            densities, tuple(weights), extent(r, near), tuple(signatures), self.assembly
        )


def _spread(total: int, places: int) -> list[int]:
    """The total divided evenly; the first places share the remainder."""
    return [total // places + (k < total % places) for k in range(places)]
