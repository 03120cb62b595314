"""Figure of the least squares: time, other solvers, accuracy, and the choice of the ridge."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from .least_squares_goals import DENSE, shape, words
from .record import Record


def draw(records: list[Record]) -> Figure:
    figure = Figure(figsize=(12, 9), layout="constrained")
    panels = figure.subplots(2, 2)
    for ax, panel in zip(panels.flat, (_times, _ratios, _errors, _noise)):
        panel(ax, records)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
    return figure


def _times(ax: Axes, records: list[Record]) -> None:
    dense = [r for r in records if r["case"] == DENSE and r["details"]["nodes"] == 8]
    units = sorted({r["units"] for r in dense})
    for k, shade in zip(units, np.linspace(1, 0.45, len(units))[::-1]):
        group = [r for r in dense if r["units"] == k]
        rows = [r["details"]["rows"] for r in group]
        blue, red = _blend("#2a4d7a", shade), _blend("#c8443c", shade)
        ax.plot(rows, [r["seconds"] for r in group], "o-", color=blue, ms=4, lw=1.5)
        ax.plot(rows, [r["details"]["Z^T Z"] for r in group], "--", color=red, lw=1.2)
        ax.annotate(f"{k} units", (rows[-1], group[-1]["seconds"]), (6, -3), fontsize=8,
                    color=blue, textcoords="offset points")  # fmt: skip
    ax.plot([], [], "o-", color="#2a4d7a", ms=4, label="fit: assembly, QR, ridge")
    ax.plot([], [], "--", color="#c8443c", label="Z^T Z of the same shape, in XLA")
    ax.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds",
           xlim=(None, 2.2 * max(r["rows"] for r in dense)))  # fmt: skip
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(NullFormatter())
    ax.legend(frameon=False, fontsize=9)
    _title(ax, "Time of a fit to forces")


def _ratios(ax: Axes, records: list[Record]) -> None:
    solvers = [r for r in records if r["case"] == "solvers"]
    sizes = list(dict.fromkeys(map(shape, solvers)))
    marks = {"numpy lstsq": ("o", "#2a4d7a"), "scipy gelsd": ("s", "#e08a2e"),
             "scipy gelsy": ("^", "#7a9a3a"), "jnp.linalg.lstsq": ("D", "#8a5a9a"),
             "normal equations": ("x", "0.5")}  # fmt: skip
    for place, (name, (mark, colour)) in enumerate(marks.items()):
        group = [r for r in solvers if r["what"] == name and r["seconds"]]
        at = [sizes.index(shape(r)) + 0.1 * (place - 2) for r in group]
        ax.plot(at, [r["ratio"] for r in group], mark, color=colour, label=name, ms=7)
    ax.axhline(1, color="0.3", lw=1)
    ax.set(yscale="log", ylabel="time of our QR over theirs", xlim=(-0.5, len(sizes) - 0.5))
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** 0.25)
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    names = [words({"rows": r, "units": k}) for r, k in sizes]
    ax.set_xticks(range(len(sizes)), names, fontsize=8)
    ax.legend(frameon=False, fontsize=9, ncols=3, loc="upper center")
    _title(ax, "One matrix, rows x columns: below the line ours is faster")


def _errors(ax: Axes, records: list[Record]) -> None:
    shown = [r for r in records if r["case"] == "accuracy" and r["error"] is not None]
    names = list(dict.fromkeys(r["what"] for r in shown))[::-1]
    for record in shown:
        double = record["dtype"] == "float64"
        colour, at = ("#2a4d7a" if double else "#c8443c"), names.index(record["what"])
        place = at + (0.12 if double else -0.12)
        ax.plot([record["details"]["median"], record["error"]], [place] * 2, "-", color=colour)
        ax.plot(record["error"], place, "o", color=colour, ms=6)
    for dtype, colour in (("float64", "#2a4d7a"), ("float32", "#c8443c")):
        ax.plot([], [], "o-", color=colour, label=f"{dtype}, median to worst")
    ax.set(xscale="log", xlabel="relative error at unseen distances")
    ax.set_yticks(range(len(names)), names, fontsize=9)
    ax.legend(frameon=False, fontsize=9)
    _title(ax, "A radial force by 256 tanh units, 2000 rows")


def _noise(ax: Axes, records: list[Record]) -> None:
    ridges = [r for r in records if r["case"] == "ridge"]
    potential, weights = last = _setting(ridges[-1])
    chosen = [r for r in ridges if _setting(r) == last]
    place = range(len(chosen))
    lines = {"least ridge": ("s-", "#e08a2e", 1.5), "gcv": ("^-", "#7a9a3a", 1.5),
             "evidence": ("o-", "#2a4d7a", 1.5), "oracle": (":", "0.2", 2)}  # fmt: skip
    for choice, (line, colour, width) in lines.items():
        errors = [r["details"]["force"][choice]["error"] for r in chosen]
        label = "best ridge, as unseen data tell" if choice == "oracle" else choice
        ax.plot(place, errors, line, color=colour, lw=width, ms=6, label=label)
    ax.set(yscale="log", xlabel="noise of velocities and forces, relative",
           ylabel="error of forces, unseen noise-free data")  # fmt: skip
    ax.set_xticks(place, [f"{r['details']['noise']:g}" for r in chosen])
    ax.legend(frameon=False, fontsize=9)
    _title(
        ax, f"{potential.capitalize()}, 100 noisy snapshots, {weights} weights: choice of the ridge"
    )


def _setting(record: Record) -> tuple[str, str]:
    return record["details"]["potential"], record["details"]["weights"]


def _title(ax: Axes, text: str) -> None:
    ax.set_title(text, fontsize=10, loc="left")


def _blend(colour: str, strength: float) -> tuple[float, ...]:
    rgb = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    return tuple(1 - strength * (1 - c) for c in rgb)
