"""Figures of learned models. Needs matplotlib (`pip install hgn-jax[plots]`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import ArrayLike
from jraph import GraphsTuple
from matplotlib.figure import Figure

from .graphs.geometry import movable
from .metrics import relative_error
from .models.base import AbstractModel
from .models.network import HamiltonianGraphNetwork
from .systems.system import System

LEARNED, TRUE = "#c8443c", "#2a4d7a"


def _subplots(*args: Any, **kwargs: Any) -> tuple[Figure, Any]:
    figure, axes = plt.subplots(*args, dpi=150, layout="constrained", **kwargs)
    for ax in np.ravel(axes):
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
    return figure, axes


def parity(model: AbstractModel, data: GraphsTuple) -> Figure:
    """Plots learned against observed dq/dt and dp/dt, and the distribution of relative errors.

    Data without momenta show dp/dt alone.
    """
    mask = np.asarray(movable(data))
    errors = relative_error(model, data)
    rates = dict(zip(("velocity", "force"), model.vector_field(data)))
    figure, axes = _subplots(1, 1 + len(errors), figsize=(11 * (1 + len(errors)) / 3, 3.6))
    for ax, (name, rate) in zip(axes, ((k, v) for k, v in rates.items() if k in errors)):
        target, learned = np.asarray(data.nodes[name])[mask], np.asarray(rate)[mask]
        low, high = target.min(), target.max()
        ax.plot([low, high], [low, high], color="0.6", lw=1, zorder=0)
        ax.plot(target.ravel(), learned.ravel(), ".", ms=2, color=LEARNED, rasterized=True)
        symbol = "dq/dt" if name == "velocity" else "dp/dt"
        ax.set(xlabel=f"true {symbol}", ylabel=f"learned {symbol}")
        ax.set_title(f"relative error {float(errors[name]):.1e}", fontsize=10)
        size = np.linalg.norm(target, axis=1)
        relative = np.linalg.norm(learned - target, axis=1) / np.where(size > 0, size, 1)
        shown = np.log10(np.maximum(relative, 1e-17))
        axes[-1].hist(shown, bins=60, histtype="step", lw=1.5, label=symbol)
    axes[-1].set(xlabel=r"$\log_{10}$ relative error of a body", ylabel="bodies")
    axes[-1].set_title("per body (-17: exact)", fontsize=10)
    axes[-1].legend(frameon=False)
    return figure


def potential(model: HamiltonianGraphNetwork, truth: System, *, log: bool = False) -> Figure:
    """Plots learned and true pair force and their difference, slightly beyond the trained range.

    `log` plots the attraction on logarithmic axes, for laws such as gravity.
    """
    low, high = np.asarray(model.pair_range())
    if log:
        r = jnp.geomspace(low / 1.3, high * 1.3, 600)
    else:
        r = jnp.linspace(max(low - 0.1 * (high - low), low / 2), high + 0.1 * (high - low), 600)
    learned, true = (
        -jax.vmap(jax.grad(lambda x, m=m: m.pair_energy(x)))(r) for m in (model, truth)
    )
    figure, (top, bottom) = _subplots(2, 1, figsize=(6, 5), sharex=True, height_ratios=(3, 2))
    sign = -1 if log else 1
    top.plot(r, sign * true, color=TRUE, lw=4, alpha=0.35, label="true")
    top.plot(r, sign * learned, color=LEARNED, lw=1.3, label="learned")
    top.set_ylabel(r"attraction  $d\phi/dr$" if log else r"force  $-d\phi/dr$")
    top.legend(frameon=False)
    scale = jnp.abs(true) if log else jnp.max(jnp.abs(true))
    bottom.semilogy(r, jnp.maximum(jnp.abs(learned - true) / scale, 1e-18), color=LEARNED, lw=1)
    bottom.set(xlabel="distance r", ylabel="relative error" if log else "error / greatest force")
    if log:
        top.set(xscale="log", yscale="log")
    for ax in (top, bottom):
        ax.axvspan(low, high, color="0.5", alpha=0.1, lw=0)
    bottom.set_title("shaded: distances in the training data", fontsize=8, loc="left", color="0.4")
    return figure


def energy(times: ArrayLike, paths: Mapping[str, ArrayLike]) -> Figure:
    """Plots the change of each named energy `[t]` over time, relative to its first value."""
    count = len(paths)
    figure, axes = _subplots(
        count, 1, figsize=(7, 1.9 * count), sharex=True, sharey=True, squeeze=False
    )
    for ax, (name, values), colour in zip(axes[:, 0], paths.items(), (LEARNED, TRUE, "0.3")):
        series = np.asarray(values)
        ax.plot(np.asarray(times), (series - series[0]) / abs(series[0]), lw=0.6, color=colour)
        ax.set_title(name, fontsize=10, loc="left")
        ax.set_ylabel(r"$(H - H_0) / H_0$")
        ax.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axes[-1, 0].set_xlabel("time")
    return figure


def tracks(
    names: Sequence[str], learned: ArrayLike, observed: ArrayLike, *, inner: float = 1.8
) -> Figure:
    """Plots heliocentric tracks `[t n 3]` along the x and y axes (AU); body 0 is the Sun.

    Observed positions are circles, learned ones lines. Planets that stay within `inner` (AU) of the
    Sun have a panel of their own.
    """
    figure, axes = _subplots(1, 2, figsize=(11, 5.4))
    lines, dots = (np.asarray(x) - np.asarray(x)[:, :1] for x in (learned, observed))
    colours = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]
    for i, name in enumerate(names):
        if i == 0:
            continue
        far = np.linalg.norm(dots[:, i], axis=-1).max() > inner
        ax, every = axes[int(far)], 100 if far else 20
        ax.plot(lines[:, i, 0], lines[:, i, 1], lw=0.8, color=colours[i], label=name)
        ax.plot(dots[::every, i, 0], dots[::every, i, 1], "o", ms=4, mfc="none", mew=0.7,
                color=colours[i])  # fmt: skip
    for ax, title in zip(axes, ("inner planets", "outer planets and Pluto")):
        ax.plot(0, 0, "o", color="#f2b705", ms=8, label="Sun")
        ax.set(xlabel="x (AU)", ylabel="y (AU)", aspect="equal")
        ax.set_title(f"{title}: learned (lines), ephemeris (circles)", fontsize=10)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    return figure


def position_errors(
    years: ArrayLike, names: Sequence[str], learned: ArrayLike, newton: ArrayLike
) -> Figure:
    """Plots heliocentric position errors `[t n]` (AU) of the learned law and of Newton's law over
    time, with a panel for each body except the Sun."""
    shown = [i for i, name in enumerate(names) if name != "Sun"]
    figure, axes = _subplots(3, 3, figsize=(10, 6.5), sharex=True, sharey=True)
    for ax, i in zip(axes.flat, shown):
        for errors, label, colour in ((newton, "Newton", TRUE), (learned, "learned", LEARNED)):
            ax.semilogy(np.asarray(years)[1:], np.asarray(errors)[1:, i], lw=1, color=colour,
                        label=label)  # fmt: skip
        ax.set_title(names[i], fontsize=10, loc="left")
    axes[0, 0].legend(frameon=False, fontsize=8)
    for ax in axes[:, 0]:
        ax.set_ylabel("error (AU)")
    for ax in axes[-1]:
        ax.set_xlabel("held-out years")
    return figure


def race(
    contestants: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    title: str = "",
    of: str = "sampling and one solve",
) -> Figure:
    """Plots the lowest error so far against time, on logarithmic axes.

    `contestants` holds (seconds, error), each `[k]`, by name. The one named `of` is a bold line
    with points. The others are listed in the order of their final errors.
    """
    figure, ax = _subplots(figsize=(8, 4.6))
    reached = {
        name: (np.asarray(seconds), np.fmin.accumulate(np.asarray(error)))
        for name, (seconds, error) in contestants.items()
    }
    others = sorted((name for name in reached if name != of), key=lambda n: -reached[n][1][-1])
    for name, colour in zip(others, plt.get_cmap("turbo")(np.linspace(0.05, 0.95, len(others)))):
        ax.plot(*reached[name], lw=1.1, color=colour, label=name)
    if of in reached:
        ax.plot(*reached[of], "o-", ms=5, lw=2, color="black", label=of)
    ax.set(xscale="log", yscale="log", xlabel="seconds", ylabel="relative error")
    ax.set_title(title, fontsize=10, loc="left")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=7.5)
    return figure
