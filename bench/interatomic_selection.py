"""What a choice among more features than are kept buys: errors on held-out training frames."""

from pathlib import Path

import numpy as np
import scipy.linalg
from jaxtyping import Array, Float, Int

from hgn_jax.linear.gram import Gram

from .interatomic_data import Subject, training
from .interatomic_fits import Settings, fitted
from .record import Record

TIMES = 5
"""Candidates for each feature that is kept."""
RIDGES = 10.0 ** np.arange(-11, -3.9, 0.5)
"""Squared ridges, relative to the greatest eigenvalue."""


def selection(
    folder: Path, subject: Subject, settings: Settings, units: int, quick: bool
) -> list[Record]:
    """Relative error of held-out rows with `units` features: drawn at random, or chosen from
    several times as many by the pivots of a Cholesky factorisation, which favour independent
    columns, or greedily by how much of the target of the training frames each explains beside those
    before it (orthogonal least squares: Chen, Billings, Luo, Int. J. Control 50, 1989). Pair
    features always stay. Choices do not see the held-out frames."""
    data = training(folder, subject, settings.cutoff, quick)
    fit = fitted(data, settings, TIMES * units, 0, quick)
    (gram,) = fit.reduction.systems
    assert isinstance(gram, Gram)
    ((_, pairs), *_) = fit.reduction.members[0]
    found = []
    for chosen_by in ("chance", "pivots", "greedy", "nothing"):
        error, square = held_out(gram, units, pairs, chosen_by)
        count = TIMES * units if chosen_by == "nothing" else units
        found.append(
            {"chosen_by": chosen_by, "kept": count, "held_out": error, "squared_ridge": square}
        )
    return found


def held_out(gram: Gram, kept: int, first: int, chosen_by: str) -> tuple[float, float]:
    """Relative error of held-out rows with the best ridge, and that ridge squared. The `first`
    columns are always kept."""
    norm, squares = np.asarray(gram.norm()), np.asarray(gram.square)
    matrix, right = (
        np.asarray(gram.matrix) / np.outer(norm, norm),
        np.asarray(gram.projected) / norm,
    )
    total, target = matrix.sum(axis=0), right.sum(axis=0)
    errors = np.zeros(len(RIDGES))
    for own, own_right, square in zip(matrix, right, squares):
        others, aim = total - own, target - own_right
        columns = _columns(others, aim, kept, first, chosen_by)
        inner, part = others[np.ix_(columns, columns)], own[np.ix_(columns, columns)]
        values, axes = scipy.linalg.eigh(inner)
        for k, ridge in enumerate(RIDGES * values[-1]):
            theta = axes @ ((axes.T @ aim[columns]) / (values + ridge))
            errors[k] += theta @ part @ theta - 2 * theta @ own_right[columns] + square
    best = int(errors.argmin())
    relative = np.sqrt(errors[best] / squares.sum())
    return float(relative), float(RIDGES[best])


def _columns(
    matrix: Float[np.ndarray, "K K"],
    aim: Float[np.ndarray, " K"],
    kept: int,
    first: int,
    chosen_by: str,
) -> Int[np.ndarray, " _"]:
    every = np.arange(len(matrix))
    if chosen_by == "nothing":
        return every
    if chosen_by == "chance":
        # Candidates come signature by signature: strides take some of each.
        return np.append(every[:first], every[first :: (len(every) - first) // kept][:kept])
    return pivots(matrix, aim, kept + first, first, greedy=chosen_by == "greedy")


def pivots(
    matrix: Float[np.ndarray, "K K"],
    aim: Float[np.ndarray, " K"],
    count: int,
    first: int,
    *,
    greedy: bool,
) -> Int[np.ndarray, " c"]:
    """Order of a Cholesky factorisation that begins with the `first` columns and goes on with the
    column of greatest rest, or if `greedy` with that whose rest explains most of the target."""
    columns = len(matrix)
    factor: Array = np.zeros((columns, count))
    rest, left = np.diag(matrix).copy(), aim.copy()
    taken: list[int] = []
    for k in range(count):
        score = left**2 / np.maximum(rest, 1e-10) if greedy else rest.copy()
        score[rest < 1e-10] = -1
        score[taken] = -2
        j = k if k < first else int(score.argmax())
        root = np.sqrt(max(rest[j], 1e-300))
        column = (matrix[:, j] - factor[:, :k] @ factor[j, :k]) / root
        left = left - column * (left[j] / root)
        factor[:, k] = column
        rest = np.maximum(rest - column**2, 0)
        taken.append(j)
    return np.array(taken)
