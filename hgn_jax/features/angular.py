"""Potential energy of bodies whose coordinates are angles: pendulums, rotors."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._types import Key
from ..graphs.geometry import movable
from .base import AbstractTermSpec, Fitted
from .dense import Dense
from .sampling import ELM, AbstractSampling
from .site_energy import AbstractSiteColumns
from .sites import Positions, Site
from .trained_range import box_of, count_outside_box


class AngularFeatures(AbstractSiteColumns):
    r"""$V = \sum_i f(\cos q_i, \sin q_i)$ with random units f and the exact columns
    $\cos q_{ia}$, $\sin q_{ia}$ of every coordinate a.

    The exact columns are a uniform field: gravity on a pendulum.
    """

    name: ClassVar[str] = "angular"
    sites: ClassVar[Any] = Positions()
    reach: ClassVar[float] = 0.0
    layer: Dense | None
    box: Float[Array, "d 2"]
    """Least and greatest angle in training, between -pi and pi."""

    @property
    def dimension(self) -> int | None:
        return int(self.box.shape[-2])

    def phi(self, z: Float[Array, " d"], site: Site) -> Float[Array, " K"]:
        point = on_circles(z[None])  # a layer takes rows of inputs
        units = point[:, :0] if self.layer is None else self.layer(point)
        return jnp.concatenate([units, point], axis=1)[0]

    def groups(self, columns: int) -> tuple[int, ...]:
        """Random units, and the exact columns."""
        # From the back: models stacked by vmap have an axis of members in front.
        exact = 2 * self.box.shape[-2]
        return columns - exact, exact

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        # Angles of a rollout may hold full turns, which do not change the energy.
        return count_outside_box(
            graphs, wrapped(graphs.nodes["position"]), movable(graphs), self.box
        )

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
        return AngularFeatures(layer, box_of(wrapped(q), mask))  # angles, not cosines


def on_circles(angles: Float[Array, "n d"]) -> Float[Array, "n _"]:
    """Cosines and sines of angles, `[n 2d]`."""
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=1)


def wrapped(angles: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Angles between -pi and pi."""
    return jnp.arctan2(jnp.sin(angles), jnp.cos(angles))
