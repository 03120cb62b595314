"""Standard deviations of what a fit predicts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import GraphScalars, Vectors
from ..graphs.geometry import bodies, graph_mask
from ..linear.base import LeastSquaresSolution, posterior
from .equations import Equations
from .reduction import Reduction


class DeviationScale(NamedTuple):
    """Calibration of a deviation s: sqrt((c s)^2 + (b u)^2), with factor c, floor b and unit u."""

    factor: Float[Array, ""]
    floor: Float[Array, ""]

    def __call__(self, deviation: Array, unit: Array | float = 1.0) -> Array:
        return jnp.hypot(self.factor * deviation, self.floor * unit)


class StandardDeviation(eqx.Module):
    r"""Standard deviations of what the model predicts, in the units of the data.

    Bayesian linear regression (Bishop, Pattern Recognition and Machine Learning, section 3.3):
    theta is normal with covariance $\sigma^2 (Z^T Z + \lambda^2 D^2)^{-1}$, D the column norms,
    $\lambda$ the ridge of each column, $\sigma$ the noise of a weighted row. A prediction
    is a row z times theta: $\sigma |(R_\lambda D)^{-T} z|$.

    This is the uncertainty that noise and a finite number of data leave, if the features can
    express the truth and all weighted rows have equal noise. It does not include what the features
    cannot express (too few units, a missing force, states outside of the trained range), and is
    overconfident there. It is overconfident, too, if the noise of all bodies is equal but their
    weights are not: use weights="uniform" then (bench/least_squares.py). The noise of a new
    observation is not included.
    """

    energy: GraphScalars | None
    """Standard deviation of each energy relative to the mean of the reference graphs (per constant
    count), since rates do not determine additive constants. Errors of observed constants are not
    included. None if there is no reference and the graphs are too few to form that mean."""
    rates: dict[str, Vectors]
    """Standard deviations of the rates by their names: "velocity" and "force"."""

    def calibrated(
        self, scales: Mapping[str, "DeviationScale"], graphs: GraphsTuple
    ) -> "StandardDeviation":
        """Copy with every kind calibrated that has a scale."""
        energy = self.energy
        if energy is not None and "energy" in scales:
            energy = scales["energy"](energy, jnp.sqrt(bodies(graphs)))
        rates = {n: scales[n](r) if n in scales else r for n, r in self.rates.items()}
        return StandardDeviation(energy, rates)

    @property
    def velocity(self) -> Vectors:
        """Standard deviation of each velocity component (length / time)."""
        return self.rates["velocity"]

    @property
    def force(self) -> Vectors:
        """Standard deviation of each force component (mass * length / time^2)."""
        return self.rates["force"]


Factors = tuple[tuple[Float[Array, "_ _"], Float[Array, " _"]], ...]
"""R and the column norms of each system."""


@eqx.filter_jit
def standard_deviation(
    equations: Equations,
    reduction: Reduction,
    solutions: Sequence[LeastSquaresSolution],
    graphs: GraphsTuple,
    reference: GraphsTuple | None,
) -> StandardDeviation:
    """Predictive standard deviations, see `StandardDeviation`."""
    factored = factors(reduction, solutions)
    return deviations(equations, factored, reduction.members, solutions, graphs, reference)


def factors(reduction: Reduction, solutions: Sequence[LeastSquaresSolution]) -> Factors:
    """Factors of the covariance of each system's coefficients."""
    return tuple(posterior(t, s) for t, s in zip(reduction.systems, solutions))


def deviations(
    equations: Equations,
    factors: Factors,
    members: Sequence[Sequence[tuple[int, int]]],
    solutions: Sequence[LeastSquaresSolution],
    graphs: GraphsTuple,
    reference: GraphsTuple | None,
) -> StandardDeviation:
    """Standard deviations from the factors of the covariances."""
    basis = equations.basis
    rates = basis.rates(graphs)
    # So few graphs are explained by the constants exactly.
    few = reference is None and len(graphs.n_node) <= max(1, basis.constant_count)
    if _constants_by_folds(equations, members, solutions):
        few, energies = False, [*basis.energies(graphs), basis.constants(graphs)]
    else:
        energies = _centred(equations, graphs, graphs if reference is None else reference)
    shape, dtype = graphs.nodes["position"].shape, graphs.nodes["position"].dtype
    variances = {name: jnp.zeros(shape, dtype) for name in basis.dynamics.observed}
    energy = jnp.zeros(graphs.n_node.shape, dtype)
    # Systems are independent: variances add.
    for known in zip(factors, members, solutions):
        for name, columns in zip(basis.dynamics.observed, rates):
            variances[name] = variances[name] + _variance(*known, columns, shape)
        energy = energy + _variance(*known, energies, graphs.n_node.shape)
    rates_std = {name: jnp.sqrt(variance) for name, variance in variances.items()}
    return StandardDeviation(None if few else jnp.sqrt(energy), rates_std)


def deviations_of_columns(
    reduction: Reduction,
    solutions: Sequence[LeastSquaresSolution],
    columns: Sequence[Float[Array, "s _"] | None],
) -> Float[Array, " s"]:
    """Standard deviations of columns `[s K]` of each term times its coefficients; terms whose
    columns are None do not count."""
    shape = next(c.shape[:1] for c in columns if c is not None)
    variance = jnp.zeros(shape, solutions[0].noise.dtype)
    for rows, members, solution in zip(reduction.systems, reduction.members, solutions):
        if members:
            known = posterior(rows, solution), members, solution
            variance = variance + _variance(*known, columns, shape)
    return jnp.sqrt(variance)


def _constants_by_folds(
    equations: Equations,
    members: Sequence[Sequence[tuple[int, int]]],
    solutions: Sequence[LeastSquaresSolution],
) -> bool:
    """True if the constants are unknowns of a cross-validated system, whose errors are known."""
    constants = len(equations.basis.terms)
    return any(
        solution.of_folds is not None and any(i == constants for i, _ in of_system)
        for of_system, solution in zip(members, solutions)
    )


def _variance(
    factor: tuple[Float[Array, "K K"], Float[Array, " K"]],
    members: Sequence[tuple[int, int]],
    solution: LeastSquaresSolution,
    columns: Sequence[Float[Array, "... _"] | None],
    shape: tuple[int, ...],
) -> Array:
    """Variance of rows times theta; column sets that are None count as zero."""
    blocks = []
    r, scale = factor
    for i, width in members:
        # `columns` may lack the last entry, the constants.
        column = columns[i] if i < len(columns) else None
        blocks.append(jnp.zeros((*shape, width), r.dtype) if column is None else column)
    if not members:
        return jnp.zeros(shape, r.dtype)
    z = jnp.concatenate(blocks, axis=-1).reshape(-1, len(scale))
    return jnp.sum(half_covariance(factor, solution.noise, z) ** 2, axis=0).reshape(shape)


def half_covariance(
    factor: tuple[Float[Array, "K K"], Float[Array, " K"]],
    noise: Float[Array, ""],
    rows: Float[Array, "s K"],
) -> Float[Array, "K s"]:
    """H of the covariance H^T H of `rows` times the coefficients."""
    r, scale = factor
    return noise * jsl.solve_triangular(r, (rows / scale[None]).T, trans=1)


def _centred(
    equations: Equations, graphs: GraphsTuple, reference: GraphsTuple
) -> list[Float[Array, "g _"] | None]:
    """Phi minus the part that its constant counts explain, as fitted to the reference graphs."""

    basis = equations.basis

    def counts(of: GraphsTuple) -> Float[Array, "g c"]:
        ones = graph_mask(of).astype(of.nodes["position"].dtype)[:, None]
        return basis.constants(of) if basis.constant_count else ones

    # Without counts of constants, a column of ones: deviations from the mean energy.
    mean = jnp.linalg.pinv(counts(reference))
    return [
        None if phi is None or expected is None else phi - counts(graphs) @ (mean @ expected)
        for phi, expected in zip(basis.energies(graphs), basis.energies(reference))
    ]
