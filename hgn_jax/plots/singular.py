"""Singular values of the least-squares systems."""

import numpy as np
from matplotlib.figure import Figure

from ..fitting.result import Fit
from ..linear.ridge import spectrum
from .style import colours, legend, panels


def singular_values(fit: Fit) -> Figure:
    """Draws the singular values of each independent system, columns scaled to one norm, relative
    to the greatest.

    A circle marks the last one within the numerical rank, a dotted line the ridge: directions below
    it are determined by the ridge rather than by the data.
    """
    figure, ((ax,),) = panels(size=(6.5, 4.2))
    shown = systems(fit)
    for (name, triangle, solution), colour in zip(shown, colours(len(shown))):
        s = np.asarray(spectrum(triangle)[0])
        rank = int(solution.rank)
        ax.semilogy(np.arange(1, len(s) + 1), s / s[0], ".-", ms=3, lw=1.2, color=colour,
                    label=f"{name}: rank {rank} of {len(s)}")  # fmt: skip
        if rank:
            ax.plot(rank, s[rank - 1] / s[0], "o", ms=9, mfc="none", mew=1.8, color=colour)
        for ridge in np.unique(np.asarray(solution.ridge)):
            ax.axhline(ridge / s[0], color=colour, lw=1, ls=":")
    ax.set(xlabel="index", ylabel="singular value / greatest")
    ax.set_title("circles: numerical rank, dotted: ridge", loc="left")
    legend(ax)
    return figure


def systems(fit: Fit) -> list:
    """(name, triangle, solution) of each system that has columns."""
    terms = [term.name for term in fit.model.terms] + ["constants"]
    return [
        # A dict keeps each name once, in order.
        (" + ".join(dict.fromkeys(terms[i] for i, _ in members)), triangle, solution)
        for members, triangle, solution in zip(
            fit.reduction.members, fit.reduction.triangles, fit.solutions
        )
        if triangle.columns
    ]
