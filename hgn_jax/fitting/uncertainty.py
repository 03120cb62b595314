"""How sure a fit is of what it predicts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import GraphScalars, Vectors
from ..graphs.geometry import bodies, graph_mask
from ..linear.base import LeastSquaresSolution, factor
from .equations import Equations
from .reduction import Reduction


class DeviationScale(NamedTuple):
    """How deviations become calibrated ones: sqrt((c s)^2 + (b u)^2)."""

    factor: Float[Array, ""]
    floor: Float[Array, ""]

    def __call__(self, deviation: Array, unit: Array | float = 1.0) -> Array:
        return jnp.hypot(self.factor * deviation, self.floor * unit)


class StandardDeviation(eqx.Module):
    r"""Standard deviations of what the model predicts, in the units of the data.

    Bayesian linear regression (Bishop, Pattern Recognition and Machine Learning, section 3.3):
    theta is normal with covariance $\sigma^2 (Z^T Z + \lambda^2 D^2)^{-1}$, D the column norms,
    $\lambda$ the ridge (of each column its own), $\sigma$ the noise of a weighted row. A prediction
    is a row z times theta: $\sigma |(R_\lambda D)^{-T} z|$.

    It states what the noise and the number of the data leave open, if the features can express the
    truth and the noise of all weighted rows is alike. What the features cannot express (too few
    units, a force that none sees, states out of the trained range) is not in it: there it is
    overconfident. So it is if the noise of all bodies is alike but their weights are not: give
    weights="uniform" then (bench/least_squares.py). The noise of an observation is not included.
    """

    energy: GraphScalars | None
    """Standard deviation of the energy less its expected mean per constant count over the reference
    graphs: rates do not see constants, and errors of observed ones are not counted. None without a
    reference if there are no more graphs than constants: nothing would be left."""
    rates: dict[str, Vectors]
    """Standard deviations of the rates by their names: "velocity" and "force"."""

    def calibrated(
        self, scales: Mapping[str, "DeviationScale"], graphs: GraphsTuple
    ) -> "StandardDeviation":
        """Each kind scaled by its own scale, if it has one."""
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
"""R and the columns' norms of each system."""


@eqx.filter_jit
def standard_deviation(
    equations: Equations,
    reduction: Reduction,
    solutions: Sequence[LeastSquaresSolution],
    graphs: GraphsTuple,
    reference: GraphsTuple | None,
) -> StandardDeviation:
    """See `StandardDeviation`."""
    found = factors(reduction, solutions)
    return deviations(equations, found, reduction.members, solutions, graphs, reference)


def factors(reduction: Reduction, solutions: Sequence[LeastSquaresSolution]) -> Factors:
    """Factors of the covariance of each system's coefficients."""
    return tuple(factor(t, s.column_ridge) for t, s in zip(reduction.systems, solutions))


def deviations(
    equations: Equations,
    factors: Factors,
    members: Sequence[Sequence[tuple[int, int]]],
    solutions: Sequence[LeastSquaresSolution],
    graphs: GraphsTuple,
    reference: GraphsTuple | None,
) -> StandardDeviation:
    """Standard deviations by the factors of the covariances."""
    basis = equations.basis
    rates = basis.rates(graphs)
    few = reference is None and len(graphs.n_node) <= max(1, basis.constant_count)
    if _constants_by_folds(equations, members, solutions):
        few, energies = False, [*basis.energies(graphs), basis.constants(graphs)]
    else:
        energies = _centred(equations, graphs, graphs if reference is None else reference)
    shape, dtype = graphs.nodes["position"].shape, graphs.nodes["position"].dtype
    variances = {name: jnp.zeros(shape, dtype) for name in basis.dynamics.observed}
    energy = jnp.zeros(graphs.n_node.shape, dtype)
    for known in zip(factors, members, solutions):
        for name, columns in zip(basis.dynamics.observed, rates):
            variances[name] = variances[name] + _variance(*known, columns, shape)
        energy = energy + _variance(*known, energies, graphs.n_node.shape)
    rates_std = {name: jnp.sqrt(variance) for name, variance in variances.items()}
    return StandardDeviation(None if few else jnp.sqrt(energy), rates_std)


def _constants_by_folds(
    equations: Equations,
    members: Sequence[Sequence[tuple[int, int]]],
    solutions: Sequence[LeastSquaresSolution],
) -> bool:
    """True if the constants are unknowns of a cross-validated system: their errors are known."""
    constants = len(equations.basis.terms)
    return any(
        solution.of_folds is not None and any(i == constants for i, _ in some)
        for some, solution in zip(members, solutions)
    )


def _variance(
    factor: tuple[Float[Array, "K K"], Float[Array, " K"]],
    members: Sequence[tuple[int, int]],
    solution: LeastSquaresSolution,
    columns: Sequence[Float[Array, "... _"] | None],
    shape: tuple[int, ...],
) -> Array:
    """Variance of rows times theta, without column sets that are None."""
    parts = []
    r, scale = factor
    for i, width in members:
        column = columns[i] if i < len(columns) else None
        parts.append(jnp.zeros((*shape, width), r.dtype) if column is None else column)
    if not members:
        return jnp.zeros(shape, r.dtype)
    z = jnp.concatenate(parts, axis=-1).reshape(-1, len(scale)) / scale[None]
    half = jsl.solve_triangular(r, z.T, trans=1)
    return jnp.sum((solution.noise * half) ** 2, axis=0).reshape(shape)


def _centred(
    equations: Equations, graphs: GraphsTuple, reference: GraphsTuple
) -> list[Float[Array, "g _"] | None]:
    """Phi less what its constant counts say of it, as fitted to the reference graphs."""

    basis = equations.basis

    def counts(of: GraphsTuple) -> Float[Array, "g c"]:
        ones = graph_mask(of).astype(of.nodes["position"].dtype)[:, None]
        return basis.constants(of) if basis.constant_count else ones

    mean = jnp.linalg.pinv(counts(reference))
    return [
        None if phi is None or expected is None else phi - counts(graphs) @ (mean @ expected)
        for phi, expected in zip(basis.energies(graphs), basis.energies(reference))
    ]
