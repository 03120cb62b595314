"""Measured states beside the states without noise."""

from typing import Any

import numpy as np
from jraph import GraphsTuple
from matplotlib.figure import Figure

from ..graphs.schema import require
from .sources import first_trajectory
from .style import LEARNED, NEUTRAL, TRUE, Units, label, legend, panels


def denoised(
    data: GraphsTuple,
    calm: GraphsTuple,
    *,
    truth: GraphsTuple | None = None,
    body: int = 0,
    units: Units = None,
) -> Figure:
    """Draws the measured states of one body, those of `calm = hgn.smooth(model, data)`, and their
    difference, which is the noise; for each coordinate of the first trajectory.

    Interpolated values, where nothing was measured, are left out. With a `truth` its difference to
    `calm` is drawn, too: what is left of the noise.

    **Raises:** `ValueError` if the data sets have different frames.
    """
    sets = {"data": data, "calm": calm} | ({} if truth is None else {"truth": truth})
    for name, graphs in sets.items():
        require(graphs, {"globals": ["time"]}, f"{name} of denoised")
    frames = {name: first_trajectory(graphs) for name, graphs in sets.items()}
    if len({len(graphs.n_node) for graphs in frames.values()}) > 1:
        counts = ", ".join(f"{name} {len(g.n_node)}" for name, g in frames.items())
        raise ValueError(f"frames of the first trajectory differ in number: {counts}")
    arrays = [name for name in ("position", "momentum") if name in data.nodes]
    d = data.nodes["position"].shape[1]
    figure, axes = panels(2 * len(arrays), d, size=(1.5 + 3.8 * d, 3.6 * len(arrays)), sharex=True,
                          height_ratios=(3, 2) * len(arrays))  # fmt: skip
    times = np.asarray(frames["data"].globals["time"])
    for row, name in enumerate(arrays):
        measured, smooth, true = (
            _of_body(frames[s if s in frames else "calm"], name, body)  # without a truth not drawn
            for s in ("data", "calm", "truth")
        )
        mask = _seen(frames["data"], name, body)
        quantity = "length" if name == "position" else "momentum"
        for k in range(d):
            above, below = axes[2 * row : 2 * row + 2, k]
            above.plot(times[mask], measured[mask, k], "o", ms=4, color=TRUE, alpha=0.7,
                       label="measured")  # fmt: skip
            above.plot(times, smooth[:, k], lw=1.4, color=LEARNED, label="without noise")
            below.axhline(0, color=LEARNED, lw=1.4)
            below.plot(times[mask], (measured - smooth)[mask, k], "o", ms=4, color=TRUE, alpha=0.7)
            if truth is not None:
                below.plot(times, (true - smooth)[:, k], lw=1.6, color=NEUTRAL, label="truth")
            axis = "xyz"[k] if d <= 3 else str(k)
            above.set_ylabel(label(f"{name} {axis}", quantity, units))
            below.set_ylabel("difference")
    _finish(axes, body, truth is not None, label("time", "time", units))
    return figure


def _finish(axes: np.ndarray, body: int, truth: bool, words: str) -> None:
    axes[0, 0].set_title(f"body {body}", loc="left")
    legend(axes[0, -1])
    if truth:
        legend(axes[1, -1])
    for ax in axes[-1]:
        ax.set_xlabel(words)


def _of_body(frames: GraphsTuple, name: str, body: int) -> np.ndarray:
    t = len(frames.n_node)
    return np.asarray(frames.nodes[name]).reshape(t, -1, frames.nodes[name].shape[1])[:, body]


def _seen(frames: GraphsTuple, name: str, body: int) -> Any:
    """Frames in which that array of the body was measured."""
    measured = frames.nodes.get(f"{name}_measured")
    t = len(frames.n_node)
    return np.ones(t, bool) if measured is None else np.asarray(measured).reshape(t, -1)[:, body]
