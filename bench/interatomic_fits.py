"""Chooses settings by cross-validation over training frames, fits, and measures errors."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax.graphs.geometry import bodies, graph_mask, node_mask
from hgn_jax.graphs.pieces import packs

from .interatomic_data import Radial, Subject, fraction, testing, training, weighted
from .record import Record, seconds

PAIR_UNITS = 16
DEGREE = 4
FOLDS = 5
SHOWN = 1500
"""Force components kept for the picture of predictions against the reference."""
Errors = dict[str, np.ndarray]


class Settings(NamedTuple):
    """Settings that cross-validation chooses for one subject."""

    cutoff: float
    radial: Radial
    energy_weight: float
    degree: int = DEGREE
    stretch: float | None = None
    likeness: float = 0.8

    def record(self) -> Record:
        """Returns the settings as JSON values."""
        radial = self.radial if isinstance(self.radial, int) else list(self.radial)
        return self._asdict() | {"radial": radial}

    @staticmethod
    def of(record: Record) -> "Settings":
        """Settings from JSON values."""
        radial = record["radial"]
        radial = radial if isinstance(radial, int) else tuple(radial)
        return Settings(
            record["cutoff"],
            radial,
            record["energy_weight"],
            record["degree"],
            record.get("stretch"),
            record.get("likeness", 0.0),
        )


def terms(settings: Settings, units: int) -> list[Any]:
    """Pair and many-body features with these settings."""
    return [
        hgn.Pair(PAIR_UNITS, cutoff=settings.cutoff),
        hgn.ManyBody(
            units,
            cutoff=settings.cutoff,
            radial=settings.radial,
            degree=settings.degree,
            stretch=settings.stretch,
            likeness=settings.likeness,
        ),
    ]


def observations(data: GraphsTuple) -> list[Any]:
    """Energies, whose weight is in the data, forces, and stresses if there are any."""
    stresses = [hgn.Stresses()] if "stress" in data.globals else []
    return [hgn.Energies(), hgn.Forces(), *stresses]


def search(subject: Subject, degree: int, score: Callable[[Settings], float]) -> Settings:
    """Settings of the least score: of all likenesses, then stretches, then cutoffs and numbers of
    radial functions together, then weights, one after the other."""
    middle, weight = (some[len(some) // 2] for some in (subject.cutoffs, subject.weights))
    best = Settings(middle, subject.radials[0], weight, degree, likeness=subject.likenesses[0])
    shapes = itertools.product(subject.cutoffs, subject.radials)
    stages: tuple[tuple[dict[str, Any], ...], ...] = (
        tuple({"likeness": x} for x in subject.likenesses),
        tuple({"stretch": x} for x in subject.stretches),
        tuple({"cutoff": x, "radial": n} for x, n in shapes),
        tuple({"energy_weight": x} for x in subject.weights),
    )
    for stage in stages:
        best = min((best._replace(**values) for values in stage), key=score)
    return best


def trial(folder: Path, subject: Subject, settings: Settings, units: int, quick: bool) -> Record:
    """Errors on held-out training frames. The score is that of `hgn.tune`: the mean of their
    logarithms."""
    data = training(folder, subject, settings.cutoff, quick, subject.search_every)
    start = time.perf_counter()
    tried = hgn.tune(
        weighted(data, settings.energy_weight),
        key=0,
        folds=2 if quick else FOLDS,
        grid={"terms": [terms(settings, units)]},
        observations=observations(data),
    ).trials[0]
    errors = {
        f"{kind}_{how}": values[kind]
        for how, values in (("mae", tried.mean_absolute), ("rmse", tried.root_mean_square))
        for kind in values
    }
    return errors | {"score": tried.score, "seconds": time.perf_counter() - start}


def fitted(data: GraphsTuple, settings: Settings, units: int, seed: int, quick: bool) -> hgn.Fit:
    """Fit with a ridge chosen by cross-validation over its frames."""
    data = weighted(data, settings.energy_weight)
    return hgn.fit(
        data,
        key=seed,
        terms=terms(settings, units),
        observations=observations(data),
        solver=hgn.QR(ridge=hgn.FrameCV(2 if quick else FOLDS)),
    )


def errors_of_seeds(
    folder: Path, subject: Subject, settings: Settings, units: int, seeds: int, quick: bool
) -> list[Record]:
    """Errors on unseen frames by seed, and of the mean model, which has the mean of their errors.

    The frames are those of the test file, or else held-out training frames.
    """
    data = training(folder, subject, settings.cutoff, quick)
    judged = "held-out training frames" if subject.test is None else "test frames"
    records, of_seeds = [], []
    for seed in range(seeds):
        start = time.perf_counter()
        fit = fitted(data, settings, units, seed, quick)
        took = time.perf_counter() - start
        parity: Record = {}
        if subject.test is None:
            errors = hgn.held_out(fit, weighted(data, settings.energy_weight))
        else:
            errors, force, reference = test_errors(
                fit.model, testing(folder, subject, settings.cutoff, quick)
            )
            if seed == 0:
                few = slice(None, None, max(1, force.size // SHOWN))
                parity = {
                    "parity": {
                        "reference": reference[few].round(3).tolist(),
                        "predicted": force[few].round(3).tolist(),
                    }
                }
        of_seeds.append(errors)
        records.append(
            {"seed": seed, "judged_by": judged}
            | settings.record()
            | summary(errors)
            | {
                "frames": len(data.n_node),
                "atoms": int(np.sum(data.n_node)),
                "columns": sum(theta.size for theta in fit.model.theta),
                "ridge": float(np.max(fit.solutions[0].ridge)),
                "fit_seconds_with_compilation": took,
            }
            | parity
        )
        print(f"  {subject.name} {units} units, seed {seed}: {summary(errors)}", flush=True)
    if seeds > 1:
        errors = {kind: np.mean([e[kind] for e in of_seeds], axis=0) for kind in of_seeds[0]}
        mean = {"seed": "mean", "judged_by": judged} | settings.record() | summary(errors)
        records.append(mean)
    return records


def learning_curve(
    folder: Path, subject: Subject, settings: Settings, units: int, quick: bool
) -> Iterator[Record]:
    """Errors on the test frames against the number of training frames."""
    data = training(folder, subject, settings.cutoff, quick)
    test = testing(folder, subject, settings.cutoff, quick)
    for part in (0.5, 1.0) if quick else (0.125, 0.25, 0.5, 1.0):
        some = fraction(data, part)
        frames = int(np.sum(some.globals["energy_weight"]))
        errors, *_ = test_errors(fitted(some, settings, units, 0, quick).model, test)
        yield {"frames": frames, "part": part} | summary(errors)


def fit_time(folder: Path, subject: Subject, settings: Settings, units: int, quick: bool) -> Record:
    """Seconds of a fit after compilation, and of the product of the normal equations alone."""
    data = training(folder, subject, settings.cutoff, quick)
    _, warm = seconds(lambda: fitted(data, settings, units, 0, quick).model.theta, 1)
    columns = units + PAIR_UNITS
    rows = 3 * int(np.sum(data.n_node)) + len(data.n_node)
    matrix = jnp.asarray(np.random.default_rng(0).normal(size=(rows, columns)))
    product = jax.jit(lambda z: jnp.dot(z.T, z, precision="highest"))
    _, gram = seconds(lambda: product(matrix), 3)
    return {
        "rows": rows,
        "columns": columns,
        "warm_seconds": warm,
        "gram_seconds": gram,
        "warm_over_gram": warm / gram,
    }


def test_errors(
    model: hgn.HamiltonianGraphNetwork, data: GraphsTuple
) -> tuple[Errors, np.ndarray, np.ndarray]:
    """Errors by kind, and the predicted and observed force components."""
    found: dict[str, list[np.ndarray]] = {}
    forces: list[tuple[np.ndarray, np.ndarray]] = []
    for piece in packs(data, 256):
        predicted = jax.tree.map(np.asarray, _predicted(model, piece))
        real, body = np.asarray(graph_mask(piece)), np.asarray(node_mask(piece))
        truth = {**piece.globals, "force": piece.nodes["force"]}
        for kind, values in predicted.items():
            keep = body if kind == "force" else real
            wrong = (values - np.asarray(truth[kind]))[keep]
            if kind == "energy":
                wrong = wrong / np.asarray(bodies(piece))[keep]
            if kind == "stress":
                wrong = wrong[:, *np.triu_indices(3)]
            if kind == "force":
                forces.append((values[keep].ravel(), np.asarray(truth[kind])[keep].ravel()))
            found.setdefault(kind, []).append(wrong.ravel())
    predicted_force, reference = (np.concatenate(some) for some in zip(*forces, strict=True))
    return (
        {kind: np.concatenate(errors) for kind, errors in found.items()},
        predicted_force,
        reference,
    )


@eqx.filter_jit
def _predicted(model: hgn.HamiltonianGraphNetwork, graphs: GraphsTuple) -> dict[str, Array]:
    found = {"energy": model(graphs), "force": model.vector_field(graphs)[-1]}
    if "stress" in graphs.globals:
        volume = jnp.abs(jnp.linalg.det(graphs.globals["cell"]))[:, None, None]
        found["stress"] = model.virial(graphs) / jnp.where(volume > 0, volume, 1)
    return found


def summary(errors: Errors) -> Record:
    """Mean absolute and root mean square errors by kind, in eV (per atom), eV/A and eV/A^3."""
    return {
        f"{kind}_{how}": value
        for kind, e in errors.items()
        for how, value in (
            ("mae", float(np.mean(np.abs(e)))),
            ("rmse", float(np.sqrt(np.mean(e**2)))),
        )
    }


def median(records: list[Record], key: str) -> float | None:
    """Median over the seeds; None if there is no such error."""
    values = [r[key] for r in records if key in r]
    return statistics.median(values) if values else None
