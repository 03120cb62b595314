"""Friction of each body with its surroundings."""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._types import Gradient, Key
from ..graphs.geometry import movable, norm, sum_over_graphs, velocity_of
from ..graphs.species import species_of
from .base import AbstractRates, AbstractTermSpec, Fitted
from .dense import Dense
from .hats import Hats, in_words
from .sampling import ELM, AbstractSampling
from .trained_range import extent, outside, spaced


class FrictionFeatures(AbstractRates):
    r"""$\dot p_i = -g(|v_i|)\, v_i$ with random units g, the last one constant, or hats.

    Each species has a function g of its own.
    """

    name: ClassVar[str] = "friction"
    separable: ClassVar[bool] = False
    moves: ClassVar[tuple[str, ...]] = ("momentum",)
    reach: ClassVar[float] = 0.0
    dimension: ClassVar[int | None] = None
    needs: ClassVar[tuple[str, ...]] = ("momentum", "mass")
    layer: Dense | Hats | None
    speed_range: Float[Array, " 2"]
    species: tuple[int, ...] = eqx.field(static=True)

    def coefficients(self, speed: Float[Array, " s"]) -> Float[Array, "s _"]:
        """Units g at these speeds (mass / time for coefficients theta)."""
        if isinstance(self.layer, Hats):
            return self.layer(speed[:, None])  # hats add up to one, so that they hold the constant
        columns = [jnp.ones_like(speed)[:, None]]
        if self.layer is not None:
            columns.insert(0, self.layer(speed[:, None]))
        return jnp.concatenate(columns, axis=1)

    @property
    def nonnegative(self) -> bool:
        return isinstance(self.layer, Hats)

    def remarks(self, theta: Float[Array, " K"]) -> tuple[str, ...]:
        speed = spaced(self.speed_range, 100)
        # Columns are ordered by species, as `__call__` concatenates them.
        own = theta.reshape(max(1, len(self.species)), -1)
        return (in_words("coefficient of friction", speed, self.coefficients(speed) @ own.T),)

    def __call__(self, graphs: GraphsTuple) -> Gradient:
        velocity = velocity_of(graphs)
        columns = self.coefficients(norm(velocity))
        if self.species:
            own = [graphs.nodes["species"] == s for s in self.species]
            columns = jnp.concatenate([jnp.where(o[:, None], columns, 0) for o in own], axis=1)
        return Gradient(momentum=-velocity[:, :, None] * columns[:, None])

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        # From 0 on: whatever g is at low speeds, the force vanishes at rest.
        fast = outside(norm(velocity_of(graphs)), movable(graphs), self.speed_range.at[0].set(0))
        return sum_over_graphs(graphs, fast.astype(jnp.int32))

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.speed_range

    def accepts(self, graphs: GraphsTuple) -> None:
        if self.species and (unknown := sorted(set(species_of(graphs)) - set(self.species))):
            raise ValueError(
                f"the friction was sampled for species {list(self.species)}, but the data also "
                f"have {unknown}"
            )


class Friction(AbstractTermSpec):
    r"""Friction with the surroundings, $\dot p_i = -g(|v_i|)\, v_i$ with $v_i = p_i / m_i$.

    g (mass / time) is a sum of random units of the speed and a constant, which alone is Stokes
    friction. Each species of the data has a function g of its own. A positive g takes energy from
    the bodies: `model.power(graphs)` tells how much.

    **Arguments:**

    - `units`: number of random units; with 0 only the constant is left.
    - `sampling`: distribution of their weights, `hgn.ELM()` or `hgn.SWIM()`.
    - `activation`: "tanh", "erf", "sigmoid", "sin" or "relu".
    - `nonnegative`: True keeps g from being negative: it is then piecewise linear between
        `units + 1` equidistant speeds, and its values there are zero or positive. Use it where g
        comes close to zero: where it does not, random units are more accurate. Standard deviations
        do not know of the bound.

    **Raises:** `ValueError` if `units` is negative. A fit by `FrameCV` raises it if `nonnegative`.
    """

    units: int = eqx.field(default=12, static=True)
    sampling: AbstractSampling = ELM()
    activation: str = eqx.field(default="tanh", static=True)
    nonnegative: bool = eqx.field(default=False, static=True, kw_only=True)
    species: tuple[int, ...] | None = eqx.field(default=None, static=True)

    def __check_init__(self) -> None:
        whole_number("units", self.units, 0)

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "Friction":
        if self.species is not None:
            return self
        return dataclasses.replace(self, species=species_of(data))

    def sample(
        self, key: Key, data: GraphsTuple, previous: Fitted | None = None
    ) -> FrictionFeatures:
        speed, mask = norm(velocity_of(data)), movable(data)
        layer: Dense | Hats | None = None
        if self.nonnegative:
            layer = Hats(spaced(extent(speed, mask), self.units + 1))
        elif self.units:
            layer = self.sampling(key, speed[:, None], mask, self.units, self.activation)
        return FrictionFeatures(layer, extent(speed, mask), self.species or ())
