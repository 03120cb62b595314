"""Measured states without their noise, given a model."""

import math
import warnings
from collections.abc import Iterator

import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from ..graphs.padding import without_padding
from ..graphs.schema import require
from ..graphs.validate import check
from ..models.base import AbstractModel
from .gauss_newton import changed, eliminated, equations_of
from .growth import ACCEPTED, SIZES, Growth, Stage, chi, follows
from .noise import noise_of_state
from .unknowns import Mover
from .windows import Windows, trajectories_of


def smooth(model: AbstractModel, data: GraphsTuple) -> GraphsTuple:
    """The states of a model's own motion that fit measured states best.

    Starts of windows are found by Gauss-Newton steps as in `hgn.refine`, with the model held:
    windows of 5 frames, then 10, 20 and whole trajectories, as long as the residual stays below 1.2
    times the noise, or grows no faster than the root of the window's length.

    **Arguments:**

    - `model`: a learned or known model.
    - `data`: measured states, as `hgn.graphs.from_trajectories(..., rates=False)` gives them: all
        trajectories of one system. Momenta may be missing. Concrete arrays only.

    **Returns:** the data with the states of the motion. Arrays of the state that were not measured
    are there, too; `position_measured` and `momentum_measured` are gone. Frames alone between two
    gaps stay as they are. Padding is dropped.

    Warns if even short windows leave more than 1.2 times the noise.

    **Raises:** `ValueError` for bad data, or trajectories of different systems or of bodies with an
    axis. `RuntimeError` if the motion is not finite even over the shortest windows.
    """
    check(data)
    names = model.dynamics.state
    require(data, {"globals": ["time", "trajectory"]}, "smooth")
    data = without_padding(data)
    states, before, frames = None, math.inf, 1
    for stage, residual in followed(model, data, SIZES):
        if not follows(residual, stage.frames, before, frames):
            break
        states, before, frames = stage.states, residual, stage.frames
    if states is None:
        raise RuntimeError("smooth could not follow the states: the motion is not finite")
    if before > ACCEPTED:
        warnings.warn(
            f"the motion of the model leaves {before:.2g} times the noise: a term is missing, or "
            "the noise was underestimated",
            stacklevel=2,
        )
    shape = data.nodes["position"].shape
    by_array = states.reshape(len(data.n_node), len(names), -1)
    arrays = {name: by_array[:, k].reshape(shape) for k, name in enumerate(names)}
    kept = {k: v for k, v in data.nodes.items() if not k.endswith("_measured")}
    return data._replace(nodes=kept | arrays)


def followed(
    model: AbstractModel, data: GraphsTuple, sizes: tuple[int, ...]
) -> Iterator[tuple[Stage, float]]:
    """The best motion over windows of these sizes and of whole trajectories, and its residual over
    the noise."""
    names = model.dynamics.state
    trajectories = trajectories_of(data, names)
    growth = Growth(trajectories, noise_of_state(data, names), model, trajectories.state)

    def propose(
        model: Mover, starts: Float[Array, "f D"], windows: Windows, substeps: int
    ) -> tuple[Mover, Float[Array, "f D"]]:
        noise = jnp.asarray(growth.noise, starts.dtype)
        count = jnp.asarray(substeps, jnp.int32)
        each = equations_of(
            model, trajectories, windows.begins, starts, noise, count, by_theta=False
        )
        nothing = jnp.zeros(0, starts.dtype)  # no coefficients
        return model, changed(starts, windows, eliminated(each, windows), nothing)

    for stage in growth.stages(propose, sizes):
        spare = growth.rows(stage.windows)
        yield stage, chi(stage, spare)
        growth.lower_noise(stage, spare)  # before the next stage
