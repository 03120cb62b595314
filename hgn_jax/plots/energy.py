"""Energy over time."""

from collections.abc import Mapping

import numpy as np
from jraph import GraphsTuple
from matplotlib.figure import Figure

from ..dynamics.trajectory import Trajectory
from ..graphs.schema import require
from .sources import first_trajectory
from .style import Units, colours, label, panels


def energy(
    paths: Trajectory | GraphsTuple | Mapping[str, Trajectory | GraphsTuple], *, units: Units = None
) -> Figure:
    """Draws the relative change of the energy over time, in a panel for each named rollout.

    For a data set it is `globals["energy"]` of the first trajectory, for a batch of several graphs
    the sum. An energy that starts at zero is drawn as it is.
    """
    named = paths if isinstance(paths, Mapping) else {"": paths}
    count = len(named)
    figure, axes = panels(count, 1, size=(7, 1.0 + 2.0 * count), sharex=True, sharey=True)
    for ax, (name, path), colour in zip(axes[:, 0], named.items(), colours(count)):
        times, values = _series(path)
        first = values[0]
        # The absolute value, so that a negative energy that grows is drawn upwards.
        change = (values - first) / abs(first) if first else values
        ax.plot(times, change, lw=1.2, color=colour)
        # A rollout without a name leaves no colon.
        ax.set_title(f"{name}: energy {first:.6g} at the start".lstrip(": "), loc="left")
        ax.set_ylabel(r"$(H - H_0) / |H_0|$" if first else label("H", "energy", units))
        ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes[-1, 0].set_xlabel(label("time", "time", units))
    return figure


def _series(path: Trajectory | GraphsTuple) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(path, Trajectory):
        values = np.asarray(path.energy)
        return np.asarray(path.times), values.reshape(len(values), -1).sum(axis=1)
    require(path, {"globals": ["energy", "time"]}, "the energy over time")
    frames = first_trajectory(path)
    return np.asarray(frames.globals["time"]), np.asarray(frames.globals["energy"])
