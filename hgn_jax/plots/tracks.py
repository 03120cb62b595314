"""Tracks of bodies, in the plane and in space."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .sources import Source, states_of
from .style import COLOURS, NEUTRAL, Units, colours, label, legend, panels

CIRCLES = 60
"""Circles per track at most."""


def tracks(
    path: Source,
    *,
    truth: Source | None = None,
    names: Sequence[str] | None = None,
    origin: int | None = None,
    zoom: float | int | None = None,
    plane: tuple[int, int] | None = None,
    units: Units = None,
) -> Figure:
    """Draws the way of every body: in two dimensions, in three, or against time in one.

    `truth`, such as the measured data, is drawn as circles. `origin` is the number of a body from
    which all positions are counted. `zoom` adds a panel for the bodies that stay within this
    distance of the origin. `plane` draws two coordinates of three, such as (0, 1).

    **Raises:** `ValueError` for positions in more than three dimensions without `plane`, or in one
    dimension for a truth without times that has more frames than the path.
    """
    states = states_of(path)
    q, d = states.position, states.position.shape[2]
    reference = None if truth is None else states_of(truth)
    true = q[:0] if reference is None else reference.position  # no frames, no circles
    if origin is not None:
        q, true = (a - a[:, origin, None] for a in (q, true))
    if plane is not None:
        q, true = (a[..., list(plane)] for a in (q, true))
    elif d > 3:
        raise ValueError(f"positions have {d} dimensions: choose two, such as plane=(0, 1)")
    solid = q.shape[2] == 3
    # Positions that are not finite, after a stop, count nowhere.
    far = np.nanmax(np.linalg.norm(q, axis=-1), axis=0) > (np.inf if zoom is None else zoom)
    if d == 1:
        timed = states if reference is None or reference.times is None else reference
        q, true = _against(states.axis, q), _against(timed.axis, true)
    words = _words(states.axis_name, d, plane, units)
    bodies = [i for i in range(q.shape[1]) if i != origin]
    groups = [bodies]
    if zoom is not None:
        groups = [[i for i in bodies if far[i] == side] for side in (False, True)]
    figure, axes = panels(1, len(groups), size=(0.8 + 4.6 * len(groups), 4.4),
                          subplot_kw={"projection": "3d"} if solid else {})  # fmt: skip
    for ax, group in zip(axes[0], groups):
        for i, colour in zip(group, colours(len(group))):
            name = f"body {i}" if names is None else names[i]
            _track(ax, q[:, i], true[:, i], colour, name)
        if origin is not None:
            ax.plot(*np.zeros((q.shape[2], 1)), "*", color=NEUTRAL, ms=12,
                    label=f"body {origin}" if names is None else names[origin])  # fmt: skip
        ax.set(**dict(zip(("xlabel", "ylabel", "zlabel"), words)))
        if d > 1:  # time has another unit than x
            ax.set_aspect("equal")
        if solid:
            ax.locator_params(nbins=4)  # more labels would overlap
        if len(group) <= 2 * len(COLOURS):
            legend(ax, loc="center left", bbox_to_anchor=(1.12 if solid else 1, 0.5))
    if len(true):
        axes[0, 0].set_title("lines: model, circles: reference", loc="left")
    return figure


def _against(axis: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Positions `[t n 1]` with their times in front, `[t n 2]`."""
    if len(x) > len(axis):
        raise ValueError(
            f"truth has {len(x)} frames, but path has {len(axis)}: give truth its own times"
        )
    return np.concatenate([np.broadcast_to(axis[: len(x), None, None], x.shape), x], axis=2)


def _track(ax: Any, line: np.ndarray, circles: np.ndarray, colour: Any, name: str) -> None:
    ax.plot(*line.T, lw=1.3, color=colour, label=name)
    if not len(circles):
        ax.plot(*line[-1:].T, "o", ms=6, color=colour)
    else:
        few = circles[:: max(1, len(circles) // CIRCLES)]
        ax.plot(*few.T, "o", ms=4, mfc="none", mew=0.9, color=colour)


def _words(time: str, d: int, plane: tuple[int, int] | None, units: Units) -> list[str]:
    """Labels of the axes."""
    if d == 1:
        return [label(time, "time" if time == "time" else "", units), label("x", "length", units)]
    names = [("xyz"[k] if d <= 3 else f"coordinate {k}") for k in (plane or range(d))]
    return [label(name, "length", units) for name in names]
