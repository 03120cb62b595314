"""Error of gradients and condition number of Z against the number of random units, on the paper's
2x2x2 lattice: pair features of this library, and the paper's encoder with its own and with our
sampling.

The pair features learn with the default ridge, the paper's encoder by plain least squares. Columns
of Z are scaled to norm one. Beyond 1 / epsilon a condition number is rounding: it counts as that.
"""

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from jraph import GraphsTuple
from matplotlib.figure import Figure

import hgn_jax as hgn

from .paper_encoder import PLAIN, Reading
from .record import Case, Record, main

POTENTIALS = ("spring", "morse")
WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
EPSILON = float(np.finfo(np.float64).eps)
FEATURES = {
    "pairs, ELM": ("#0072b2", "o"),
    "pairs, SWIM": ("#56b4e9", "v"),
    "paper's encoder, SWIM": ("#d55e00", "s"),
    "paper's encoder, ELM": ("#e69f00", "^"),
    "paper's encoder, ELM, standardised": ("#009e73", "D"),
}
"""Colours of Okabe and Ito, and markers."""


def cases(quick: bool) -> Iterator[Case]:
    for potential in POTENTIALS:
        for features in FEATURES:
            for width in WIDTHS[:3] if quick else WIDTHS:
                settings = {"potential": potential, "features": features, "width": width}
                yield Case(settings, partial(_measure, quick=quick, **settings))


@cache
def _data(potential: str, count: int) -> list[GraphsTuple]:
    system, cube = hgn.systems.mass_spring(potential), hgn.graphs.lattice((2, 2, 2))
    return [hgn.systems.simulate(system, cube, key=jr.key(k), trajectories=count) for k in range(2)]


def _arguments(features: str, width: int) -> dict[str, Any]:
    """Arguments of `hgn.fit`, for `width` units in all, a quarter of them on bodies."""
    encoder, sampling = features.split(", ", 1)
    bodies = width // 4
    if encoder == "pairs":
        ways = {"ELM": hgn.ELM(), "SWIM": hgn.SWIM()}
        return {
            "terms": [
                hgn.Kinetic(bodies, sampling=ways[sampling]),
                hgn.Pair(width - bodies, sampling=ways[sampling]),
            ]
        }
    return {"terms": [Reading(sampling).term(width - bodies, bodies)], **PLAIN}


def _measure(potential: str, features: str, width: int, quick: bool) -> Record:
    """Medians over seeds."""
    train, test = _data(potential, 100 if quick else 400)
    arguments = _arguments(features, width)
    fits = [hgn.fit(train, key=jr.key(seed), **arguments) for seed in range(3)]
    errors = [float(hgn.metrics.mean_square_error(f.model, test)) ** 0.5 for f in fits]
    return {
        "relative_error": float(np.median(errors)),
        "condition": min(float(np.median([f.condition for f in fits])), 1 / EPSILON),
        "rank": int(np.median([f.rank for f in fits])),
        "rows": int(6 * sum(train.n_node)),
    }


def draw(records: list[Record]) -> Figure:
    figure, axes = plt.subplots(
        2, len(POTENTIALS), figsize=(9, 7), sharex=True, sharey="row", layout="constrained"
    )
    for column, potential in zip(axes.T, POTENTIALS):
        for ax, key in zip(column, ("relative_error", "condition")):
            for features, (colour, marker) in FEATURES.items():
                mine = [
                    r for r in records if (r["potential"], r["features"]) == (potential, features)
                ]
                ax.loglog([r["width"] for r in mine], [r[key] for r in mine], marker=marker,
                          color=colour, label=features, lw=1.8, ms=7)  # fmt: skip
            ax.set_xticks(WIDTHS, [str(width) for width in WIDTHS])
            ax.minorticks_off()
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(alpha=0.25)
            ax.tick_params(labelsize=11)
        column[0].set_title(potential, fontsize=13)
        column[1].set_xlabel("random units", fontsize=13)
    axes[0, 0].set_ylabel("relative error of the gradients", fontsize=13)
    axes[1, 0].set_ylabel("condition number of Z", fontsize=13)
    for ax in axes[1]:
        ax.axhline(1 / EPSILON, color="0.3", lw=1, ls=":")
    axes[1, 0].text(90, 0.4 / EPSILON, "1 / epsilon (or more)", va="top", fontsize=11)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=12)
    return figure


if __name__ == "__main__":
    main("widths", "Error of gradients and condition number of Z against width", cases, draw)
