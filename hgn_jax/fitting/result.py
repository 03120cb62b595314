"""Result of a fit: the model, figures of merit, and the state that is needed to add data."""

import os
import warnings
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from jraph import GraphsTuple

from .._tree import all_finite, is_concrete
from ..features.base import AbstractEnergy
from ..io.model_file import save
from ..linear.base import AbstractLeastSquares, LeastSquaresSolution, differentiable
from ..linear.gram import Gram
from ..linear.nonnegative import nonnegative
from ..linear.prior import GaussianPrior
from ..linear.ridge import RidgePath, path, ridges, spectrum
from ..linear.triangle import Triangle
from ..models.network import HamiltonianGraphNetwork
from .breaking import Breaking, breaking
from .energies import Energies
from .equations import Equations, LinearSystem, column_groups, model_of, signed_columns
from .law import law
from .outcome import RESULTS, outcome
from .reduction import Reduction, extend, reduce, without
from .refinement import Refinement
from .uncertainty import DeviationScale, StandardDeviation, standard_deviation
from .verdict import is_poor, verdict, words_on_constant


class Fit(eqx.Module):
    """A learned Hamiltonian with figures of merit. The coefficients are differentiable (except
    after `update` or a stream), the figures are not."""

    model: HamiltonianGraphNetwork
    solutions: tuple[LeastSquaresSolution, ...]
    """One per independent system, such as those of the kinetic and of the pair columns."""
    result: RESULTS
    constant_known: Bool[Array, ""]
    """True if observed energies determined the additive constant of graphs of any size."""
    equations: Equations
    """Turned the data into rows; their scales also apply to further batches."""
    reduction: Reduction
    """Factorised rows, kept in place of the data: `update` adds to them."""
    solver: AbstractLeastSquares
    deviation_scales: dict[str, DeviationScale] | None = None
    """Scales of the standard deviations of each kind, from `hgn.calibrate`."""
    refinement: Refinement | None = None
    """Path of residuals, from `hgn.refine`."""
    priors: tuple[GaussianPrior | None, ...] | None = None
    """Prior of every system from related fits, by `hgn.prior`; `update` keeps it."""

    def update(self, batch: GraphsTuple, *, throw: bool = True) -> "Fit":
        """Fit to all data so far and `batch`, with the same features and weights.

        Equal to one fit to all data with features sampled from the first, at the cost of the batch.

        **Raises:** `ValueError` for bad data, for other arrays than before (such as energies), or
        for species or edge types absent in training.
        """
        if is_concrete(batch):
            self.equations.check(batch)
        return raise_if(throw, _updated(self, batch))

    def forget(self, batch: GraphsTuple, *, throw: bool = True) -> "Fit":
        """Fit without the rows of `batch`, which were part of it, with the same features and
        weights.

        Equal to the fit to all other data to rounding, at the cost of the batch. Where the batch
        alone determined some coefficients, half of their digits are rounding errors, and a fit
        without noise ends at a residual of about 1e-12. The trained range remains.

        A triangle does not list its rows. Rows that never were are an error if they exceed those of
        the fit in some direction, as a batch that is forgotten twice does. Further data of the kind
        that the fit has learned from may pass unnoticed.

        **Raises:** `ValueError` for data that `update` refuses, and for fits by `FrameCV`, whose
        folds do not tell where a frame went. `RuntimeError` for rows that never were.
        """
        if self.solver.folds:
            raise ValueError(
                "a fit by FrameCV() cannot forget: it does not know which fold holds the frames. "
                'Fit with another ridge, solver=hgn.QR(ridge="evidence")'
            )
        if is_concrete(batch):
            self.equations.check(batch)
        return raise_if(throw, _forgotten(self, batch))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Saves the model; see `hgn.save`."""
        save(path, self.model)

    def standard_deviation(
        self, graphs: GraphsTuple, *, reference: GraphsTuple | None = None
    ) -> StandardDeviation:
        """Predictive standard deviations of energies, velocities and forces (`StandardDeviation`).
        Energies are relative to the mean of `reference`, or of `graphs` if None."""
        found = standard_deviation(
            self.equations, self.reduction, self.solutions, graphs, reference
        )
        scales = self.deviation_scales
        return found if scales is None else found.calibrated(scales, graphs)

    def breaking(self) -> Breaking:
        """Table of the groups of columns: what share of the motion each carries, how many
        parameters it takes, how much evidence is lost without it, and the axis of groups of degree
        1 and 2. It tells which symmetries are broken, and by how much; concrete fits only.

        **Raises:** `ValueError` unless the solver was `QR(ridge="groups")`.
        """
        return breaking(self.equations.basis, self.reduction, self.solutions, self.solver)

    def law(self) -> str:
        """The law that was found: for every term of exact columns (`Powers`, `UniformField`,
        `HarmonicTrap`) its coefficients with the standard deviation of their last digit, for the
        others the share of the motion that they carry; concrete fits only."""
        return law(self.equations.basis, self.reduction, self.solutions)

    def ridge_paths(self) -> tuple[RidgePath, ...]:
        """Evidence, generalised cross-validation, degrees of freedom and residual along a path of
        ridges, for every solution. Needs no data."""
        return tuple(
            path(t, *spectrum(t)[:2], ridges(t.r.dtype))
            for t in self.reduction.triangles
            if t.columns
        )

    @property
    def energies_observed(self) -> bool:
        """True if energies were observed; if not, the additive constant is zero."""
        return self.equations.energies is not None

    @property
    def rows(self) -> Int[Array, "..."]:
        """Number of equations of positive weight."""
        return self.reduction.rows

    @property
    def effective_dof(self) -> Float[Array, "..."]:
        """Effective degrees of freedom: the number of coefficients that the data determine."""
        return jnp.sum(jnp.stack([s.effective_dof for s in self.solutions]), axis=0)

    @property
    def columns(self) -> int:
        """Number of unknowns of all systems."""
        return sum(s.theta.shape[-1] for s in self.solutions)

    @property
    def rank(self) -> Int[Array, "..."]:
        """Sum of the numerical ranks. Random features are nearly dependent: below `columns`."""
        return jnp.sum(jnp.stack([s.rank for s in self.solutions]), axis=0)

    @property
    def condition(self) -> Float[Array, "..."]:
        """Worst condition number of the column-scaled systems."""
        return jnp.max(jnp.stack([s.condition for s in self.solutions]), axis=0)

    @property
    def residual(self) -> Float[Array, "..."]:
        """Worst relative residual of the weighted systems."""
        return jnp.max(jnp.stack([s.residual for s in self.solutions]), axis=0)

    @property
    def held_out(self) -> Float[Array, "..."] | None:
        """Worst relative residual of held-out frames; None without `FrameCV`."""
        found = [s.held_out for s in self.solutions if s.held_out is not None]
        return jnp.max(jnp.stack(found), axis=0) if found else None

    @property
    def ridge(self) -> Float[Array, "..."]:
        """Greatest ridge of all groups of columns."""
        return jnp.max(jnp.concatenate([s.ridge for s in self.solutions], axis=-1), axis=-1)

    @property
    def trust(self) -> Float[Array, "..."] | None:
        """Least trust in the prior of `hgn.prior` among all systems, 0 if the evidence left it out;
        None without a prior."""
        found = [s.prior.trust for s in self.solutions if s.prior is not None]
        return jnp.min(jnp.stack(found), axis=0) if found else None

    @property
    def cancellation(self) -> Float[Array, "..."]:
        """Worst cancellation, sum |theta phi| over |sum theta phi|."""
        return jnp.max(jnp.stack([s.cancellation for s in self.solutions]), axis=0)

    @property
    def trained_range(self) -> dict[str, Float[Array, "... 2"]]:
        """Least and greatest local input of each kind of feature (speeds, distances)."""
        ranges = {term.name: term.trained_range() for term in self.model.terms}
        return {name: range_ for name, range_ in ranges.items() if range_ is not None}

    @property
    def verdict(self) -> str:
        """How much of the motion the model explains, and what to do; concrete values only."""
        return verdict(self.solutions, self.model.basis, self.reduction)

    def summary(self) -> str:
        """Verdict and figures of merit as text; concrete values only."""
        constant = words_on_constant(
            self.model.constants.shape[-1], self.energies_observed, self.constant_known
        )
        methods = sorted(
            {f"{s.method} QR" if s.held_out is None else "normal equations" for s in self.solutions}
        )
        lines = [
            self.verdict,
            f"{int(self.rows)} rows, {self.columns} columns, rank {int(self.rank)}, effective "
            f"degrees of freedom {float(self.effective_dof):.1f} ({' and '.join(methods)})",
            f"relative residual {float(self.residual):.1e}, condition {float(self.condition):.1e}, "
            f"ridge {float(self.ridge):.1e}, cancellation {float(self.cancellation):.1e}",
            f"constant of the energy: {constant}",
        ]
        if self.refinement is not None:
            lines.append(self.refinement.words())
        if self.trust is not None:
            lines.append(f"trust in the prior from other systems: {float(self.trust):g}")
        if self.held_out is not None:
            lines.insert(3, f"relative residual of held-out frames {float(self.held_out):.1e}")
        for name, ranges in self.trained_range.items():
            for low, high in jnp.reshape(ranges, (-1, 2)):
                lines.append(f"trained range of {name}: {float(low):.4g} .. {float(high):.4g}")
        lines += [w for t, x in zip(self.model.terms, self.model.theta) for w in t.remarks(x)]
        if self.result != RESULTS.successful:
            lines.append(f"FAILED: {RESULTS[self.result]}")  # type: ignore[misc]
        return "\n".join(lines)


def conclude(
    equations: Equations,
    reduction: Reduction,
    solver: AbstractLeastSquares,
    systems: Sequence[LinearSystem] = (),
    priors: tuple[GaussianPrior | None, ...] | None = None,
) -> Fit:
    """Solves the factorised systems, those with a prior by it. With their rows in `systems`, theta
    is differentiable."""
    solutions, thetas = [], []
    for i, (triangle, members) in enumerate(zip(reduction.systems, reduction.members)):
        own = solver if priors is None else priors[i] or solver
        solution = own.solve(triangle, column_groups(equations.basis, members))
        solution = nonnegative(triangle, solution, signed_columns(equations.basis, members))
        figures = jax.lax.stop_gradient(_of_observed(solution, triangle, reduction.observed[i]))
        theta = solution.theta
        if systems and members and isinstance(triangle, Triangle):
            theta = differentiable(systems[i].matrix, systems[i].target, triangle, solution)
        solutions.append(eqx.tree_at(lambda s: s.theta, figures, theta))
        thetas.append(theta)
    model, known = model_of(equations, reduction.members, thetas), jnp.array(False)
    if reduction.offsets is not None:
        of_energies = [
            theta
            for term, theta in zip(model.terms, model.theta)
            if isinstance(term, AbstractEnergy)
        ]
        offsets, known = reduction.offsets.constants(jnp.concatenate(of_energies))
        if not any(isinstance(o, Energies) for o in equations.observations):
            model = eqx.tree_at(lambda m: m.constants, model, model.constants + offsets)
    counted = jnp.all(jnp.stack([t.rows > 0 for t in reduction.systems]), axis=0)
    result = outcome(~reduction.broken, counted, all_finite((model.theta, model.constants)))
    return Fit(model, tuple(solutions), result, known, equations, reduction, solver, priors=priors)


def _of_observed(
    solution: LeastSquaresSolution, triangle: Triangle | Gram, observed: Float[Array, ""]
) -> LeastSquaresSolution:
    """The solution with its residual relative to the observed values, their known part included."""
    share = jnp.where(observed > 0, triangle.target_norm / jnp.where(observed > 0, observed, 1), 1)
    return eqx.tree_at(lambda s: s.residual, solution, solution.residual * share)


@eqx.filter_jit
def _updated(fit: Fit, batch: GraphsTuple) -> Fit:
    systems = fit.equations.systems(batch)
    reduction = extend(fit.reduction, fit.equations, systems, batch)
    return conclude(fit.equations, reduction, fit.solver, priors=fit.priors)


@eqx.filter_jit
def _forgotten(fit: Fit, batch: GraphsTuple) -> Fit:
    removed = reduce(fit.equations, fit.equations.systems(batch), batch, fit.solver)
    reduction, foreign = without(fit.reduction, removed)
    remaining = conclude(fit.equations, reduction, fit.solver, priors=fit.priors)
    result = RESULTS.where(foreign, RESULTS.foreign_rows, remaining.result)  # type: ignore[arg-type]
    return eqx.tree_at(lambda f: f.result, remaining, result)


def raise_if(throw: bool, fit: Fit) -> Fit:
    """The fit; raises if it failed and warns if it is poor, unless told not to throw."""
    if not throw:
        return fit
    failed = fit.result != RESULTS.successful
    if not is_concrete(failed) or np.asarray(failed).any():
        fit = fit.result.error_if(fit, failed)
    if is_concrete(fit.solutions) and is_poor(fit.solutions):
        warnings.warn(fit.verdict, stacklevel=3)
    return fit
