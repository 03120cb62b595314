"""Errors of gradients on the paper's 2x2x2 lattice: three potentials, two encoders, several ways of
sampling, and Adam on all weights, tuned and with the time that it has in bench/optimizers.py.

The paper's encoder is fitted by plain least squares, in the reading that suits the training data
best (bench/paper_encoder.py)."""

import functools
from collections.abc import Iterator
from typing import Any

import jax.random as jr
import numpy as np
from jraph import GraphsTuple
from matplotlib.figure import Figure

import hgn_jax as hgn

from .optimizers import raced
from .paper_encoder import PLAIN, SAMPLINGS, most_favourable, readings
from .record import Case, Record, main

PAPER = {
    ("spring", "SWIM"): 3.41e-5,
    ("anharmonic", "SWIM"): 5.23e-4,
    ("morse", "SWIM"): 1.22e-3,
    ("spring", "ELM"): 2.33e-3,
    ("anharmonic", "ELM"): 4.32e-2,
    ("morse", "ELM"): 7.40e-4,
    ("spring", "Adam"): 3.88e-3,
    ("anharmonic", "Adam"): 4.56e-2,
    ("morse", "Adam"): 8.89e-2,
}
WAYS = {"ELM": hgn.ELM(), "SWIM": hgn.SWIM(), "SWIM, two passes": hgn.SWIM(passes=2)}


def cases(quick: bool) -> Iterator[Case]:
    ways = [("invariants", way) for way in (*WAYS, "Adam")]
    ways += [("paper", way) for way in (*SAMPLINGS, "Adam")]
    for potential in ("spring", "anharmonic", "morse"):
        for encoder, way in ways:
            settings = {"potential": potential, "encoder": encoder, "sampling": way}
            of_encoder = {"invariants": _invariants, "paper": _paper}[encoder]
            measure = _descent if way == "Adam" else of_encoder
            if not (quick and way in ("Adam", "SWIM, two passes") and potential != "spring"):
                yield Case(settings, functools.partial(measure, settings, quick))


@functools.lru_cache(maxsize=1)
def _data(potential: str, count: int) -> tuple[GraphsTuple, GraphsTuple]:
    system, cube = hgn.systems.mass_spring(potential), hgn.graphs.lattice((2, 2, 2))
    return (
        hgn.systems.simulate(system, cube, key=jr.key(0), trajectories=count),
        hgn.systems.simulate(system, cube, key=jr.key(1), trajectories=count),
    )


def _invariants(settings: Record, quick: bool) -> Record:
    sampling = WAYS[settings["sampling"]]
    terms = [hgn.Kinetic(sampling=sampling), hgn.Pair(sampling=sampling)]
    return _sampled(settings, quick, 5, terms=terms)


def _paper(settings: Record, quick: bool) -> Record:
    train, _ = _data(settings["potential"], 200 if quick else 1000)
    size = 512, 128
    reading = most_favourable(readings(settings["sampling"]), train, *size)
    measured = _sampled(settings, quick, 3, terms=[reading.term(*size)], **PLAIN)
    return measured | {"reading": str(reading)}


def _sampled(settings: Record, quick: bool, seeds: int, **arguments: Any) -> Record:
    train, test = _data(settings["potential"], 200 if quick else 1000)
    fits = [hgn.fit(train, key=jr.key(s), **arguments) for s in range(2 if quick else seeds)]
    errors = [float(hgn.metrics.mean_square_error(f.model, test)) for f in fits]
    return _figures(settings, errors) | {"rank": int(fits[0].rank), "columns": fits[0].columns}


def _descent(settings: Record, quick: bool) -> Record:
    """Adam with its best width, start and learning rate."""
    train, test = _data(settings["potential"], 200 if quick else 1000)
    train, validation = hgn.graphs.split(train, 0.1, key=jr.key(2))
    run = raced(settings["encoder"], "Adam", train, validation, quick)
    errors = [float(hgn.metrics.mean_square_error(run.training.model, test))]
    return _figures(settings, errors) | run.settings | {"diverged": run.diverged}


def _figures(settings: Record, errors: list[float]) -> Record:
    published = PAPER.get((settings["potential"], settings["sampling"]))
    return {
        "relative_mse": float(np.median(errors)),
        "worst_of_seeds": max(errors),
        "seeds": len(errors),
        "published_mse": published if settings["encoder"] == "paper" else None,
    }


def draw(records: list[Record]) -> Figure:
    """Figure of the error of every method on every potential."""
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    ax = figure.subplots()
    ways = list(dict.fromkeys((r["encoder"], r["sampling"]) for r in records))
    potentials = list(dict.fromkeys(r["potential"] for r in records))
    for i, way in enumerate(ways):
        mine = {r["potential"]: r["relative_mse"] for r in records
                if (r["encoder"], r["sampling"]) == way}  # fmt: skip
        where = [potentials.index(p) + (i - len(ways) / 2 + 0.5) * 0.11 for p in mine]
        marker = "o" if way[0] == "invariants" else "s"
        label = f"{way[1]} ({way[0]})"
        ax.plot(where, list(mine.values()), marker, label=label)
    ax.set(yscale="log", xticks=range(len(potentials)), xticklabels=potentials)
    ax.set_ylabel("mean square error / mean square target")
    ax.grid(alpha=0.3, axis="y")
    figure.legend(loc="outside right center", fontsize=8)
    return figure


if __name__ == "__main__":
    main("potentials", "Gradients on 2x2x2: MSE over mean square target", cases, draw)
