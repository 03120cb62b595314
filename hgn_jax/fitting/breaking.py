"""How much of the motion each group of columns carries, and which symmetries that breaks."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from ..features.multipoles import AbstractMultipoles
from ..linear.base import AbstractLeastSquares, LeastSquaresSolution, posterior
from ..linear.independence import beside
from ..linear.omission import evidence_without
from ..linear.qr import QR
from ..linear.triangle import Triangle, column_scale
from ..models.basis import Basis
from .axes import Axis, axis_of
from .equations import group_labels
from .reduction import Reduction
from .uncertainty import half_covariance

PRESENT = 10.0
"""Nats of evidence that a group must be worth to count as present."""
UNSEEN = 0.1
"""Share of the motion that data should be able to show."""


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
    least: float
    """Least share that these data could show, beside the other groups and the noise."""
    axis: Axis | None
    """Direction of a group of degree 1, principal axis of one of degree 2."""

    @property
    def present(self) -> bool:
        """True if the data need the group: without it they are e^10 times less probable."""
        return self.nats > PRESENT

    @property
    def seen(self) -> bool:
        """True if the data could show the group: if not, it may be there and yet not be present."""
        return self.present or self.least < UNSEEN


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
            if not group.seen:
                line += "  not seen: these data cannot tell it from other groups, or from noise"
            elif not group.present:
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
    own = _own_part(triangle, ends)
    noise = float(solution.noise) / (observed or 1.0)
    return [
        Group(
            name,
            # Columns of R have the norms and angles of the columns of the data.
            float(jnp.linalg.norm(triangle.r[:, a:b] @ solution.theta[a:b])) / (observed or 1.0),
            float(solution.group_dof[k]),
            float(lost[k]),
            # Noise alone gives about this contribution to as many columns.
            noise * math.sqrt(b - a) / own[k] if own[k] > 0 else math.inf,
            axes.get(a),
        )
        for k, (name, a, b) in enumerate(zip(group_labels(basis, members), ends, ends[1:]))
    ]


def _own_part(triangle: Triangle, ends: np.ndarray) -> list[float]:
    """Share of each group's columns that is no combination of those of the other groups."""
    columns = np.asarray(triangle.r / column_scale(triangle.r)[None])
    shares = []
    for a, b in itertools.pairwise(ends):
        group, others = columns[:, a:b], np.delete(columns, np.s_[a:b], axis=1)
        size = np.linalg.norm(group)
        shares.append(float(np.linalg.norm(beside(group, others)) / size) if size else 0.0)
    return shares


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
