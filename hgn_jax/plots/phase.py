"""Phase portraits."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .sources import Source, States, states_of
from .style import Units, colours, label, legend, panels

AXES = "xyz"
SHOWN = 7
"""Bodies drawn if none are chosen, and the most that a legend names."""


def phase(
    path: Source,
    *,
    truth: Source | None = None,
    bodies: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    units: Units = None,
) -> Figure:
    """Draws momentum against position, in a panel for each coordinate, a line for each body.

    `truth`, such as the measured data, is drawn as circles. `bodies` are the numbers of the bodies
    to draw, the first seven if None; `names` are those of all bodies.

    **Raises:** `ValueError` if the states have no momenta.
    """
    drawn, true = states_of(path), None if truth is None else states_of(truth)
    q, p = _portrait(drawn)
    chosen = list(range(min(q.shape[1], SHOWN))) if bodies is None else list(bodies)
    d = q.shape[2]
    figure, axes = panels(1, d, size=(1.2 + 3.2 * d, 3.4))
    for k, ax in enumerate(axes[0]):
        for i, colour in zip(chosen, colours(len(chosen))):
            name = f"body {i}" if names is None else names[i]
            ax.plot(q[:, i, k], p[:, i, k], lw=1.3, color=colour, label=name)
            if true is not None:
                ax.plot(*(a[:, i, k] for a in _portrait(true)), "o", ms=4, mfc="none", mew=0.9,
                        color=colour)  # fmt: skip
        axis = AXES[k] if d <= len(AXES) else str(k)
        ax.set_xlabel(label(f"position {axis}", "length", units))
        ax.set_ylabel(label(f"momentum {axis}", "momentum", units))
    if len(chosen) <= SHOWN:
        legend(axes[0, -1], loc="center left", bbox_to_anchor=(1, 0.5))
    if true is not None:
        axes[0, 0].set_title("lines: model, circles: reference", loc="left")
    return figure


def _portrait(states: States) -> tuple[np.ndarray, np.ndarray]:
    if states.momentum is None:
        raise ValueError("a phase portrait needs momenta, and these states have none")
    return states.position, states.momentum
