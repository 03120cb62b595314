"""Sample random features, assemble the rows, solve once."""

import warnings
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jraph import GraphsTuple

from ._types import Key
from .assembly import Equations
from .checks import check, is_concrete
from .features.base import AbstractFeatures, AbstractFeatureSpec
from .features.kinetic import Kinetic
from .features.pair import Pair
from .linear.base import AbstractLeastSquares
from .linear.qr import QR
from .observations import AbstractObservation, Derivatives
from .reduction import reduce
from .result import Fit, conclude, raise_if
from .structure import AbstractStructure, Hamiltonian
from .weights import AbstractWeights, Weights, relative_weights


def fit(
    data: GraphsTuple,
    *,
    key: Key,
    features: Sequence[AbstractFeatureSpec] = (Kinetic(), Pair()),
    observations: Sequence[AbstractObservation] = (Derivatives(),),
    structure: AbstractStructure = Hamiltonian(),
    weights: Weights | AbstractWeights = relative_weights,
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
    return raise_if(throw, _fit(data, key, specs, tuple(observations), structure, weights, solver))


def solve(
    features: Sequence[AbstractFeatures],
    data: GraphsTuple,
    *,
    observations: Sequence[AbstractObservation] = (Derivatives(),),
    structure: AbstractStructure = Hamiltonian(),
    weights: Weights | AbstractWeights = relative_weights,
    solver: AbstractLeastSquares = QR(),
    throw: bool = True,
) -> Fit:
    """As `fit`, for features that are already sampled: other data, other targets, ensembles."""
    if is_concrete(data):
        check(data)
    _warn_about_precision(data)
    return raise_if(
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
    weights: Weights | AbstractWeights,
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
    weights: Weights | AbstractWeights,
    solver: AbstractLeastSquares,
) -> Fit:
    equations = Equations(features, structure, observations, weights, data)
    systems = equations.systems(data)
    return conclude(equations, reduce(equations, systems, data, solver), solver, systems)


def _warn_about_precision(data: GraphsTuple) -> None:
    if jax.dtypes.canonicalize_dtype(data.nodes["position"].dtype) == jnp.float32:
        warnings.warn(
            "fitting in float32: expect relative errors of about 1e-6 instead of 1e-13. For 64-bit "
            'call jax.config.update("jax_enable_x64", True) before the data are made.',
            stacklevel=3,
        )
