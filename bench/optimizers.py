"""Training by gradient descent against sampling and one solve, on the paper's 2x2x2 lattice of
springs: time to reach an error.

For each optimizer the learning rate, the width and the start (hidden weights sampled as by `fit`,
or Glorot's) are chosen, with a full batch also the number of snapshots, in runs of TRIAL epochs
(five times as many with a full batch). The best two settings then train for BUDGET seconds each.
For sampling, the width and the number of snapshots are chosen. All choices, and the optimizers'
best epoch, are by the error on a validation set. The paper's encoder is sampled in the way that
suits it best (bench/potentials.py), and fitted by plain least squares. The reported errors are
those on a test set: root mean squares of velocities and forces, relative to theirs. The time of
choosing counts on neither side. The time of an optimizer is that to reach its lowest error, or 1.5
times it, with validation in every epoch. It is compared with the fastest sampled fit whose error is
at most the lowest. Compilation is excluded on both sides, and reported separately.
"""

import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.random as jr
import numpy as np
from jraph import GraphsTuple
from matplotlib.figure import Figure

import hgn_jax as hgn
from hgn_jax import plots

from .paper_encoder import PLAIN, SAMPLINGS
from .race import OPTIMIZERS, Iteration, Race, iterated, lbfgs, lsmr, race
from .record import Case, Record, main

LEVELS = tuple(10.0**-k for k in range(1, 11))
BUDGET = {"invariants": 8.0, "paper": 5.0}
TRIAL = {"invariants": 40, "paper": 20}
SAMPLED = "sampling and one solve"
QUICK = ("Adam", "LBFGS")
OF_PAPER = ("SGD", "Adam", "AdamW", "Adafactor", "LBFGS")
"""Optimizers for which the paper has figures; the paper's encoder is trained by these alone."""
ELM = {"invariants": hgn.ELM(), "paper": SAMPLINGS["ELM, standardised"]}


class Point(NamedTuple):
    """One setting of a direct method: errors, time, and time of the first call with compilation."""

    validation: float
    test: float
    seconds: float
    first: float
    settings: Record


def cases(quick: bool) -> Iterator[Case]:
    for encoder in ("invariants",) if quick else ("invariants", "paper"):
        direct: dict[str, Iteration | None] = {SAMPLED: None}
        if not quick:
            direct |= {"LSMR, last layer": lsmr, "LBFGS, last layer": lbfgs}
        for name, solve in direct.items():
            settings = {"encoder": encoder, "trained_by": name}
            yield Case(settings, functools.partial(_direct, encoder, solve, quick))
        for name in QUICK if quick else OF_PAPER if encoder == "paper" else OPTIMIZERS:
            settings = {"encoder": encoder, "trained_by": name}
            yield Case(settings, functools.partial(_optimizer, encoder, name, quick))


@functools.cache
def _data() -> tuple[GraphsTuple, GraphsTuple, GraphsTuple]:
    """Training, validation and test data."""
    system, cube = hgn.systems.mass_spring("spring"), hgn.graphs.lattice((2, 2, 2))
    train, validation, test = (
        hgn.systems.simulate(system, cube, key=jr.key(k), trajectories=count)
        for k, count in enumerate((1000, 200, 200))
    )
    return train, validation, test


def features(encoder: str, units: int, sampling: Any) -> list[Any]:
    if encoder == "paper":
        return [hgn.MessagePassing(units, max(units // 4, 2), sampling=sampling)]
    return [hgn.Kinetic(max(units // 4, 1), sampling=sampling), hgn.Pair(units, sampling=sampling)]


def _direct(encoder: str, solve: Iteration | None, quick: bool) -> Record:
    """Sampling and one solve, or iterations on the last layer, for several sizes."""
    exact = solve is None
    if encoder == "paper":
        sizes = itertools.product((64, 128, 256, 512), (100, 300, 1000)) if exact else ((128, 300),)
    elif quick:
        sizes = iter(((8, 20), (32, 20)))
    elif exact:
        sizes = itertools.product((4, 8, 16, 32, 64, 128), (20, 100))
    else:
        sizes = itertools.product((4, 8, 16, 32), (20,))
    points = []
    for units, snapshots in sizes:
        if solve is None:
            fit = functools.partial(hgn.fit, **PLAIN) if encoder == "paper" else hgn.fit
            points.append(_point(encoder, units, snapshots, fit, 6))
            continue
        for iterations in (10, 100, 1000, 4000):
            learn = functools.partial(iterated, solve, iterations)
            point = _point(encoder, units, snapshots, learn, 3)
            point.settings["iterations"] = iterations
            points.append(point)
    best = min(points, key=lambda p: p.validation)
    return {
        "error": best.test,
        "seconds": best.seconds,
        "seconds_with_compilation": best.first,
        **best.settings,
        "seconds_to": {f"{e:.0e}": _fastest(points, e) for e in LEVELS},
        "history": [[p.seconds, p.validation] for p in sorted(points, key=lambda p: p.seconds)],
        "points": [[p.validation, p.seconds, p.first] for p in points],
    }


def _point(encoder: str, units: int, snapshots: int, learn: Callable[..., Any], runs: int) -> Point:
    train, validation, test = _data()
    part = hgn.graphs.take(train, np.arange(len(train.n_node)) < snapshots)
    specs, times, errors = features(encoder, units, ELM[encoder]), [], []
    jax.clear_caches()
    for seed in range(runs):
        start = time.perf_counter()
        learned = jax.block_until_ready(learn(part, key=jr.key(seed), terms=specs))
        times.append(time.perf_counter() - start)
        model = learned.model if isinstance(learned, hgn.Fit) else learned
        errors.append([_error(model, data) for data in (validation, test)])
    return Point(
        *np.median(errors, axis=0).tolist(),
        statistics.median(times[1:]),
        times[0],
        {"units": units, "snapshots": snapshots},
    )


def _error(model: hgn.AbstractModel, data: GraphsTuple) -> float:
    return float(hgn.metrics.mean_square_error(model, data)) ** 0.5


def _fastest(points: Sequence[Point], error: float) -> float | None:
    return min((p.seconds for p in points if p.validation <= error), default=None)


def raced(
    encoder: str, name: str, train: GraphsTuple, validation: GraphsTuple, quick: bool
) -> Race:
    """Best result of an optimizer with an encoder."""
    samplings = {"sampled": ELM[encoder], "Glorot": hgn.Glorot()}

    def untrained(units: int, start: str) -> hgn.HamiltonianGraphNetwork:
        specs = features(encoder, units, samplings[start])
        return hgn.untrained(train, key=jr.key(2), terms=specs)

    return race(
        name,
        untrained,
        train,
        validation,
        widths=(32,) if quick else (8, 32, 128),
        trial=10 if quick else TRIAL[encoder],
        budget=1.0 if quick else BUDGET[encoder],
    )


def _optimizer(encoder: str, name: str, quick: bool) -> Record:
    train, validation, test = _data()
    run = raced(encoder, name, train, validation, quick)
    error = np.sqrt(np.nan_to_num(run.training.validation, nan=np.inf))
    if not np.isfinite(error).any():
        return {"error": None, "diverged": run.diverged}
    reached = float(run.training.seconds[np.argmax(error <= 1.5 * error.min())])
    return {
        "error": _error(run.training.model, test),
        "seconds": reached,
        "seconds_with_compilation": reached + run.first,
        **run.settings,
        "epochs": len(error),
        "diverged": run.diverged,
        "least_validation_error": float(error.min()),
        "seconds_to": {f"{e:.0e}": _soonest(run.tried, e) for e in LEVELS},
        "history": _thinned(run.training),
    }


def _soonest(runs: list[hgn.Training], error: float) -> float | None:
    times = [r.seconds[np.sqrt(r.validation) <= error] for r in runs]
    return min((float(t[0]) for t in times if len(t)), default=None)


def _thinned(training: hgn.Training) -> list[list[float]]:
    """Time and lowest error so far, at no more than a hundred points evenly spaced in log time."""
    best = np.fmin.accumulate(np.sqrt(training.validation))
    chosen = np.unique(np.geomspace(1, len(best), 100).astype(int) - 1)
    return [[float(training.seconds[i]), float(best[i])] for i in chosen if np.isfinite(best[i])]


def compare(records: list[Record]) -> list[Record]:
    """Adds the speed-up of sampling and one solve at the error reached, and at every level."""
    fits = {r["encoder"]: r for r in records if r["trained_by"] == SAMPLED}
    compared = []
    for record in records:
        fit = fits[record["encoder"]]
        if record is fit or record["error"] is None:
            compared.append(record)
            continue
        goal = record.get("least_validation_error", record["error"])
        rivals = [(seconds, first) for e, seconds, first in fit["points"] if e <= goal]
        near, first = record["seconds"], record["seconds_with_compilation"]
        if "points" in record:
            end = near
        else:
            end = next(t for t, e in record["history"] if e == record["history"][-1][1])
        compared.append(
            record
            | {
                "faster_by": max((near / s for s, _ in rivals), default=None),
                "with_compilation": max((first / f for _, f in rivals), default=None),
                "faster_to_the_least": max((end / s for s, _ in rivals), default=None),
                "faster_at": {
                    level: None if mine is None or theirs is None else mine / theirs
                    for (level, mine), theirs in zip(
                        record["seconds_to"].items(), fit["seconds_to"].values()
                    )
                },
            }
        )
    return compared


def draw(records: list[Record]) -> Figure:
    """Figure of the race with the default features."""
    return plots.race(
        {
            r["trained_by"]: tuple(np.transpose(r["history"]))
            for r in records
            if r["encoder"] == "invariants" and r["error"] is not None
        },
        title="springs on 2 x 2 x 2: relative error (compilation left out)",
    )


if __name__ == "__main__":
    main(
        "optimizers",
        "Training against sampling and one solve: springs on 2x2x2",
        cases,
        draw,
        compare,
    )
