"""Figures of merit along a path of ridges."""

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from ..fitting.result import Fit
from ..linear.ridge import path, ridges, spectrum
from .singular import systems
from .style import colours, legend, panels


def ridge_path(fit: Fit) -> Figure:
    """Draws residual, effective degrees of freedom, generalised cross-validation and evidence
    against the ridge, for each independent system. Dotted lines mark the ridges that were chosen.

    Residuals are relative to the size of the observed values, GCV to its least value, and the
    evidence to its greatest. Needs no data.
    """
    figure, axes = panels(2, 2, size=(8, 6), sharex=True)
    (residual, freedom), (gcv, evidence) = axes
    shown = systems(fit)
    for (name, triangle, solution), colour in zip(shown, colours(len(shown))):
        merits = path(triangle, *spectrum(triangle)[:2], ridges(triangle.r.dtype))
        drawn = {"lw": 1.6, "color": colour, "label": name}
        residual.plot(merits.ridge, merits.residual / triangle.target_norm, **drawn)
        freedom.plot(merits.ridge, merits.effective_dof, **drawn)
        gcv.plot(merits.ridge, merits.gcv / jnp.min(merits.gcv), **drawn)
        evidence.plot(merits.ridge, merits.evidence - jnp.max(merits.evidence), **drawn)
        for ax in axes.flat:
            for chosen in np.unique(np.asarray(solution.ridge)):
                ax.axvline(chosen, color=colour, lw=1.4, ls=":")
    residual.set(xscale="log", yscale="log", ylabel=r"residual $|Z\theta - u| / |u|$")
    freedom.set(ylabel="effective degrees of freedom")
    gcv.set(yscale="log", ylabel="GCV / least", xlabel="ridge")
    evidence.set_yscale("symlog", linthresh=10)  # linear near the greatest one, where it decides
    evidence.set(ylabel="log evidence - greatest", xlabel="ridge", ylim=(None, 3))
    residual.set_title("dotted: the ridge of the fit", loc="left")
    legend(freedom)
    return figure
