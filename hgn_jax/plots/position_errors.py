"""Errors of positions over time."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.figure import Figure

from .style import DASHES, LEARNED, TRUE, Units, colours, label, legend, panels

COLUMNS = 3


def position_errors(
    times: ArrayLike,
    errors: Mapping[str, ArrayLike],
    *,
    names: Sequence[str] | None = None,
    units: Units = None,
) -> Figure:
    """Draws the position errors `[t n]` of each named model, in a panel for each body.

    Bodies without any error, such as the origin, are left out, and so is the first time. `names`
    are those of the bodies.
    """
    series = {name: np.asarray(error)[1:] for name, error in errors.items()}
    n = next(iter(series.values())).shape[1]
    shown = [i for i in range(n) if any(error[:, i].any() for error in series.values())]
    rows = -(-len(shown) // COLUMNS)
    figure, axes = panels(rows, min(COLUMNS, len(shown)), size=(10, 0.6 + 2.1 * rows),
                          sharex=True, sharey=True)  # fmt: skip
    palette = [LEARNED, TRUE] if len(series) == 2 else colours(len(series))
    for ax, i in zip(axes.flat, shown):
        for k, ((name, error), colour) in enumerate(zip(series.items(), palette)):
            ax.semilogy(np.asarray(times)[1:], error[:, i], lw=1.4, color=colour,
                        ls=DASHES[k % len(DASHES)], label=name)  # fmt: skip
        ax.set_title(f"body {i}" if names is None else names[i], loc="left")
    for ax in axes.flat[len(shown) :]:
        ax.set_visible(False)
    legend(axes[0, 0])
    for ax in axes[:, 0]:
        ax.set_ylabel(label("error", "length", units))
    # `sharex` labels only the last row, which may be incomplete.
    for ax in axes.flat[max(len(shown) - COLUMNS, 0) : len(shown)]:
        ax.set_xlabel(label("time", "time", units))
        ax.tick_params(labelbottom=True)
    return figure
