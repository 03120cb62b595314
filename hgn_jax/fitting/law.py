"""The law that a fit has found, as text: coefficients of exact columns with standard deviations."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from ..features.exact import AbstractExact
from ..linear.base import LeastSquaresSolution
from ..models.basis import Basis
from .axes import measured
from .covariance import covariance_of
from .reduction import Reduction

ABSENT = 1e-8
"""Share of the observed motion below which a column was removed by its ridge."""


def law(basis: Basis, reduction: Reduction, solutions: Sequence[LeastSquaresSolution]) -> str:
    """One line for every term, see `Fit.law`."""
    lines: dict[int, str] = {}
    for rows, members, solution, observed in zip(
        reduction.systems, reduction.members, solutions, reduction.observed
    ):
        r, size, start = rows.triangle().r, float(observed) or 1.0, 0
        for i, width in members:
            own = slice(start, start + width)
            start += width
            if i == len(basis.terms):
                continue
            term, theta = basis.terms[i], np.asarray(solution.theta[own])
            share = float(jnp.linalg.norm(r[:, own] @ solution.theta[own])) / size
            if not isinstance(term, AbstractExact):
                lines[i] = f"{term.name}: {width} random units, {share:.1e} of the motion"
                continue
            covariance = covariance_of(rows, solution, jnp.eye(width, dtype=r.dtype), own.start)
            shares = np.linalg.norm(r[:, own], axis=0) * abs(theta) / size
            parts = [
                measured(float(value), float(std)) + formula
                for value, std, formula, amount in zip(
                    theta, np.sqrt(np.diag(covariance)), term.formulas(width), shares
                )
                if amount > ABSENT
            ]
            joined = " + ".join(parts).replace("+ -", "- ")
            lines[i] = f"{term.name}: {joined or 'nothing'}"
    return "\n".join(lines[i] for i in sorted(lines))
