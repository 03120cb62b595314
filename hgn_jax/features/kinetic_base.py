"""Base of kinetic energies: sums over bodies of functions of their speed."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from ..graphs.geometry import movable, norm, sum_over_graphs, velocity_of
from .base import AbstractEnergy, Counts
from .trained_range import outside


class AbstractKineticFeatures(AbstractEnergy):
    r"""$T = \sum_i m_i f(|v_i|^2)$ with $v_i = p_i / m_i$, where f vanishes at rest."""

    name: ClassVar[str] = "kinetic"
    depends_on: ClassVar[tuple[str, ...]] = ("momentum",)
    needs: ClassVar[tuple[str, ...]] = ("mass",)
    speed_range: eqx.AbstractVar[Float[Array, " 2"]]
    """Least and greatest speed in training (length / time)."""

    @property
    def dimension(self) -> int | None:
        return None

    @property
    def reach(self) -> float:
        return 0.0

    @property
    def counts(self) -> Counts:
        return Counts()

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        # Slower bodies than in training do not count: all columns vanish at rest.
        speeds = self.speed_range.at[0].min(0)
        too_fast = outside(norm(velocity_of(graphs)), movable(graphs), speeds)
        return sum_over_graphs(graphs, too_fast.astype(jnp.int32))

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.speed_range
