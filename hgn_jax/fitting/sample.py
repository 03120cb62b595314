"""Sampling the features, and with them all that turns data into equations."""

from collections.abc import Sequence

import equinox as eqx
import jax.random as jr
from jraph import GraphsTuple

from .._types import Key
from ..features.base import AbstractEnergy, AbstractTermSpec
from ..linear.base import AbstractLeastSquares
from ..models.equations_of_motion import AbstractDynamics
from .equations import Equations
from .observations import AbstractObservation
from .reduction import reduce
from .result import conclude
from .weights import AbstractWeights, Weights


def sample(
    features: Sequence[AbstractTermSpec], data: GraphsTuple, *, key: Key
) -> tuple[AbstractEnergy, ...]:
    """Draws the features that `fit` with the same key draws (its first pass)."""
    specs = tuple(spec.resolve(data) for spec in features)
    return _sample(specs, data, key)


@eqx.filter_jit
def equations(
    data: GraphsTuple,
    key: Key,
    specs: tuple[AbstractTermSpec, ...],
    observations: tuple[AbstractObservation, ...],
    structure: AbstractDynamics,
    weights: Weights | AbstractWeights,
    solver: AbstractLeastSquares,
) -> Equations:
    """Samples resolved specs (after a first fit, where a second pass wants one) and settles the
    scales of weights and observations."""
    first, second = _sample(specs, data, key), jr.split(jr.fold_in(key, 1), len(specs))
    drawn = Equations(first, structure, observations, weights, data)
    if not any(spec.guided for spec in specs):
        return drawn
    systems = drawn.systems(data)
    result = conclude(drawn, reduce(drawn, systems, data, solver), solver, systems)
    guided = tuple(
        spec.sample(k, data, (features, theta)) if spec.guided else features
        for spec, k, features, theta in zip(specs, second, first, result.model.theta)
    )
    return Equations(guided, structure, observations, weights, data)


@eqx.filter_jit
def _sample(
    specs: tuple[AbstractTermSpec, ...], data: GraphsTuple, key: Key
) -> tuple[AbstractEnergy, ...]:
    return tuple(spec.sample(k, data) for spec, k in zip(specs, jr.split(key, len(specs))))
