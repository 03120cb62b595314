"""Checks of a fit's arguments, before anything is compiled."""

from collections.abc import Sequence
from typing import Any

from ..features.base import AbstractTerm, AbstractTermSpec
from ..linear.base import AbstractLeastSquares
from ..models.base import AbstractModel
from ..models.equations_of_motion import AbstractDynamics
from .observations import AbstractObservation

Term = AbstractTerm | AbstractTermSpec
"""A spec to be sampled, or a term that is sampled already."""


def check_kinds(
    *, terms: object, observations: object, dynamics: object, known: object, solver: object
) -> None:
    """Raises `ValueError` for arguments of the wrong type."""
    check_sequence("terms", terms, Term)
    check_sequence("observations", observations, AbstractObservation)
    for name, value, kind in (
        ("dynamics", dynamics, AbstractDynamics),
        ("solver", solver, AbstractLeastSquares),
        ("known", known, AbstractModel | None),
    ):
        if not isinstance(value, kind):
            raise ValueError(f"{name} must be {_words(kind)}, got {_described(value)}")


def check_sequence(name: str, values: object, kind: Any) -> None:
    """Raises `ValueError` unless `values` is a sequence of that kind with at least one entry."""
    if not isinstance(values, Sequence) or not len(values):
        example = "[hgn.Pair()]" if name == "terms" else "[hgn.Derivatives()]"
        raise ValueError(
            f"{name} must be a sequence with at least one entry, such as {example}, got "
            f"{_described(values)}"
        )
    for k, value in enumerate(values):
        if not isinstance(value, kind):
            raise ValueError(f"{name}[{k}] must be {_words(kind)}, got {_described(value)}")


def _words(kind: Any) -> str:
    names = getattr(kind, "__args__", (kind,))  # those of a union
    return " or ".join("None" if n is type(None) else n.__name__ for n in names)


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}: write {value.__name__}()"
    return type(value).__name__
