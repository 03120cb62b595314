"""The law that a fit has found, as text: coefficients of exact columns with standard deviations."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from ..features.exact import AbstractExact
from ..linear.base import LeastSquaresSolution
from ..models.basis import Basis
from .axes import measured
from .reduction import Reduction
from .uncertainty import deviations_of_columns

ABSENT = 1e-8
"""Share of the observed motion below which a column was removed by its ridge."""


def law(basis: Basis, reduction: Reduction, solutions: Sequence[LeastSquaresSolution]) -> str:
    """One line for every term, see `Fit.law`."""
    lines: dict[int, str] = {}
    for triangle, members, solution, observed in zip(
        reduction.triangles, reduction.members, solutions, reduction.observed
    ):
        size, start = float(observed) or 1.0, 0
        for i, width in members:
            own = slice(start, start + width)
            start += width
            if i == len(basis.terms):
                continue
            term, theta = basis.terms[i], solution.theta[own]
            # Columns of the triangle have the norms and the angles of the columns of the data.
            contributions = np.asarray(triangle.r[:, own] * theta[None])
            if not isinstance(term, AbstractExact):
                share = np.linalg.norm(contributions.sum(axis=1)) / size
                lines[i] = f"{term.name}: {width} columns, {share:.1e} of the motion"
                continue
            # Unit columns predict the coefficients themselves.
            columns = [
                jnp.eye(width, dtype=theta.dtype) if t is term else None for t in basis.terms
            ]
            deviations = deviations_of_columns(reduction, solutions, columns)
            formulas = [
                measured(float(value), float(std)) + formula
                for value, std, formula, share in zip(
                    theta,
                    deviations,
                    term.formulas(width),
                    np.linalg.norm(contributions, axis=0) / size,
                )
                if share > ABSENT
            ]
            joined = " + ".join(formulas).replace("+ -", "- ")
            lines[i] = f"{term.name}: {joined or 'nothing'}"
    return "\n".join(lines[i] for i in sorted(lines))
