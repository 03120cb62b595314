"""Boosted layers on embedded-atom potentials: error and conditioning against depth and width.

Compared with one layer of pair features, with random densities instead of those that are found, and
with many-body features, all of the same total width and with the same pair units. The number of
steps and the densities are chosen from training data, see `hgn.boost`. Columns of Z are scaled to
norm one. Beyond 1 / epsilon a condition number is rounding: it counts as that.
"""

import itertools
import time
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from jraph import GraphsTuple
from matplotlib.figure import Figure

import hgn_jax as hgn
from hgn_jax.features.density_products import sums_of_next_layer
from hgn_jax.features.embedded import EmbeddedFeatures
from hgn_jax.features.sampling import ELM
from hgn_jax.features.trained_range import box_of
from hgn_jax.fitting.boost import DIRECTIONS

from .embedded_atoms import CUTOFF, clusters
from .record import Case, Record, main

EPSILON = float(np.finfo(np.float64).eps)
RADIAL, UNITS, EACH = 32, 64, 8
LAYERS = {"square root": 2, "smooth": 2, "second neighbours": 3, "only second neighbours": 3}
"""Number of layers of each target, beyond which there is nothing left for a further one."""
WIDTHS = (8, 16, 32, 64, 128)
TRAIN, TEST, SEEDS = 100, 40, 3
COLOURS = ("#0072b2", "#56b4e9", "#d55e00", "#e69f00")
"""Colours of Okabe and Ito."""


def cases(quick: bool) -> Iterator[Case]:
    targets, widths = tuple(LAYERS), WIDTHS
    if quick:
        targets, widths = targets[1:2], WIDTHS[:2]
    for target in targets:
        for count in range(1, LAYERS[target] + 1):
            settings = {"measured": "depth", "target": target, "layers": count}
            yield Case(settings, partial(_depth, target, count, quick))
    for target, other in itertools.product(targets[:2], OTHERS):
        settings = {"measured": "others", "target": target, "features": other}
        yield Case(settings, partial(_others, other, target, quick))
    for width in widths:
        settings = {"measured": "width", "target": "smooth", "units": width}
        yield Case(settings, partial(_width, "smooth", width, quick))


@cache
def _data(target: str, quick: bool) -> tuple[GraphsTuple, GraphsTuple]:
    return clusters(target, 20 if quick else TRAIN, 10), clusters(target, 10 if quick else TEST, 11)


@cache
def _fit(target: str, layers: int, units: int, seed: int, quick: bool) -> hgn.Fit:
    train, _ = _data(target, quick)
    if layers == 1:
        return hgn.fit(train, key=jr.key(seed), terms=[_pair(RADIAL)], throw=False)
    below = _fit(target, layers - 1, units, seed, quick)
    return hgn.boost(below, train, key=jr.fold_in(jr.key(seed), layers), units=units)


def _pair(units: int) -> hgn.Pair:
    return hgn.Pair(units, cutoff=CUTOFF)


def _figures(fits: list[hgn.Fit], test: GraphsTuple) -> dict[str, Any]:
    """Medians over seeds."""
    return {
        "force_error": float(np.median([_error(fit, test) for fit in fits])),
        "median_error": float(np.median([np.median(_errors(fit, test)) for fit in fits])),
        "residual": float(np.median([fit.residual for fit in fits])),
        "condition": min(float(np.median([fit.condition for fit in fits])), 1 / EPSILON),
        "rank": int(np.median([fit.rank for fit in fits])),
        "columns": fits[0].columns,
        "cancellation": float(np.median([fit.cancellation for fit in fits])),
    }


def _error(fit: hgn.Fit, test: GraphsTuple) -> float:
    """Norm of the errors of all unseen forces over that of the forces."""
    return float(np.sqrt(np.mean(_errors(fit, test) ** 2)))


def _errors(fit: hgn.Fit, test: GraphsTuple) -> np.ndarray:
    """Error of the force on every atom, over the root mean square of all forces."""
    _, force = fit.model.vector_field(test)
    true = test.nodes["force"]
    size = jnp.sqrt(jnp.mean(jnp.sum(true**2, axis=1)))
    return np.asarray(jnp.linalg.norm(force - true, axis=1) / size)


def _depth(target: str, layers: int, quick: bool) -> Record:
    train, test = _data(target, quick)
    fits = [_fit(target, layers, UNITS, seed, quick) for seed in range(SEEDS - 1)]
    if layers > 1:
        _fit(target, layers - 1, UNITS, SEEDS - 1, quick)
    start = time.perf_counter()
    fits.append(_fit(target, layers, UNITS, SEEDS - 1, quick))  # compiled for the others
    warm = time.perf_counter() - start
    wide = [
        hgn.fit(train, key=jr.key(seed), terms=[_pair(fits[0].columns)], throw=False)
        for seed in range(SEEDS)
    ]
    return _figures(fits, test) | {
        "pairs_of_equal_width": float(np.median([_error(fit, test) for fit in wide])),
        "seconds": warm,
    }


def _width(target: str, units: int, quick: bool) -> Record:
    _, test = _data(target, quick)
    return _figures([_fit(target, 2, units, seed, quick) for seed in range(SEEDS)], test)


def _random_densities(target: str, seed: int, quick: bool) -> hgn.Fit:
    """Eight units for each of several random combinations of the sums over neighbours, among the
    principal directions in which `hgn.boost` begins."""
    train, _ = _data(target, quick)
    (pair,) = _fit(target, 1, UNITS, seed, quick).model.terms
    key, draw = jr.split(jr.key(seed))
    sums = np.asarray(sums_of_next_layer(pair, None, train))
    _, size, axes = np.linalg.svd(sums - sums.mean(axis=0), full_matrices=False)
    directions = jnp.asarray(axes[:DIRECTIONS].T / size[:DIRECTIONS] * len(sums) ** 0.5)
    directions = directions @ jr.normal(draw, (DIRECTIONS, UNITS // EACH))
    every = jnp.ones(len(sums), bool)
    weights, layers, ranges = [], [], []
    for k, direction in enumerate(directions.T):
        density = jnp.asarray(sums) @ direction[:, None]
        layers.append(ELM()(jr.fold_in(key, k), density, every, EACH))
        ranges.append(box_of(density, every))
        # The columns beside the first would multiply the densities before, which are no inputs.
        weights.append(jnp.pad(direction[:, None], [(0, 0), (0, k)]))
    term = EmbeddedFeatures(pair, tuple(weights), tuple(layers), jnp.concatenate(ranges))
    return hgn.solve([pair, term], train, throw=False)


def _many_body(units: int, target: str, seed: int, quick: bool) -> hgn.Fit:
    train, _ = _data(target, quick)
    terms = [_pair(RADIAL), hgn.ManyBody(units, cutoff=CUTOFF, assembly="float64")]
    return hgn.fit(train, key=jr.key(seed), terms=terms, throw=False)


OTHERS: dict[str, Any] = {
    "random densities": _random_densities,
    "many-body": partial(_many_body, UNITS),
    "many-body, 1000 units": partial(_many_body, 1000),
}


def _others(name: str, target: str, quick: bool) -> Record:
    fits = [OTHERS[name](target, seed, quick) for seed in range(SEEDS)]
    errors = [_error(fit, _data(target, quick)[1]) for fit in fits]
    return {"columns": fits[0].columns, "force_error": float(np.median(errors))}


def draw(records: list[Record]) -> Figure:
    figure, axes = plt.subplots(2, 2, figsize=(9.5, 7), sharey="row", layout="constrained")
    for column, kind, key in zip(axes.T, ("depth", "width"), ("layers", "units")):
        for target, colour in zip(LAYERS, COLOURS):
            mine = [r for r in records if (r["measured"], r["target"]) == (kind, target)]
            x = [r[key] for r in mine]
            for ax, value in zip(column, ("force_error", "cancellation")):
                ax.semilogy(x, [r[value] for r in mine], "o-", color=colour, label=target, lw=1.8)
            if kind == "depth":
                y = [r["pairs_of_equal_width"] for r in mine]
                column[0].semilogy(x, y, ":", color=colour, lw=1.8)
        for ax in column:
            if kind == "width":
                ax.set_xscale("log", base=2)
            ticks = (1, 2, 3) if kind == "depth" else WIDTHS
            ax.set_xticks(ticks, [str(tick) for tick in ticks])
            ax.minorticks_off()
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(alpha=0.25)
            ax.tick_params(labelsize=11)
    axes[0, 0].set_ylabel("relative error of forces", fontsize=13)
    axes[1, 0].set_ylabel("cancellation", fontsize=13)
    axes[1, 0].set_xlabel("layers (dotted: pairs of equal width)", fontsize=13)
    axes[1, 1].set_xlabel("units of the second layer", fontsize=13)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=12)
    return figure


if __name__ == "__main__":
    main("depth", "Boosted layers on embedded-atom potentials", cases, draw)
