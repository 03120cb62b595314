"""Sample random features, assemble the rows, solve once."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
from jaxtyping import PyTree
from jraph import GraphsTuple

from .._tree import is_concrete
from .._types import Key
from ..features.base import AbstractEnergy, AbstractTermSpec
from ..features.kinetic import Kinetic
from ..features.pair import Pair
from ..graphs.pieces import chunks
from ..graphs.validate import check, warn_about_precision
from ..linear.base import AbstractLeastSquares
from ..linear.qr import QR
from ..models.equations_of_motion import AbstractDynamics, Canonical
from . import sample as draw
from .accumulate import graphs_at_once, reduced
from .equations import Equations
from .observations import AbstractObservation, Derivatives
from .reduction import reduce
from .result import Fit, conclude, raise_if
from .weights import AbstractWeights, Weights, relative_weights

WHOLE = 2**16
"""Coordinates (bodies times dimensions) up to which all rows are assembled at once."""


def fit(
    data: GraphsTuple,
    *,
    key: Key,
    terms: Sequence[AbstractTermSpec] = (Kinetic(), Pair()),
    observations: Sequence[AbstractObservation] = (Derivatives(),),
    dynamics: AbstractDynamics = Canonical(),
    weights: Weights | AbstractWeights = relative_weights,
    solver: AbstractLeastSquares = QR(),
    throw: bool = True,
) -> Fit:
    """Learns a Hamiltonian: samples features, then one least-squares solve.

    **Arguments:**

    - `data`: a batch of snapshots with `velocity` = dq/dt and `force` = dp/dt.
    - `key`: the same key, data and device give the same model, bit for bit.
    - `terms`: specs, combined as columns of one system.
    - `observations`: what to learn from.
    - `weights`: of every body's velocity and force rows; by default relative to its own motion.
        A `weight` in the data's nodes multiplies them. Pass the same function each time: jit
        compiles anew for each new one.
    - `dynamics`: how a gradient becomes motion; `solver`: `QR()` or `LSTSQ()`.
    - `throw`: raise if the result is not finite; if False look at `.result`.

    **Returns:** a `Fit` with the `model` and its rank, condition, residual and trained range.
    If the data carry `energy`, they determine the constant of the energy.

    Works under `jax.jit` and `jax.vmap` (over keys, say), and is differentiable with respect to
    data and the solver's ridge. Concrete data are checked first; inside jit only the result code
    speaks. Large concrete data go some graphs at a time (not in the first pass of
    `SWIM(passes=2)`): their rows never stand in memory at once.

    **Raises:** `ValueError` for bad data (see `hgn.check`), missing targets, or rows that no
    feature sees.
    """
    if is_concrete(data):
        check(data)
    warn_about_precision(data)
    specs = tuple(spec.resolve(data) for spec in terms)
    drawn_by = (data, key, specs, tuple(observations), dynamics, weights, solver)
    if not _large(data, key, solver, weights):
        return raise_if(throw, _fit(*drawn_by))
    return raise_if(throw, _in_pieces(draw.equations(*drawn_by), data, solver))


def solve(
    features: Sequence[AbstractEnergy],
    data: GraphsTuple,
    *,
    observations: Sequence[AbstractObservation] = (Derivatives(),),
    dynamics: AbstractDynamics = Canonical(),
    weights: Weights | AbstractWeights = relative_weights,
    solver: AbstractLeastSquares = QR(),
    throw: bool = True,
) -> Fit:
    """As `fit`, for features that are already sampled: other data, other targets, ensembles."""
    if is_concrete(data):
        check(data)
        for f in features:
            f.accepts(data)
    warn_about_precision(data)
    settled_by = (tuple(features), dynamics, tuple(observations), weights, data)
    if not _large(data, features, solver, weights):
        return raise_if(throw, _solve(solver, *settled_by))
    return raise_if(throw, _in_pieces(_settled(*settled_by), data, solver))


_settled = eqx.filter_jit(Equations)


@eqx.filter_jit
def _fit(*drawn_by: Any) -> Fit:
    data, *_, solver = drawn_by
    return _concluded(draw.equations(*drawn_by), data, solver)


@eqx.filter_jit
def _solve(solver: AbstractLeastSquares, *settled_by: Any) -> Fit:
    return _concluded(Equations(*settled_by), settled_by[-1], solver)


def _concluded(equations: Equations, data: GraphsTuple, solver: AbstractLeastSquares) -> Fit:
    systems = equations.systems(data)
    return conclude(equations, reduce(equations, systems, data, solver), solver, systems)


def _large(data: GraphsTuple, *others: PyTree) -> bool:
    """Whether to go in pieces; what is traced, to be differentiated say, stays whole."""
    several = data.nodes["position"].size > WHOLE and len(data.n_node) > 1
    return several and is_concrete((data, others))


def _in_pieces(equations: Equations, data: GraphsTuple, solver: AbstractLeastSquares) -> Fit:
    pieces = chunks(data, graphs_at_once(equations, data))
    return reduced(equations, pieces, solver, like=data)
