"""Samples the terms of a model, and sets up the equations that turn data into rows."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jraph import GraphsTuple

from .._arguments import as_key
from .._quick_compile import compiled_quickly
from .._tree import is_concrete
from .._types import Key
from ..features.base import AbstractTerm, AbstractTermSpec
from ..graphs.geometry import graph_mask
from ..graphs.species import species_of, typed_by_species
from ..linear.base import AbstractLeastSquares
from ..linear.frame_cv import FrameCV
from ..linear.qr import QR
from ..models.base import AbstractModel
from ..models.basis import Basis
from ..models.equations_of_motion import AbstractDynamics
from .accumulate import at_once
from .arguments import Term, check_sequence
from .equations import Equations
from .observations import AbstractObservation
from .result import Fit


class Recipe(eqx.Module):
    """Arguments of a fit except its data: terms to learn, observations to learn them from."""

    terms: tuple[Term, ...]
    dynamics: AbstractDynamics
    known: AbstractModel | None
    observations: tuple[AbstractObservation, ...]
    species: tuple[int, ...] = eqx.field(static=True)
    solver: AbstractLeastSquares

    @property
    def solver_of_one_batch(self) -> AbstractLeastSquares:
        """Solver for all data at once, of which there are no folds."""
        return QR() if self.solver.folds else self.solver


def recipe(
    data: GraphsTuple,
    terms: Sequence[Term],
    dynamics: AbstractDynamics,
    known: AbstractModel | None,
    observations: Sequence[AbstractObservation],
    solver: AbstractLeastSquares,
    key: Key | None = None,
) -> Recipe:
    """The recipe, with everything filled in that depends on values of the data."""
    species = species_of(data)
    typed = typed_by_species(data, species)
    resolved = tuple(_resolved(term, typed) for term in terms)
    concrete = is_concrete((data, resolved, dynamics, known, observations, solver, key))
    solver = _settled(solver, resolved, data, concrete)
    return Recipe(resolved, dynamics, known, tuple(observations), species, solver)


def sample(terms: Sequence[Term], data: GraphsTuple, *, key: Key | int) -> tuple[AbstractTerm, ...]:
    """Samples the terms that `fit` samples with the same key (in its first pass).

    `terms` are specs or terms, which are returned as they are; `data` and `key` are those of `fit`.

    **Raises:** `ValueError` for terms of the wrong type, or data that a spec does not accept.
    """
    check_sequence("terms", terms, Term)
    typed = typed_by_species(data, species_of(data))
    specs = tuple(_resolved(term, typed) for term in terms)
    return _sample(specs, typed, as_key(key))


def sampled_equations(data: GraphsTuple, key: Key, how: Recipe) -> Equations:
    """Samples the recipe's terms, a second time after a first fit if they are guided, and fixes the
    scales of its observations."""
    drawn = _drawn(data, key, how)
    if not any(_guided(term) for term in how.terms):
        return drawn
    return _guided_by(at_once(drawn, data, how.solver_of_one_batch), data, key, how)


@compiled_quickly
def _drawn(data: GraphsTuple, key: Key, how: Recipe) -> Equations:
    typed = typed_by_species(data, how.species)
    return given_equations(_sample(how.terms, typed, key), data, how)


@compiled_quickly
def _guided_by(first: Fit, data: GraphsTuple, key: Key, how: Recipe) -> Equations:
    typed = typed_by_species(data, how.species)
    keys = jr.split(jr.fold_in(key, 1), len(how.terms))  # other draws than in the first pass
    terms = tuple(
        spec.sample(k, typed, (term, theta))
        if isinstance(spec, AbstractTermSpec) and spec.guided
        else term
        for spec, k, term, theta in zip(how.terms, keys, first.model.terms, first.model.theta)
    )
    return given_equations(terms, data, how)


@compiled_quickly
def calibrated_equations(data: GraphsTuple, how: Recipe) -> Equations:
    """`given_equations` of the recipe's own terms, as one program."""
    return given_equations(how.terms, data, how)


def given_equations(terms: tuple[Any, ...], data: GraphsTuple, how: Recipe) -> Equations:
    """Equations of terms that are already sampled, with scales fixed by `data`."""
    basis = Basis(terms, how.dynamics, how.known, how.species)
    return Equations(basis, how.observations, data)


def _resolved(term: Term, data: GraphsTuple) -> Term:
    """The spec with its sizes filled in, or the term if it accepts the data."""
    if isinstance(term, AbstractTermSpec):
        return term.resolve(data)
    if is_concrete(data):
        term.accepts(data)
    return term


def _settled(
    solver: AbstractLeastSquares, terms: Sequence[Term], data: GraphsTuple, concrete: bool
) -> AbstractLeastSquares:
    """The solver, with "auto" replaced by cross-validation if a term expects model errors."""
    expected = any(term.expects_model_error for term in terms)
    if isinstance(solver, QR) and solver.choice == "auto" and expected and concrete:
        # Inside jit a sum of concrete arrays would be traced.
        with jax.ensure_compile_time_eval():
            frames = int(jnp.sum(graph_mask(data)))
        return QR(FrameCV(), solver.how) if frames >= FrameCV().folds else solver
    if solver.folds and not concrete:
        raise ValueError(
            "inside jit, vmap or grad there are no folds of frames: call fit outside, or give a "
            "ridge: solver=hgn.QR(ridge=...)"
        )
    return solver


def _guided(term: Term) -> bool:
    return isinstance(term, AbstractTermSpec) and term.guided


@compiled_quickly
def _sample(terms: tuple[Term, ...], data: GraphsTuple, key: Key) -> tuple[AbstractTerm, ...]:
    return tuple(
        term.sample(k, data) if isinstance(term, AbstractTermSpec) else term
        for term, k in zip(terms, jr.split(key, len(terms)))
    )
