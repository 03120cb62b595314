"""Samples random features, assembles the rows, solves once."""

from collections.abc import Sequence

import equinox as eqx
from jraph import GraphsTuple

from .._arguments import as_key
from .._tree import is_concrete
from .._types import Key
from ..features.base import AbstractTerm
from ..features.kinetic import Kinetic
from ..features.pair import Pair
from ..graphs.validate import check, warn_about_precision
from ..linear.base import AbstractLeastSquares
from ..linear.qr import QR
from ..models.base import AbstractModel
from ..models.equations_of_motion import AbstractDynamics, Canonical
from .accumulate import accumulate, at_once
from .arguments import Term, check_kinds
from .equations import Equations
from .observations import AbstractObservation, Derivatives
from .pieces import pieces_of
from .result import Fit, raise_if
from .sample import Recipe, calibrated_equations, recipe, sampled_equations
from .settle import settled

WHOLE = 2**16
"""Coordinates (bodies times dimensions) up to which all rows are assembled at once."""


def fit(
    data: GraphsTuple,
    *,
    key: Key | int,
    terms: Sequence[Term] = (Kinetic(), Pair()),
    observations: Sequence[AbstractObservation] = (Derivatives(),),
    dynamics: AbstractDynamics = Canonical(),
    known: AbstractModel | None = None,
    solver: AbstractLeastSquares = QR(),
    throw: bool = True,
) -> Fit:
    """Learns a Hamiltonian: samples features, then one least-squares solve.

    **Arguments:**

    - `data`: a batch of snapshots with the arrays that terms and observations read: for the
        defaults `momentum`, `mass`, `velocity` = dq/dt and `force` = dp/dt.
    - `key`: a JAX key or a seed. The same key, data and device give the same model, bit for bit.
    - `terms`: energies and rates whose columns are learned: specs, which are sampled, or terms of
        your own.
    - `observations`: what to learn from, each with its own weights.
    - `dynamics`: equations of motion: they turn gradients of the energy into rates, and name the
        state.
    - `known`: part of the model that is not learned. If None, and momenta are part of the state but
        no term depends on them, it is the Newtonian kinetic energy |p|^2/2m.
    - `solver`: `QR()` or `LSTSQ()`.
    - `throw`: raise if the result is not finite; if False, read `.result`.

    **Returns:** a `Fit` with the `model` and its rank, condition, residual and trained range. If
    the data carry `energy`, they determine the constants of the energy.

    Works under `jax.jit` and `jax.vmap` (for example over keys), and is differentiable with respect
    to data and the solver's ridge. Concrete data are checked first; inside jit, problems are
    reported through `fit.result` only. Large concrete data sets are processed in chunks of graphs,
    so that the full row matrix is never formed (except in the first pass of `SWIM(passes=2)`).

    **Raises:** `ValueError` for bad data (see `hgn.check`), missing arrays, or observations to
    which no term contributes.
    """
    check_kinds(
        terms=terms, observations=observations, dynamics=dynamics, known=known, solver=solver
    )
    if is_concrete(data):
        check(data)
    if is_concrete((data, dynamics)):
        dynamics.accepts(data)
    warn_about_precision(data)
    key = as_key(key)
    how = settled(recipe(data, terms, dynamics, known, observations, solver, key), data, key)
    if not is_concrete((data, how, key)):
        return raise_if(throw, _fit(data, key, how))
    return raise_if(throw, _solved(sampled_equations(data, key, how), data, how.solver))


def solve(
    terms: Sequence[AbstractTerm],
    data: GraphsTuple,
    *,
    observations: Sequence[AbstractObservation] = (Derivatives(),),
    dynamics: AbstractDynamics = Canonical(),
    known: AbstractModel | None = None,
    solver: AbstractLeastSquares = QR(),
    throw: bool = True,
) -> Fit:
    """Like `fit`, with terms that are already sampled: other data, other targets, ensembles."""
    check_kinds(
        terms=terms, observations=observations, dynamics=dynamics, known=known, solver=solver
    )
    if is_concrete(data):
        check(data)
    if is_concrete((data, dynamics)):
        dynamics.accepts(data)
    warn_about_precision(data)
    how = settled(recipe(data, terms, dynamics, known, observations, solver), data)
    if not is_concrete((data, how)):
        return raise_if(throw, _solve(data, how))
    return raise_if(throw, _solved(calibrated_equations(data, how), data, how.solver))


@eqx.filter_jit
def _fit(data: GraphsTuple, key: Key, how: Recipe) -> Fit:
    return at_once(sampled_equations(data, key, how), data, how.solver)


@eqx.filter_jit
def _solve(data: GraphsTuple, how: Recipe) -> Fit:
    return at_once(calibrated_equations(data, how), data, how.solver)


def _solved(equations: Equations, data: GraphsTuple, solver: AbstractLeastSquares) -> Fit:
    """Fit to concrete data, in pieces if they are large or make folds."""
    large = data.nodes["position"].size > WHOLE and len(data.n_node) > 1
    if not large and not solver.folds:
        return at_once(equations, data, solver)
    pieces = pieces_of(equations, data, solver)
    return accumulate(equations, pieces, solver, like=pieces[0])
