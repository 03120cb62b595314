"""Friction between bodies that move apart or together."""

import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._types import Gradient, Key
from ..graphs.geometry import displacement, distance, sum_over_edges, velocity_of
from .base import AbstractRates, AbstractTermSpec, Fitted
from .dense import Dense
from .hats import Hats, in_words
from .pair_base import fade, observable, pair_count, up_to_cutoff
from .sampling import ELM, AbstractSampling
from .trained_range import extent, outside, spaced


class PairFrictionFeatures(AbstractRates):
    r"""$\dot p_i = -\sum_j h(r_{ij})\, (u_{ij} \cdot (v_i - v_j))\, u_{ij}$ with random units or
    hats h, and u the direction of the pair.

    Forces are central and equal and opposite: momentum and angular momentum are conserved, and
    the motion is the same in every frame that moves uniformly.
    """

    name: ClassVar[str] = "pair friction"
    span: ClassVar[int] = 1
    separable: ClassVar[bool] = False
    moves: ClassVar[tuple[str, ...]] = ("momentum",)
    dimension: ClassVar[int | None] = None
    needs: ClassVar[tuple[str, ...]] = ("momentum", "mass")
    layer: Dense | Hats
    range: Float[Array, " 2"]
    cutoff: float | None = eqx.field(static=True)

    @property
    def reach(self) -> float:
        return math.inf if self.cutoff is None else self.cutoff

    def coefficients(self, r: Float[Array, " s"]) -> Float[Array, "s _"]:
        """Units h at these distances (mass / time for coefficients theta); they fade to zero at
        the cutoff. The last one is constant but for that."""
        columns = self.layer(r[:, None])
        if not isinstance(self.layer, Hats):  # hats add up to one: they hold the constant
            columns = jnp.concatenate([columns, jnp.ones_like(r)[:, None]], axis=1)
        return columns * fade(r**2, self.cutoff)[:, None]

    @property
    def nonnegative(self) -> bool:
        return isinstance(self.layer, Hats)

    def remarks(self, theta: Float[Array, " K"]) -> tuple[str, ...]:
        r = spaced(self.range, 100)
        return (in_words("coefficient of pair friction", r, self.coefficients(r) @ theta[:, None]),)

    def __call__(self, graphs: GraphsTuple) -> Gradient:
        r, v = distance(graphs), velocity_of(graphs)
        # Coincident bodies have no direction, and exert no friction.
        direction = displacement(graphs) / jnp.where(r > 0, r, 1)[:, None]
        opening = jnp.sum(direction * (v[graphs.receivers] - v[graphs.senders]), axis=1)
        mask = observable(graphs, self.cutoff)
        columns = jnp.where(mask[:, None], self.coefficients(r) * opening[:, None], 0)
        # One coordinate at a time: [e d K] would be the largest array of the fit.
        pulls = [-sum_over_edges(graphs, x[:, None] * columns) for x in direction.T]
        # No half: each directed edge acts on its receiver, and its reverse on the other body.
        return Gradient(momentum=jnp.stack(pulls, axis=1))

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        out = outside(distance(graphs), observable(graphs, self.cutoff), self.range)
        return pair_count(graphs, out)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.range


class PairFriction(AbstractTermSpec):
    r"""Friction between bodies, $\dot p_i = -\sum_j h(r_{ij})\, (u_{ij} \cdot (v_i - v_j))\,
    u_{ij}$, as of dashpots or in dissipative particle dynamics.

    h (mass / time) is a sum of random units of the distance and a constant. Positive values take
    energy from the bodies: see `model.power(graphs)`. The sum runs over the neighbours j that edges
    join to body i; u is the direction from j to i. Momentum and angular momentum are conserved.

    **Arguments:**

    - `units`: number of random units.
    - `cutoff`: distance at which h fades to zero (length); None for no cutoff.
    - `sampling`: distribution of their weights, `hgn.ELM()` or `hgn.SWIM()`.
    - `activation`: "tanh", "erf", "sigmoid", "sin" or "relu".
    - `nonnegative`: True keeps h from being negative: but for the cutoff it is then piecewise
        linear between `units + 1` equidistant distances, and its values there are zero or positive.
        Use it where h comes close to zero: where it does not, random units are more accurate.
        Standard deviations do not know of the bound.

    **Raises:** `ValueError` if `units` is less than 1, or for a cutoff that is not positive and
    finite. A fit raises it for data without edges, and a fit by `FrameCV` if `nonnegative`.
    """

    units: int = eqx.field(default=32, static=True)
    cutoff: float | None = eqx.field(default=None, static=True)
    sampling: AbstractSampling = ELM()
    activation: str = eqx.field(default="tanh", static=True)
    nonnegative: bool = eqx.field(default=False, static=True, kw_only=True)

    def __check_init__(self) -> None:
        whole_number("units", self.units, 1)
        if self.cutoff is not None and not 0 < self.cutoff < math.inf:
            raise ValueError(f"cutoff must be positive and finite, got {self.cutoff}")

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "PairFriction":
        return self

    def sample(
        self, key: Key, data: GraphsTuple, previous: Fitted | None = None
    ) -> PairFrictionFeatures:
        if not len(data.senders):
            raise ValueError("the data have no edges: leave PairFriction() out, or join bodies")
        r, mask = distance(data), observable(data, self.cutoff)
        layer: Dense | Hats = (
            Hats(spaced(extent(r, mask), self.units + 1))
            if self.nonnegative
            else self.sampling(key, r[:, None], mask, self.units, self.activation)
        )
        return PairFrictionFeatures(layer, up_to_cutoff(extent(r, mask), self.cutoff), self.cutoff)
