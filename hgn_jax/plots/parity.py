"""Learned against observed rates."""

import equinox as eqx
import numpy as np
from jraph import GraphsTuple
from matplotlib.figure import Figure

from .._types import Rates
from ..graphs.geometry import movable
from ..metrics import relative_error
from ..models.base import AbstractModel
from .sources import Learned, model_of
from .style import LEARNED, NEUTRAL, Units, colours, label, legend, panels

SYMBOLS = {"velocity": "dq/dt", "force": "dp/dt"}
EXACT = 1e-17
"""Relative errors below it, such as zero, are drawn there."""


def parity(fit: Learned, data: GraphsTuple, *, units: Units = None) -> Figure:
    """Draws learned against observed rates of all mobile bodies, and the distribution of each
    body's relative error. Data without momenta show forces alone.

    `fit` may be a model; `units` names the units of velocity and force.

    **Raises:** `ValueError` if the data lack the rates, as `metrics.relative_error`.
    """
    model, mask = model_of(fit), np.asarray(movable(data))
    errors = relative_error(model, data)
    rates = dict(zip(model.dynamics.observed, _rates(model, data)))
    count = len(errors)
    figure, axes = panels(1, 1 + count, size=(3.2 * (1 + count), 3.4))
    *scatters, histogram = axes[0]
    for ax, name, colour in zip(scatters, errors, colours(count)):
        observed, learned = np.asarray(data.nodes[name])[mask], np.asarray(rates[name])[mask]
        ends = [min(observed.min(), learned.min()), max(observed.max(), learned.max())]
        symbol = SYMBOLS.get(name, name)
        ax.plot(ends, ends, color=NEUTRAL, lw=1, zorder=0)
        # Rasterized, because vector files of so many points are huge.
        ax.plot(observed.ravel(), learned.ravel(), ".", ms=3, color=LEARNED, rasterized=True)
        ax.set_xlabel(label(f"observed {symbol}", name, units))
        ax.set_ylabel(label(f"learned {symbol}", name, units))
        ax.set_title(f"{name}, error {float(errors[name]):.1e}", loc="left")
        size = np.linalg.norm(observed, axis=1)
        # The error of a body with an observed rate of zero is absolute.
        wrong = np.linalg.norm(learned - observed, axis=1) / np.where(size > 0, size, 1)
        wrong = np.maximum(wrong, EXACT)
        # The factors give the range a width even if all errors are equal.
        bins = np.geomspace(wrong.min() / 2, wrong.max() * 2, 40)
        histogram.hist(wrong, bins=bins, histtype="step", lw=1.8, color=colour, label=name)
    histogram.set(xscale="log", xlabel="relative error of a body", ylabel="bodies")
    histogram.set_title(f"{mask.sum()} bodies", loc="left")
    legend(histogram)
    return figure


@eqx.filter_jit
def _rates(model: AbstractModel, data: GraphsTuple) -> Rates:
    return model.vector_field(data)
