"""Sources of figures: states over time, from rollouts, data sets or plain arrays."""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import ArrayLike
from jraph import GraphsTuple

from ..dynamics.trajectory import Trajectory
from ..fitting.result import Fit
from ..graphs.padding import without_padding
from ..graphs.selection import take
from ..models.base import AbstractModel

Learned: TypeAlias = Fit | AbstractModel
Source: TypeAlias = Trajectory | GraphsTuple | ArrayLike
"""A rollout, a data set (of several trajectories the first), or positions `[t n d]`."""


class States(NamedTuple):
    """States of n bodies at t times, as NumPy arrays."""

    times: np.ndarray | None
    """None if they are not known."""
    position: np.ndarray
    momentum: np.ndarray | None
    graph: GraphsTuple | None
    """One graph of the same bodies: masses, species, cell, edges."""

    @property
    def axis(self) -> np.ndarray:
        """The times, or the numbers of the frames."""
        return np.arange(len(self.position)) if self.times is None else self.times

    @property
    def axis_name(self) -> str:
        return "frame" if self.times is None else "time"


def model_of(source: Learned) -> AbstractModel:
    return source.model if isinstance(source, Fit) else source


def states_of(source: Source) -> States:
    """The states of a rollout, of the first trajectory of a data set, or of positions alone.

    **Raises:** `ValueError` if a rollout left out its states, if frames have different numbers of
    bodies, or if positions are not `[t n d]`.
    """
    if isinstance(source, Trajectory):
        if not len(source.position):
            raise ValueError(
                "the rollout left out its states: call rollout(..., states=True) for this picture"
            )
        momentum = np.asarray(source.momentum) if len(source.momentum) else None
        return States(np.asarray(source.times), np.asarray(source.position), momentum, source.end)
    if isinstance(source, GraphsTuple):
        return _of_frames(first_trajectory(source))
    position = np.asarray(source)
    if position.ndim != 3:
        raise ValueError(f"positions must be [t n d], got {position.shape}")
    return States(None, position, None, None)


def first_trajectory(data: GraphsTuple) -> GraphsTuple:
    """The frames of the first trajectory; all frames if they are not numbered."""
    data = without_padding(data)
    if "trajectory" not in data.globals:
        return data
    trajectory = np.asarray(data.globals["trajectory"])
    return take(data, trajectory == trajectory[0])


def _of_frames(data: GraphsTuple) -> States:
    sizes = np.unique(np.asarray(data.n_node))
    if len(sizes) != 1:
        raise ValueError(
            f"frames have {sizes.min()} to {sizes.max()} bodies: choose frames of the same bodies "
            "with hgn.graphs.take"
        )
    t, n = len(data.n_node), int(sizes[0])
    arrays = {k: np.asarray(v) for k, v in data.nodes.items() if k in ("position", "momentum")}
    by_frame = {name: array.reshape(t, n, -1) for name, array in arrays.items()}
    times = np.asarray(data.globals["time"]) if "time" in data.globals else None
    return States(
        times, by_frame["position"], by_frame.get("momentum"), take(data, np.arange(t) == 0)
    )
