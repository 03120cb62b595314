"""Checks of a fit's arguments, before anything is compiled."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.random as jr
import numpy as np

from .._types import Key
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


def as_key(key: Any) -> Key:
    """A key, or the key of an integer seed."""
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jr.key(int(key))
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    typed = jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    if not typed and not (dtype == np.uint32 and shape == (2,)):
        raise ValueError(f"key must be one JAX key, jax.random.key(0), or a seed, got {key!r}")
    return key


def _words(kind: Any) -> str:
    names = getattr(kind, "__args__", (kind,))
    return " or ".join("None" if n is type(None) else n.__name__ for n in names)


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}: write {value.__name__}()"
    return type(value).__name__
