"""Magnetic force on moving charges."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._types import Gradient, Key
from ..graphs.geometry import movable, velocity_of
from .base import AbstractRates, AbstractTermSpec, Fitted
from .dense import Dense
from .sampling import ELM, AbstractSampling
from .trained_range import box_of, count_outside_box


class MagneticFeatures(AbstractRates):
    r"""$\dot p_i = c_i\, v_i \times B(q_i)$ with $p_i = m_i v_i$ and charges c.

    In two dimensions B is a number, a sum of random units of the position and a constant. In three
    $B = \nabla \phi \times e$ for units $\phi$ with a random direction e each, which has no
    divergence, and a uniform field. The force does no work.
    """

    name: ClassVar[str] = "magnetic"
    separable: ClassVar[bool] = False
    moves: ClassVar[tuple[str, ...]] = ("momentum",)
    reach: ClassVar[float] = 0.0
    needs: ClassVar[tuple[str, ...]] = ("momentum", "mass")
    layer: Dense | None
    direction: Float[Array, "3 K"] | None
    """Unit vectors e; None in two dimensions."""
    box: Float[Array, "d 2"]
    """Least and greatest coordinate in training (length)."""

    @property
    def dimension(self) -> int | None:
        return int(self.box.shape[-2])

    def field(self, position: Float[Array, "s d"]) -> Float[Array, "s c _"]:
        """Columns of B at these positions: one component in two dimensions, three in three."""
        dtype, s = position.dtype, len(position)
        if self.dimension == 2:
            columns = [jnp.ones((s, 1, 1), dtype)]  # the uniform field
            if self.layer is not None:
                columns.append(self.layer(position)[:, None])
        else:
            columns = [jnp.broadcast_to(jnp.eye(3, dtype=dtype), (s, 3, 3))]
            if self.layer is not None and self.direction is not None:
                # div(grad phi x e) = e . curl(grad phi) = 0, whatever the coefficients.
                columns.append(_cross(self.layer.jacobian(position), self.direction[None]))
        return jnp.concatenate(columns, axis=2)

    def __call__(self, graphs: GraphsTuple) -> Gradient:
        field, v = self.field(graphs.nodes["position"]), velocity_of(graphs)
        if "charge" in graphs.nodes:
            v = v * graphs.nodes["charge"][:, None]
        if self.dimension == 2:
            turned = jnp.stack([v[:, 1], -v[:, 0]], axis=1)  # v x (0, 0, 1)
            return Gradient(momentum=turned[:, :, None] * field)
        # Each column is orthogonal to v, so that no coefficient gives the force power.
        return Gradient(momentum=_cross(v[:, :, None], field))

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return count_outside_box(graphs, graphs.nodes["position"], movable(graphs), self.box)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.box


class Magnetic(AbstractTermSpec):
    r"""The magnetic force $\dot p_i = c_i\, v_i \times B(q_i)$ on charges c, with
    $p_i = m_i v_i$: momenta are those of motion, not canonical ones.

    B is learned as a uniform field and random units of the position. In three dimensions it has no
    divergence by construction; in two it is a number, the component out of the plane. Charges are
    `nodes["charge"]`, one if absent. The force does no work, and energies stay those of the other
    terms.

    **Arguments:**

    - `units`: number of random units; with 0 the field is uniform.
    - `sampling`: distribution of their weights, `hgn.ELM()` or `hgn.SWIM()`.
    - `activation`: "tanh", "erf", "sigmoid", "sin" or "relu".

    **Raises:** `ValueError` if `units` is negative. A fit raises it for data in other than two or
    three dimensions.
    """

    units: int = eqx.field(default=64, static=True)
    sampling: AbstractSampling = ELM()
    activation: str = eqx.field(default="tanh", static=True)

    def __check_init__(self) -> None:
        whole_number("units", self.units, 0)

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "Magnetic":
        d = data.nodes["position"].shape[1]
        if d not in (2, 3):
            raise ValueError(f"Magnetic() is for 2 or 3 dimensions, but the data have {d}")
        return self

    def sample(
        self, key: Key, data: GraphsTuple, previous: Fitted | None = None
    ) -> MagneticFeatures:
        x, mask = data.nodes["position"], movable(data)
        d, layer, direction = x.shape[1], None, None
        draw, turn = jr.split(key)
        if self.units:
            layer = self.sampling(draw, x, mask, self.units, self.activation)
            if d == 3:
                # Normal vectors, normalised, are uniform on the sphere.
                direction = jr.normal(turn, (3, self.units), x.dtype)
                direction /= jnp.sqrt(jnp.sum(direction**2, axis=0, keepdims=True))
        return MagneticFeatures(layer, direction, box_of(x, mask))


def _cross(a: Float[Array, "_ 3 _"], b: Float[Array, "_ 3 _"]) -> Float[Array, "_ 3 _"]:
    return jnp.stack(
        [a[:, i] * b[:, j] - a[:, j] * b[:, i] for i, j in ((1, 2), (2, 0), (0, 1))], axis=1
    )
