"""The learned pair potential."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from ..fitting.pair_uncertainty import pair_standard_deviation
from ..fitting.result import Fit
from ..models.network import HamiltonianGraphNetwork
from ..systems.system import System
from .style import LEARNED, NEUTRAL, TRUE, Units, label, legend, panels

POINTS = 600
BEYOND = 0.1
"""Share of the trained range that is drawn beyond it."""


def potential(
    fit: Fit | HamiltonianGraphNetwork,
    truth: System | HamiltonianGraphNetwork | None = None,
    *,
    type: int = 0,
    log: bool = False,
    units: Units = None,
) -> Figure:
    r"""Draws the learned potential $\phi(r)$ of a pair and its force $-\phi'(r)$, slightly beyond
    the trained range, which is shaded; with a `truth` also the error of the force.

    The potential is relative to its value at the greatest trained distance. A `Fit` (rather than
    its model) adds bands of two standard deviations. `type` is the edge type. `log` draws the
    attraction $\phi'(r)$ alone, on logarithmic axes, for laws such as gravity.

    **Raises:** `ValueError` if the model has no pair features for that edge type.
    """
    model = fit.model if isinstance(fit, Fit) else fit
    low, high = (float(x) for x in model.pair_range(type))
    r = _distances(low, high, log)
    sign = -1 if log else 1
    energy, force = _curves(model, r, high, type, sign)
    rows = (0 if log else 1) + 1 + (truth is not None)
    figure, axes = panels(rows, 1, size=(6.5, 1.2 + 2.1 * rows), sharex=True)
    drawn = list(axes[:, 0])
    symbol = r"attraction $d\phi/dr$" if log else r"force $-d\phi/dr$"
    shown = [(drawn[-1 if truth is None else -2], 1, force, label(symbol, "force", units))]
    if not log:
        shown.insert(0, (drawn[0], 0, energy, label(r"potential $\phi$", "energy", units)))
    true = None if truth is None else _curves(truth, r, high, type, sign)
    deviations = pair_standard_deviation(fit, r, high, type) if isinstance(fit, Fit) else None
    for ax, k, learned, words in shown:
        if true is not None:
            ax.plot(r, true[k], color=TRUE, lw=5, alpha=0.4, label="true")
        ax.plot(r, learned, color=LEARNED, lw=1.6, label="learned")
        if deviations is not None:
            band = 2 * deviations[k]
            ax.fill_between(r, learned - band, learned + band, color=LEARNED, alpha=0.25, lw=0,
                            label="2 standard deviations")  # fmt: skip
        ax.set_ylabel(words)
        if log:
            ax.set(xscale="log", yscale="log")
    if true is not None:
        _error(drawn[-1], r, force, true[1], log)
    for ax in drawn:
        ax.axvspan(low, high, color=NEUTRAL, alpha=0.12, lw=0)
    legend(shown[-1][0])
    drawn[0].set_title("shaded: distances in the training data", loc="left")
    drawn[-1].set_xlabel(label("distance r", "length", units))
    return figure


def _distances(low: float, high: float, log: bool) -> Float[Array, " s"]:
    if log:
        return jnp.geomspace(low / (1 + 3 * BEYOND), high * (1 + 3 * BEYOND), POINTS)
    margin = BEYOND * (high - low)
    # Never down to zero, where potentials may diverge.
    return jnp.linspace(max(low - margin, low / 2), high + margin, POINTS)


def _curves(
    model: Any, r: Float[Array, " s"], zero: float, type: int, sign: int
) -> tuple[Float[Array, " s"], Float[Array, " s"]]:
    """Energy relative to that at the distance `zero`, and sign times the force."""
    slope = jax.vmap(jax.grad(lambda x: model.pair_energy(x, type)))(r)
    return model.pair_energy(r, type) - model.pair_energy(jnp.asarray(zero), type), -sign * slope


def _error(ax: Any, r: Any, learned: Any, true: Any, log: bool) -> None:
    scale = jnp.abs(true) if log else jnp.max(jnp.abs(true))
    # A logarithmic axis shows no zeros.
    error = np.maximum(np.abs(np.asarray(learned - true)) / np.asarray(scale), 1e-18)
    ax.semilogy(r, error, color=LEARNED, lw=1.2)
    ax.set_ylabel("relative error" if log else "error / greatest force")
