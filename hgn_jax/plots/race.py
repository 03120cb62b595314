"""Error against cost."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import ArrayLike
from matplotlib.figure import Figure

from .style import DASHES, LEARNED, legend, panels


def race(
    contestants: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    title: str = "",
    of: str = "sampling and one solve",
    cost: str = "seconds",
    error: str = "relative error",
) -> Figure:
    """Draws the lowest error so far against the cost, on logarithmic axes.

    `contestants` holds (cost, error), each `[k]`, by name. The one named `of` is a bold line with
    points. The others are listed in the order of their final errors. `cost` and `error` label the
    axes.
    """
    figure, ((ax,),) = panels(size=(8, 4.6))
    reached = {
        name: (np.asarray(spent), np.fmin.accumulate(np.asarray(wrong)))  # fmin ignores NaN
        for name, (spent, wrong) in contestants.items()
    }
    others = sorted((name for name in reached if name != of), key=lambda n: -reached[n][1][-1])
    shades = plt.get_cmap("viridis")(np.linspace(0.1, 0.85, len(others)))
    for i, (name, colour) in enumerate(zip(others, shades)):
        dashes = DASHES[i % len(DASHES)]
        ax.plot(*reached[name], lw=1.5, ls=dashes, color=colour, label=name)
    if of in reached:
        ax.plot(*reached[of], "o-", ms=6, lw=2.5, color=LEARNED, label=of)
    ax.set(xscale="log", yscale="log", xlabel=cost, ylabel=error)
    ax.set_title(title, loc="left")
    legend(ax, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure
