"""Potential energy of bodies whose coordinates are angles: pendulums, rotors."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._types import Gradient, Key, NodeScalars
from ..graphs.geometry import movable, node_mask, sum_over_graphs
from .base import AbstractEnergy, AbstractTermSpec, Counts, Fitted, differentiated
from .dense import Dense
from .sampling import ELM, AbstractSampling
from .trained_range import extent, outside


class AngularFeatures(AbstractEnergy):
    r"""$V = \sum_i f(\cos q_i, \sin q_i)$ with random units f and the exact columns
    $\cos q_{ia}$, $\sin q_{ia}$ of every coordinate a.

    The exact columns are a uniform field: gravity on a pendulum.
    """

    name: ClassVar[str] = "angular"
    depends_on: ClassVar[tuple[str, ...]] = ("position",)
    needs: ClassVar[tuple[str, ...]] = ()
    layer: Dense | None
    box: Float[Array, "d 2"]
    """Least and greatest angle in training (rad)."""

    @property
    def dimension(self) -> int | None:
        return int(self.box.shape[-2])

    @property
    def reach(self) -> float:
        return 0.0

    @property
    def counts(self) -> Counts:
        return Counts(bodies=True)

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        return sum_over_graphs(graphs, self._values(graphs))

    def _values(self, graphs: GraphsTuple) -> Float[Array, "n K"]:
        point = on_circles(graphs.nodes["position"])
        units = point[:, :0] if self.layer is None else self.layer(point)
        return jnp.where(node_mask(graphs)[:, None], jnp.concatenate([units, point], axis=1), 0)

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        q = graphs.nodes["position"]
        point, unit = on_circles(q), jnp.eye(q.shape[1], dtype=q.dtype)[None]
        # Derivatives of [cos q, sin q] with respect to q, [n d 2d].
        inner = jnp.concatenate([-unit * jnp.sin(q)[:, None], unit * jnp.cos(q)[:, None]], axis=2)
        columns = inner
        if self.layer is not None:
            columns = jnp.concatenate([inner @ self.layer.jacobian(point), inner], axis=2)
        return Gradient(position=jnp.where(node_mask(graphs)[:, None, None], columns, 0))

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        return self._values(graphs) @ theta

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        return differentiated(self, graphs, theta)

    def groups(self, columns: int) -> tuple[int, ...]:
        """Random units, and the exact columns."""
        exact = 2 * self.box.shape[-2]
        return columns - exact, exact

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        q, mask = graphs.nodes["position"], movable(graphs)
        out = [outside(q[:, k], mask, self.box[k]) for k in range(q.shape[1])]
        return sum_over_graphs(graphs, jnp.any(jnp.stack(out), axis=0).astype(jnp.int32))

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.box


class Angular(AbstractTermSpec):
    r"""Potential energy of bodies whose coordinates are angles,
    $V = \sum_i f(\cos q_i, \sin q_i)$.

    `position` holds angles (rad), `momentum` the momenta conjugate to them, and `mass` moments of
    inertia. f is a sum of random units of the cosines and sines of all d angles of a body, so it is
    the same after a full turn, and of exact columns $\cos q_{ia}$, $\sin q_{ia}$, which alone are
    gravity on a rigid pendulum. All bodies have the same f.

    **Arguments:**

    - `units`: number of random units; with 0 only the exact columns are left.
    - `sampling`: distribution of their weights, `hgn.ELM()` or `hgn.SWIM()`.
    - `activation`: "tanh", "erf", "sigmoid", "sin" or "relu", whose forces jump.

    **Raises:** `ValueError` if `units` is negative.
    """

    units: int = eqx.field(default=16, static=True)
    sampling: AbstractSampling = ELM()
    activation: str = eqx.field(default="tanh", static=True)

    def __check_init__(self) -> None:
        whole_number("units", self.units, 0)

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "Angular":
        return self

    def sample(
        self, key: Key, data: GraphsTuple, previous: Fitted | None = None
    ) -> AngularFeatures:
        q, mask, layer = data.nodes["position"], movable(data), None
        if self.units:
            layer = self.sampling(key, on_circles(q), mask, self.units, self.activation)
        box = jnp.stack([extent(q[:, k], mask) for k in range(q.shape[1])])
        return AngularFeatures(layer, box)


def on_circles(angles: Float[Array, "n d"]) -> Float[Array, "n _"]:
    """Cosines and sines of angles, `[n 2d]`."""
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=1)
