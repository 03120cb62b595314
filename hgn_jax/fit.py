"""Sample random features, assemble the rows, solve once."""

import warnings
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PyTree
from jraph import GraphsTuple

from ._types import Key
from .checks import check, is_concrete
from .features.base import AbstractFeatures, AbstractFeatureSpec
from .features.kinetic import Kinetic
from .features.pair import Pair
from .hamiltonian import HamiltonianGraphNetwork
from .linear.base import AbstractLeastSquares, LeastSquaresSolution
from .linear.qr import QR
from .observations import (
    AbstractObservation,
    Derivatives,
    Energies,
    Rows,
    Weights,
    relative_weights,
)
from .structure import AbstractStructure, Hamiltonian


class RESULTS(eqx.Enumeration):
    """Outcome of a fit."""

    successful = ""
    nonfinite_data = "the data hold NaN or Inf; run hgn.check(data) outside of jit to learn where"
    nonfinite_solution = (
        "the least-squares solution is not finite; use 64-bit, a larger ridge or fewer units"
    )


class Fit(eqx.Module):
    """A learned Hamiltonian and how well it was determined."""

    model: HamiltonianGraphNetwork
    solutions: tuple[LeastSquaresSolution, ...]
    """One per independent system: kinetic and pair columns do not mix."""
    result: RESULTS
    rows: Int[Array, ""]
    """Equations with positive weight."""
    constant_known: bool = eqx.field(static=True)
    """Whether observed energies determined the constant; if not it is zero."""

    @property
    def columns(self) -> int:
        """Unknowns of all systems."""
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
    def ridge(self) -> Float[Array, "..."]:
        return jnp.max(jnp.stack([s.ridge for s in self.solutions]), axis=0)

    @property
    def growth(self) -> Float[Array, "..."]:
        """Worst cancellation, sum |theta phi| over |sum theta phi|."""
        return jnp.max(jnp.stack([s.growth for s in self.solutions]), axis=0)

    @property
    def trained_range(self) -> dict[str, Float[Array, "... 2"]]:
        """Least and greatest local input of each kind of feature (speeds, distances)."""
        return {f.name: f.trained_range() for f in self.model.features}

    def summary(self) -> str:
        """The figures above in words; concrete values only."""
        constant = (
            "determined by the observed energies"
            if self.constant_known
            else "zero: no energies were observed, and rates do not see it"
        )
        lines = [
            f"{int(self.rows)} rows, {self.columns} columns, rank {int(self.rank)}",
            f"relative residual {float(self.residual):.1e}, condition {float(self.condition):.1e}, "
            f"ridge {float(self.ridge):.1e}, growth {float(self.growth):.1e}",
            f"constant of the energy: {constant}",
        ]
        for name, ranges in self.trained_range.items():
            for low, high in jnp.reshape(ranges, (-1, 2)):
                lines.append(f"trained range of {name}: {float(low):.4g} .. {float(high):.4g}")
        if self.result != RESULTS.successful:
            lines.append(f"FAILED: {RESULTS[self.result]}")  # type: ignore[misc]
        return "\n".join(lines)


def fit(
    data: GraphsTuple,
    *,
    key: Key,
    features: Sequence[AbstractFeatureSpec] = (Kinetic(), Pair()),
    observations: Sequence[AbstractObservation] = (Derivatives(),),
    structure: AbstractStructure = Hamiltonian(),
    weights: Weights = relative_weights,
    solver: AbstractLeastSquares = QR(),
    throw: bool = True,
) -> Fit:
    """Learns a Hamiltonian: samples features, then one least-squares solve.

    **Arguments:**

    - `data`: a batch of snapshots with `velocity` = dq/dt and `force` = dp/dt.
    - `key`: the same key, data and device give the same model, bit for bit.
    - `features`: specs, combined as columns of one system.
    - `observations`: what to learn from.
    - `weights`: of every body's velocity and force rows; by default relative to its own motion.
        A `weight` in the data's nodes multiplies them.
    - `structure`: how a gradient becomes motion; `solver`: `QR()` or `LSTSQ()`.
    - `throw`: raise if the result is not finite; if False look at `.result`.

    **Returns:** a `Fit` with the `model` and its rank, condition, residual and trained range.
    If the data carry `energy`, they determine the constant of the energy.

    Works under `jax.jit` and `jax.vmap` (over keys, say). Concrete data are checked first; inside
    jit only the result code speaks.

    **Raises:** `ValueError` for bad data (see `hgn.check`), or missing targets.
    """
    if is_concrete(data):
        check(data)
    _warn_about_precision(data)
    specs = tuple(spec.resolve(data) for spec in features)
    return _raise_if(throw, _fit(data, key, specs, tuple(observations), structure, weights, solver))


def solve(
    features: Sequence[AbstractFeatures],
    data: GraphsTuple,
    *,
    observations: Sequence[AbstractObservation] = (Derivatives(),),
    structure: AbstractStructure = Hamiltonian(),
    weights: Weights = relative_weights,
    solver: AbstractLeastSquares = QR(),
    throw: bool = True,
) -> Fit:
    """As `fit`, for features that are already sampled: other data, other targets, ensembles."""
    if is_concrete(data):
        check(data)
    _warn_about_precision(data)
    return _raise_if(
        throw, _solve(tuple(features), data, tuple(observations), structure, weights, solver)
    )


def sample(
    features: Sequence[AbstractFeatureSpec], data: GraphsTuple, *, key: Key
) -> tuple[AbstractFeatures, ...]:
    """Draws the features that `fit` with the same key draws (its first pass)."""
    specs = tuple(spec.resolve(data) for spec in features)
    return _sample(specs, data, key)


@eqx.filter_jit
def _fit(
    data: GraphsTuple,
    key: Key,
    specs: tuple[AbstractFeatureSpec, ...],
    observations: tuple[AbstractObservation, ...],
    structure: AbstractStructure,
    weights: Weights,
    solver: AbstractLeastSquares,
) -> Fit:
    first, second = _sample(specs, data, key), jr.split(jr.fold_in(key, 1), len(specs))
    result = _solve(first, data, observations, structure, weights, solver)
    if not any(spec.guided for spec in specs):
        return result
    guided = tuple(
        spec.sample(k, data, (features, theta)) if spec.guided else features
        for spec, k, features, theta in zip(specs, second, first, result.model.theta)
    )
    return _solve(guided, data, observations, structure, weights, solver)


@eqx.filter_jit
def _sample(
    specs: tuple[AbstractFeatureSpec, ...], data: GraphsTuple, key: Key
) -> tuple[AbstractFeatures, ...]:
    return tuple(spec.sample(k, data) for spec, k in zip(specs, jr.split(key, len(specs))))


@eqx.filter_jit
def _solve(
    features: tuple[AbstractFeatures, ...],
    data: GraphsTuple,
    observations: tuple[AbstractObservation, ...],
    structure: AbstractStructure,
    weights: Weights,
    solver: AbstractLeastSquares,
) -> Fit:
    blocks = tuple(b for o in observations for b in o.rows(features, structure, data, weights))
    sizes = [_width(blocks, i) for i in range(len(features))]
    counts = [f.constants(data).shape[1] for f in features]
    unknowns = [jnp.zeros(k, data.nodes["position"].dtype) for k in (*sizes, sum(counts))]
    solutions = []
    for members, mine in independent_systems(blocks):
        matrix, target = assemble(mine, members, [len(u) for u in unknowns])
        solution = solver(matrix, target)
        solutions.append(solution)
        parts = jnp.split(solution.theta, _ends([len(unknowns[i]) for i in members])[:-1])
        for i, part in zip(members, parts):
            unknowns[i] = part
    *theta, constant = unknowns
    with_energy = "energy" in data.globals and sum(counts) > 0
    if with_energy and not any(isinstance(o, Energies) for o in observations):
        constant = _constants(features, theta, data, structure, weights, solver)
    model = HamiltonianGraphNetwork(
        features, tuple(theta), tuple(jnp.split(constant, _ends(counts)[:-1])), structure
    )
    result = _outcome(_all_finite(data), _all_finite((model.theta, model.constants)))
    rows = jnp.sum(jnp.concatenate([b.weight for b in blocks]) > 0)
    return Fit(model, tuple(solutions), result, rows, with_energy)


def independent_systems(
    blocks: Sequence[Rows],
) -> list[tuple[list[int], list[Rows]]]:
    """Groups of column sets that share no rows, each with its rows: smaller solves, not one.

    Kinetic columns meet velocity rows only and pair columns force rows only, unless another
    feature or observation ties them together.
    """
    groups: list[tuple[set[int], list[Rows]]] = []
    for block in blocks:
        here = {i for i, c in enumerate(block.columns) if c is not None}
        touching = [g for g in groups if g[0] & here]
        merged = (here.union(*(g[0] for g in touching)), [b for g in touching for b in g[1]])
        apart = [g for g in groups if not any(g is t for t in touching)]
        groups = [*apart, (merged[0], [*merged[1], block])]
    return [(sorted(members), rows) for members, rows in groups if members]


def assemble(
    blocks: Sequence[Rows], members: Sequence[int], widths: Sequence[int]
) -> tuple[Float[Array, "r K"], Float[Array, " r"]]:
    """Weighted matrix and target of one system; zeros where a set does not take part."""
    matrix = jnp.concatenate(
        [
            jnp.concatenate(
                [
                    jnp.zeros((len(b.target), widths[i]), b.target.dtype)
                    if (c := b.columns[i]) is None
                    else c * b.weight[:, None]
                    for i in members
                ],
                axis=1,
            )
            for b in blocks
        ]
    )
    return matrix, jnp.concatenate([b.target * b.weight for b in blocks])


def _constants(
    features: tuple[AbstractFeatures, ...],
    theta: Sequence[Float[Array, " _"]],
    data: GraphsTuple,
    structure: AbstractStructure,
    weights: Weights,
    solver: AbstractLeastSquares,
) -> Float[Array, " c"]:
    """What the observed energies leave over, shared out by the extensive counts."""
    (rows,) = Energies().rows(features, structure, data, weights)
    *columns, counts = rows.columns
    assert counts is not None
    left = rows.target - sum(c @ t for c, t in zip(columns, theta) if c is not None)
    return solver(counts * rows.weight[:, None], left * rows.weight).theta


def _outcome(data: Bool[Array, ""], model: Bool[Array, ""]) -> RESULTS:
    ok, bad_data, bad_model = (
        RESULTS.successful,
        RESULTS.nonfinite_data,
        RESULTS.nonfinite_solution,
    )
    return RESULTS.where(data, RESULTS.where(model, ok, bad_model), bad_data)  # type: ignore


def _width(blocks: Sequence[Rows], i: int) -> int:
    for block in blocks:
        if (column := block.columns[i]) is not None:
            return column.shape[1]
    raise ValueError(f"no observation sees feature set {i}: leave it out or observe more")


def _ends(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[: i + 1]) for i in range(len(sizes))]


def _all_finite(tree: PyTree) -> Bool[Array, ""]:
    arrays = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in arrays]))


def _raise_if(throw: bool, result: Fit) -> Fit:
    if not throw:
        return result
    return result.result.error_if(result, result.result != RESULTS.successful)


def _warn_about_precision(data: GraphsTuple) -> None:
    if data.nodes["position"].dtype == jnp.float32:
        warnings.warn(
            "fitting in float32: expect relative errors of about 1e-6 instead of 1e-13. For 64-bit "
            'call jax.config.update("jax_enable_x64", True) before the data are made.',
            stacklevel=3,
        )
