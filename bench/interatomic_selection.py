"""Gain from choosing among more features than are kept: errors on held-out training frames."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

from hgn_jax.linear.gram import Gram

from .interatomic_data import Subject, training
from .interatomic_fits import Settings, fitted
from .record import Record

TIMES = 5
"""Candidates for each feature that is kept."""
RIDGES = 10.0 ** np.arange(-11, -3.9, 0.5)
"""Squared ridges, relative to the greatest eigenvalue."""

Columns = Int[np.ndarray, " _"]
Choice = Callable[[Float[np.ndarray, "K K"], Float[np.ndarray, " K"]], Columns]
"""Columns to keep, from $Z^T Z$ and $Z^T u$ of the training frames."""


def selection(
    folder: Path, subject: Subject, settings: Settings, units: int, quick: bool
) -> list[Record]:
    """Relative error of held-out rows with `units` features: drawn at random, or chosen from
    several times as many by the pivots of a Cholesky factorisation, which favour independent
    columns, or greedily by how much of the target of the training frames each explains beside those
    before it (orthogonal least squares: Chen, Billings, Luo, Int. J. Control 50, 1989). Pair
    features and constants always stay. Choices do not see the held-out frames."""
    data = training(folder, subject, settings.cutoff, quick)
    fit = fitted(data, settings, TIMES * units, 0, quick)
    (gram,) = fit.reduction.systems
    assert isinstance(gram, Gram)
    (_, pairs), (_, candidates), *_ = fit.reduction.members[0]
    stay = np.delete(np.arange(gram.columns), pairs + np.arange(candidates))
    # Candidates come signature by signature: strides take some of each.
    drawn = pairs + np.arange(0, candidates, TIMES)
    choices: dict[str, tuple[int, Choice]] = {
        "chance": (len(drawn), lambda matrix, aim: np.append(stay, drawn)),
        "pivots": (units, partial(pivots, stay=stay, kept=units, greedy=False)),
        "greedy": (units, partial(pivots, stay=stay, kept=units, greedy=True)),
        "nothing": (candidates, lambda matrix, aim: np.arange(gram.columns)),
    }
    records = []
    for chosen_by, (kept, choose) in choices.items():
        error, square = held_out(gram, choose)
        records.append(
            {"chosen_by": chosen_by, "kept": kept, "held_out": error, "squared_ridge": square}
        )
    return records


def held_out(gram: Gram, choose: Choice) -> tuple[float, float]:
    """Relative error of held-out rows with the best ridge, and that ridge squared."""
    norm, squares = np.asarray(gram.norm()), np.asarray(gram.square)
    matrix, right = (
        np.asarray(gram.matrix) / np.outer(norm, norm),
        np.asarray(gram.projected) / norm,
    )
    total, target = matrix.sum(axis=0), right.sum(axis=0)
    errors = np.zeros(len(RIDGES))
    for own, own_right, square in zip(matrix, right, squares):
        others, aim = total - own, target - own_right
        columns = choose(others, aim)
        inner, part = others[np.ix_(columns, columns)], own[np.ix_(columns, columns)]
        values, axes = scipy.linalg.eigh(inner)
        for k, ridge in enumerate(RIDGES * values[-1]):
            theta = axes @ ((axes.T @ aim[columns]) / (values + ridge))
            errors[k] += theta @ part @ theta - 2 * theta @ own_right[columns] + square
    best = int(errors.argmin())
    return float(np.sqrt(errors[best] / squares.sum())), float(RIDGES[best])


def pivots(
    matrix: Float[np.ndarray, "K K"],
    aim: Float[np.ndarray, " K"],
    *,
    stay: Columns,
    kept: int,
    greedy: bool,
) -> Columns:
    """Order of a Cholesky factorisation that begins with the columns that `stay` and goes on with
    `kept` more: each is the one of greatest rest, or if `greedy` the one whose rest explains most
    of the target."""
    count = len(stay) + kept
    factor, rest, left = np.zeros((len(matrix), count)), np.diag(matrix).copy(), aim.copy()
    taken: list[int] = []
    for k in range(count):
        score = left**2 / np.maximum(rest, 1e-10) if greedy else rest.copy()
        score[rest < 1e-10] = -1
        score[taken] = -2
        j = int(stay[k]) if k < len(stay) else int(score.argmax())
        root = np.sqrt(max(rest[j], 1e-300))
        column = (matrix[:, j] - factor[:, :k] @ factor[j, :k]) / root
        left = left - column * (left[j] / root)
        factor[:, k] = column
        rest = np.maximum(rest - column**2, 0)
        taken.append(j)
    return np.array(taken)
