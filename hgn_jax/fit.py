"""Sample random features, assemble the rows, solve once."""

import warnings
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, PyTree
from jraph import GraphsTuple

from ._types import Key
from .assembly import assemble, independent_systems
from .checks import check, is_concrete
from .features.base import AbstractFeatures, AbstractFeatureSpec
from .features.kinetic import Kinetic
from .features.pair import Pair
from .hamiltonian import HamiltonianGraphNetwork
from .linear.base import AbstractLeastSquares
from .linear.lstsq import LSTSQ
from .linear.qr import QR
from .observations import (
    AbstractObservation,
    Derivatives,
    Energies,
    Rows,
    Weights,
    relative_weights,
)
from .result import RESULTS, Fit
from .structure import AbstractStructure, Hamiltonian


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
        A `weight` in the data's nodes multiplies them. Pass the same function each time: jit
        compiles anew for each new one.
    - `structure`: how a gradient becomes motion; `solver`: `QR()` or `LSTSQ()`.
    - `throw`: raise if the result is not finite; if False look at `.result`.

    **Returns:** a `Fit` with the `model` and its rank, condition, residual and trained range.
    If the data carry `energy`, they determine the constant of the energy.

    Works under `jax.jit` and `jax.vmap` (over keys, say). Concrete data are checked first; inside
    jit only the result code speaks.

    **Raises:** `ValueError` for bad data (see `hgn.check`), missing targets, or rows that no
    feature sees.
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
    known = jnp.array(False)
    if with_energy:
        (energies,) = Energies().rows(features, structure, data, weights)
        rest, known = _constants(energies, theta)
        if not any(isinstance(o, Energies) for o in observations):
            constant = rest
    model = HamiltonianGraphNetwork(
        features, tuple(theta), tuple(jnp.split(constant, _ends(counts)[:-1])), structure
    )
    rows = jnp.sum(jnp.concatenate([b.weight for b in blocks]) > 0)
    finite = _all_finite((model.theta, model.constants))
    result = _outcome(_all_finite(data), rows > 0, finite)
    return Fit(model, tuple(solutions), result, rows, known, with_energy)


def _constants(
    energies: Rows, theta: Sequence[Float[Array, " _"]]
) -> tuple[Float[Array, " c"], Bool[Array, ""]]:
    """What the observed energies leave over, shared out by the extensive counts, and whether the
    data tell the shares apart. If not, as when all graphs are alike, they are the smallest."""
    *columns, counts = energies.columns
    assert counts is not None
    left = energies.target - sum(c @ t for c, t in zip(columns, theta) if c is not None)
    solution = LSTSQ()(counts * energies.weight[:, None], left * energies.weight)
    return solution.theta, solution.rank == counts.shape[1]


def _outcome(data: Bool[Array, ""], rows: Bool[Array, ""], model: Bool[Array, ""]) -> RESULTS:
    result = RESULTS.where(model, RESULTS.successful, RESULTS.nonfinite_solution)  # type: ignore
    result = RESULTS.where(rows, result, RESULTS.no_rows)  # type: ignore[arg-type]
    return RESULTS.where(data, result, RESULTS.nonfinite_data)  # type: ignore[arg-type]


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
    if jax.dtypes.canonicalize_dtype(data.nodes["position"].dtype) == jnp.float32:
        warnings.warn(
            "fitting in float32: expect relative errors of about 1e-6 instead of 1e-13. For 64-bit "
            'call jax.config.update("jax_enable_x64", True) before the data are made.',
            stacklevel=3,
        )
