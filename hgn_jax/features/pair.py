"""Potential energy as random features of the distance between two bodies."""

import dataclasses
import math
from collections.abc import Iterator
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float
from jraph import GraphsTuple

from .._tree import is_concrete
from .._types import Key
from ..graphs.geometry import distance, edge_mask
from .base import AbstractEnergy, AbstractTermSpec, Fitted
from .compressed import CompressedPairFeatures
from .compression import Target, cheapest, followed, in_double_precision
from .dense import Dense
from .multipoles import check_degrees, check_dimension
from .pair_base import AbstractPairFeatures, edge_types, fade, observable, up_to_cutoff
from .pair_multipoles import PairMultipoles, sampled_pair_multipoles
from .sampling import ELM, AbstractSampling
from .trained_range import extent


class PairFeatures(AbstractPairFeatures):
    r"""Pair potentials: half of the random units are functions of r, the other half of log r.

    Units of r alone fail for planets (0.3 to 50 AU), units of log r alone are far worse on springs;
    the mixture serves both.

    With a `cutoff` (length) every unit is multiplied by $(1 - (r/cutoff)^2)^2$ and is zero beyond:
    energies and forces are continuous when edges enter or leave a neighbour list.
    """

    layers: tuple[tuple[Dense, Dense], ...]
    """One pair of layers, of r and of log r, for each edge type."""
    ranges: Float[Array, "T 2"]
    cutoff: float | None = eqx.field(static=True)

    def units(self, square: Float[Array, " s"], type: int) -> Float[Array, "s _"]:
        near, far, r, log = self._at(square, type)
        return fade(square, self.cutoff)[:, None] * jnp.concatenate([near(r), far(log)], axis=1)

    def slopes(self, square: Float[Array, " s"], type: int) -> Float[Array, "s _"]:
        near, far, r, log = self._at(square, type)
        # d/ds of s = r^2: dr/ds = 1 / (2 r) and d(log r)/ds = 1 / (2 r^2).
        along = [near.jacobian(r)[:, 0, :] / (2 * r), far.jacobian(log)[:, 0, :] / (2 * r**2)]
        if self.cutoff is None:
            return jnp.concatenate(along, axis=1)
        fading = partial(fade, cutoff=self.cutoff)
        factor, fall = jax.jvp(fading, (square,), (jnp.ones_like(square),))
        return jnp.concatenate(
            [
                factor[:, None] * slope + fall[:, None] * value
                for slope, value in zip(along, (near(r), far(log)))
            ],
            axis=1,
        )

    def compress(
        self,
        theta: Float[Array, " K"],
        constants: Float[Array, " c"],
        tolerance: float,
        smallest: bool,
    ) -> tuple[AbstractEnergy, Float[Array, " _"]]:
        best = [
            cheapest(target, tolerance, smallest, theta.dtype, f"pair potential of edge type {t}")
            for t, target in enumerate(self._targets(theta, constants))
        ]
        curves = tuple(b.curve for b in best)
        errors = jnp.asarray([b.error for b in best], theta.dtype)
        smaller = CompressedPairFeatures(
            curves=curves, ranges=self.ranges, error=errors, cutoff=self.cutoff
        )
        # The curves hold the coefficients already.
        return smaller, jnp.ones(len(curves), theta.dtype)

    def _targets(
        self, theta: Float[Array, " K"], constants: Float[Array, " c"]
    ) -> Iterator[Target]:
        units, theta, constants = in_double_precision((self, theta, constants))
        for t, coefficients in enumerate(jnp.split(theta, self.types)):
            low, high = map(float, self.ranges[t])
            span, end = followed(low, high, f"pair of edge type {t}"), None
            if self.cutoff is not None:
                span, end = (span[0], self.cutoff), self.cutoff**2
            # With a cutoff there are no constants of pairs, see `counts`.
            constant = constants[t] if self.cutoff is None else 0.0
            value, slope = (
                # Defaults bind the values now: a closure would find those of the last type.
                eqx.filter_jit(lambda s, f=f, t=t, a=coefficients, c=c: f(s, t) @ a + c)
                for f, c in ((units.units, constant), (units.slopes, 0.0))
            )
            yield Target(value, slope, (low, high), span, end)

    def _at(self, square: Float[Array, " s"], type: int) -> tuple[Dense, Dense, Array, Array]:
        r = jnp.sqrt(square)[:, None]
        return *self.layers[type], r, jnp.log(r)


class Pair(AbstractTermSpec):
    r"""Random features of pair potentials, $V = \sum_{pairs} c_{ij} \phi(r_{ij})$.

    c is the edges' known `coupling`, one if absent. Half of the units are functions of r, half of
    log r. Each edge `type` has its own units.

    **Arguments:**

    - `units`: number of units for each edge type, even. None means 256, or with `degrees` 8 for
        each component of a degree.
    - `sampling`: distribution of their weights. In one variable the smoother units of `hgn.ELM()`
        are more accurate than those of `hgn.SWIM()`, inside the trained range (bench/potentials.py)
        and beyond. Where the force has a kink, the steep units of SWIM are better
        (bench/molecular_dynamics.py).
    - `activation`: "tanh", "erf", "sigmoid", "sin" or "relu", whose forces jump.
    - `types`: number of edge types; None reads it from the data (concrete arrays only).
    - `cutoff`: distance at which every unit fades to zero (length), as liquids and neighbour lists
        need. The energy then has no constant per pair, since the number of pairs changes with the
        list.
    - `degrees`: even degrees l of spherical harmonics of the bond's direction, such as (2, 4). The
        term is then $\sum_{pairs} c_{ij} f_{lm}(r_{ij}) Y_{lm}(\hat r_{ij})$, the anisotropic part
        alone: use it beside `Pair()`. Every degree has a ridge of its own from
        `QR(ridge="groups")`. Odd degrees cancel, since a bond has no head and tail.

    **Raises:** `ValueError` if `units` is odd or less than 2, for a cutoff that is not positive
    and finite, or for degrees that are not even and at least 2. A fit raises it for data without
    edges, without a pair within the cutoff, with more edge types, or for degrees in other than two
    or three dimensions.
    """

    units: int | None = eqx.field(default=None, static=True)
    sampling: AbstractSampling = ELM()
    activation: str = eqx.field(default="tanh", static=True)
    types: int | None = eqx.field(default=None, static=True)
    cutoff: float | None = eqx.field(default=None, static=True)
    degrees: tuple[int, ...] | None = eqx.field(default=None, static=True)

    def __check_init__(self) -> None:
        if self.units is not None and (self.units < 2 or self.units % 2):
            raise ValueError(f"units must be even and at least 2, got {self.units}")
        if self.cutoff is not None and not 0 < self.cutoff < math.inf:
            raise ValueError(f"cutoff must be positive and finite, got {self.cutoff}")
        if self.degrees is None:
            return
        check_degrees(self.degrees, "Pair")
        if any(degree % 2 or degree == 0 for degree in self.degrees):
            raise ValueError(
                f"Pair(degrees=...) must be even and at least 2, got {self.degrees}: odd degrees "
                "cancel, and degree 0 is Pair() itself"
            )

    @property
    def guided(self) -> bool:
        return self.sampling.guided and self.degrees is None

    def resolve(self, data: GraphsTuple) -> "Pair":
        self._check_reach(data)
        if self.degrees is not None:
            check_dimension(data, "Pair")
        if "type" not in data.edges:
            return self
        kinds = data.edges["type"]
        if isinstance(kinds, jax.core.Tracer):
            if self.types is None:
                raise ValueError("inside jit the edge types are unknown: give Pair(types=...)")
            return self
        types = int(np.max(np.asarray(kinds), initial=0)) + 1
        if self.types is not None and self.types < types:
            raise ValueError(f"Pair(types={self.types}), but the data have edge type {types - 1}")
        if self.types is not None:
            return self
        return dataclasses.replace(self, types=types)

    def _check_reach(self, data: GraphsTuple) -> None:
        if self.cutoff is None or not is_concrete(data) or not len(data.senders):
            return
        with jax.ensure_compile_time_eval():  # else jit would trace concrete data
            r = np.asarray(distance(data))[np.asarray(edge_mask(data))]
        if not (r < self.cutoff).any():
            raise ValueError(
                f"Pair(cutoff={self.cutoff}) finds no pair within the cutoff: the shortest edge is "
                f"{r.min():.4g}"
            )

    def sample(
        self, key: Key, data: GraphsTuple, previous: Fitted | None = None
    ) -> PairFeatures | PairMultipoles:
        if not len(data.senders):
            raise ValueError("the data have no edges: leave Pair() out, or join bodies by edges")
        if self.degrees is not None:
            settings = (self.types or 1, self.cutoff, self.sampling, self.activation)
            return sampled_pair_multipoles(key, data, self.degrees, self.units or 8, *settings)
        r, mask = distance(data), observable(data, self.cutoff)
        types = edge_types(data, self.types or 1)
        keys = jr.split(key, 1 + len(types))[: len(types)]  # at least two, to reuse that program
        energies = None
        if previous is not None:
            fitted, theta = previous
            assert isinstance(fitted, PairFeatures)
            energies = jnp.stack([fitted.units_at(r, t) @ theta for t in range(len(types))])

        def of_type(
            key: Key, chosen: Bool[Array, " e"], energy: Float[Array, " e"] | None
        ) -> tuple[tuple[Dense, Dense], Float[Array, " 2"]]:
            near, far = jr.split(key)
            half, args = (self.units or 256) // 2, (self.activation, energy)
            layers = (
                self.sampling(near, r[:, None], chosen, half, *args),
                # If the mean of log r is zero, rounding would count as variation: hence unit 1.
                self.sampling(far, jnp.log(r)[:, None], chosen, half, *args, unit=1.0),
            )
            return layers, up_to_cutoff(extent(r, chosen), self.cutoff)

        # One program for all types: a program for each would take long to compile.
        every, ranges = jax.vmap(of_type)(keys, mask[None] & jnp.stack(types), energies)
        layers = tuple(jax.tree.map(lambda a, t=t: a[t], every) for t in range(len(types)))
        return PairFeatures(layers=layers, ranges=ranges, cutoff=self.cutoff)
