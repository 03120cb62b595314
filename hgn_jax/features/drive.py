"""Forces that depend on time alone, on bodies that are named."""

import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._tree import is_concrete
from .._types import Gradient, GraphScalars, Key
from ..graphs.geometry import graph_index, graph_mask
from .base import AbstractRates, AbstractTermSpec, Fitted
from .trained_range import extent, outside


class DriveFeatures(AbstractRates):
    r"""$\dot p_i = F_i(t)$ for the driven bodies: waves of given angular frequencies, and a
    constant, for every component of the force on each of them."""

    name: ClassVar[str] = "drive"
    separable: ClassVar[bool] = True
    moves: ClassVar[tuple[str, ...]] = ("momentum",)
    reach: ClassVar[float] = 0.0
    dimension: ClassVar[int | None] = None
    time_dependent: ClassVar[bool] = True
    frequency: Float[Array, " W"]
    """Angular frequencies (1 / time)."""
    time_range: Float[Array, " 2"]
    """Least and greatest time in training."""
    bodies: tuple[int, ...] = eqx.field(static=True)
    """Numbers of the driven bodies in every graph."""
    periodic: bool = eqx.field(static=True)
    """True if the force repeats, so that it is known at all times."""

    def waves(self, time: GraphScalars) -> Float[Array, "g _"]:
        """Cosines, sines and the constant at these times."""
        # From the first time on: phases of late times would lose digits.
        angle = (time - self.time_range[0])[:, None] * self.frequency[None]
        return jnp.concatenate(
            [jnp.cos(angle), jnp.sin(angle), jnp.ones_like(angle[:, :1])], axis=1
        )

    def __call__(self, graphs: GraphsTuple) -> Gradient:
        n, d = graphs.nodes["position"].shape
        index = graph_index(graphs)
        # Bodies are named by their number in their own graph.
        number = jnp.arange(n, dtype=jnp.int32) - (jnp.cumsum(graphs.n_node) - graphs.n_node)[index]
        dtype = graphs.nodes["position"].dtype
        driven = (number[:, None] == jnp.asarray(self.bodies, number.dtype)[None]).astype(dtype)
        axes, waves = jnp.eye(d, dtype=dtype), self.waves(graphs.globals["time"])[index]
        # x is the component of the row. A column is a body b, a component y and a wave w.
        columns = jnp.einsum("nb,xy,nw->nxbyw", driven, axes, waves)
        return Gradient(momentum=columns.reshape(n, d, -1))

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        if self.periodic:
            return jnp.zeros(graphs.n_node.shape, jnp.int32)
        out = outside(graphs.globals["time"], graph_mask(graphs), self.time_range)
        return out.astype(jnp.int32)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.time_range


class Drive(AbstractTermSpec):
    r"""A force F(t) of time alone on named bodies, from `globals["time"]`.

    With a `period` it is a Fourier series, $F(t) = a_0 + \sum_n a_n \cos(2 \pi n t / T) + b_n
    \sin(2 \pi n t / T)$, and known at all times. Otherwise it is a sum of waves whose angular
    frequencies are drawn uniformly up to `bandwidth`, and unknown outside of the times of training:
    rollouts there count as out of range.

    The mean of F and a uniform field of `External` cannot be told apart if all bodies are driven.

    **Arguments:**

    - `bodies`: numbers of the driven bodies in every graph, counted from 0.
    - `period`: T (time), if the force repeats.
    - `bandwidth`: greatest angular frequency (1 / time). By default $\pi / 4 \Delta t$, eight
        samples per period at the median step of the data.
    - `units`: number of frequencies; with a period, of multiples n.

    **Raises:** `ValueError` if no body is named, for numbers out of range, or a `period` together
    with a `bandwidth`.
    """

    bodies: tuple[int, ...] = eqx.field(converter=tuple, static=True)
    period: float | None = eqx.field(default=None, static=True, kw_only=True)
    bandwidth: float | None = eqx.field(default=None, static=True, kw_only=True)
    units: int = eqx.field(default=16, static=True, kw_only=True)

    def __check_init__(self) -> None:
        whole_number("units", self.units, 1)
        if not self.bodies or len(set(self.bodies)) != len(self.bodies):
            raise ValueError(f"bodies must name different bodies, got {self.bodies}")
        for body in self.bodies:
            whole_number("bodies", body, 0)
        if self.period is not None and self.bandwidth is not None:
            raise ValueError("give a period or a bandwidth, not both")
        for name in ("period", "bandwidth"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "Drive":
        if is_concrete(data.n_node):
            # Without any graph `least` exceeds every number, and nothing is refused.
            sizes = np.asarray(data.n_node)[np.asarray(graph_mask(data))]
            least = int(sizes[sizes > 0].min(initial=np.iinfo(np.int32).max))
            if max(self.bodies) >= least:
                raise ValueError(
                    f"Drive(bodies={self.bodies}): a graph of the data has only {least} bodies, "
                    "which are counted from 0"
                )
        if "time" in data.globals and is_concrete(data.globals["time"]):
            _, real = _steps(data)
            if self.period is None and self.bandwidth is None and not np.asarray(real).any():
                raise ValueError(
                    "Drive() takes its frequencies from the step between frames, but no trajectory "
                    "has two frames at increasing times: give bandwidth= or period="
                )
        return self

    def sample(self, key: Key, data: GraphsTuple, previous: Fitted | None = None) -> DriveFeatures:
        if "time" not in data.globals:
            raise ValueError('Drive() needs globals["time"]: the time of every graph')
        time = data.globals["time"]
        if self.period is not None:
            frequency = 2 * jnp.pi / self.period * jnp.arange(1, self.units + 1, dtype=time.dtype)
        else:
            widest = _resolved(data) if self.bandwidth is None else self.bandwidth
            frequency = widest * jr.uniform(key, (self.units,), time.dtype)
        return DriveFeatures(
            frequency, extent(time, graph_mask(data)), self.bodies, self.period is not None
        )


def _resolved(data: GraphsTuple) -> Float[Array, ""]:
    """Angular frequency with eight samples per period at the median step between graphs."""
    step, real = _steps(data)
    # NaN is left out by the median: a selection would have a shape that jit cannot know.
    return jnp.pi / 4 / jnp.nanmedian(jnp.where(real, step, jnp.nan))


def _steps(data: GraphsTuple) -> tuple[Float[Array, " _"], Bool[Array, " _"]]:
    """Differences between the times of consecutive graphs, and which are steps of a trajectory."""
    step = jnp.diff(data.globals["time"])
    # Between trajectories time falls back to the start, or jumps, which is no step.
    real = graph_mask(data)[1:] & (step > 0)
    if "trajectory" in data.globals:
        real &= jnp.diff(data.globals["trajectory"]) == 0
    return step, real
