"""How much of the motion each group of columns carries, and which symmetries that breaks."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from ..features.multipoles import AbstractMultipoles
from ..linear.base import AbstractLeastSquares, LeastSquaresSolution, posterior
from ..linear.omission import evidence_without
from ..linear.qr import QR
from ..linear.triangle import Triangle
from ..models.basis import Basis
from .axes import Axis, axis_of
from .equations import group_labels
from .reduction import Reduction
from .uncertainty import half_covariance

PRESENT = 10.0
"""Nats of evidence that a group must be worth to count as present."""


@dataclasses.dataclass(frozen=True)
class Group:
    """One group of columns of a fit."""

    name: str
    share: float
    """Norm of its contribution to the weighted rows over the norm of the observed values."""
    parameters: float
    """Effective number of parameters."""
    nats: float
    """Log evidence lost without it, the ridges of the other groups chosen again (nats)."""
    axis: Axis | None
    """Direction of a group of degree 1, principal axis of one of degree 2."""

    @property
    def present(self) -> bool:
        """True if the data need the group: without it they are e^10 times less probable."""
        return self.nats > PRESENT


@dataclasses.dataclass(frozen=True)
class Breaking:
    """Groups of columns of a fit; printed as a table."""

    groups: tuple[Group, ...]

    def __getitem__(self, name: str) -> Group:
        """The group of that name."""
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(f"no group {name!r}; the groups are {[g.name for g in self.groups]}")

    def __str__(self) -> str:
        width = max(len(group.name) for group in self.groups)
        lines = [f"{'group':{width}}  {'share':>8}  parameters  {'nats':>8}"]
        for group in self.groups:
            share = f"{group.share:.4f}" if group.share >= 1e-4 else f"{group.share:.0e}"
            # Adding zero turns -0 into 0.
            nats = f"{round(group.nats) + 0:d}"
            parameters = f"{max(group.parameters, 0.0):.1f}"
            line = f"{group.name:{width}}  {share:>8}  {parameters:>10}  {nats:>8}"
            if not group.present:
                line += "  absent"
            elif group.axis is not None:
                line += f"  {group.axis}"
            lines.append(line)
        return "\n".join(lines)


def breaking(
    basis: Basis,
    reduction: Reduction,
    solutions: Sequence[LeastSquaresSolution],
    solver: AbstractLeastSquares,
) -> Breaking:
    """Table of the groups of a fit, see `Fit.breaking`."""
    if not isinstance(solver, QR) or solver.choice != "groups":
        raise ValueError(
            "breaking() compares the ridges of groups of columns: fit with "
            'solver=hgn.QR(ridge="groups")'
        )
    groups: list[Group] = []
    for triangle, members, solution, observed in zip(
        reduction.triangles, reduction.members, solutions, reduction.observed
    ):
        if members:
            groups += _groups(basis, triangle, members, solution, float(observed))
    return Breaking(tuple(groups))


def _groups(
    basis: Basis,
    triangle: Triangle,
    members: Sequence[tuple[int, int]],
    solution: LeastSquaresSolution,
    observed: float,
) -> list[Group]:
    """Groups of one system."""
    widths = solution.groups
    lost = solution.evidence - evidence_without(triangle, widths, solution.ridge)
    ends = np.cumsum((0, *widths))
    axes = _axes(basis, triangle, members, solution)
    return [
        Group(
            name,
            # Columns of R have the norms and angles of the columns of the data.
            float(jnp.linalg.norm(triangle.r[:, a:b] @ solution.theta[a:b])) / (observed or 1.0),
            float(solution.group_dof[k]),
            float(lost[k]),
            axes.get(a),
        )
        for k, (name, a, b) in enumerate(zip(group_labels(basis, members), ends, ends[1:]))
    ]


def _axes(
    basis: Basis,
    triangle: Triangle,
    members: Sequence[tuple[int, int]],
    solution: LeastSquaresSolution,
) -> dict[int, Axis]:
    """Axes of the groups of degrees 1 and 2, by their first column."""
    axes, start = {}, 0
    factors = posterior(triangle, solution)
    for i, width in members:
        term = basis.terms[i] if i < len(basis.terms) else None
        if not isinstance(term, AbstractMultipoles):
            start += width
            continue
        assert term.dimension is not None
        for degree, columns in zip(term.degrees, term.groups(width)):
            if degree in (1, 2):
                own = term.multipole(degree)
                # Amplitudes are linear in the coefficients: their covariance is that of these rows.
                rows = jnp.zeros((len(own), triangle.columns), own.dtype)
                rows = rows.at[:, start : start + columns].set(own)
                half = np.asarray(half_covariance(factors, solution.noise, rows))
                amplitude = np.asarray(rows @ solution.theta)
                axes[start] = axis_of(degree, amplitude, half.T @ half, term.dimension)
            start += columns
    return axes
