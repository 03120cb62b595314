"""Checks of numbers and keys among the arguments."""

import operator
from typing import Any

import jax
import jax.random as jr
import numpy as np
from jaxtyping import ArrayLike

from ._tree import is_concrete


def whole_number(name: str, value: object, least: int) -> int:
    """The value as an int. Raises `ValueError` if it is not an integer, or is less than `least`."""
    try:
        # Unlike int(), `operator.index` refuses 3.0, and accepts integers of NumPy and JAX.
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{name} must be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def check_number(name: str, value: ArrayLike, zero: bool = False) -> None:
    """Raises `ValueError` unless a concrete value is one positive, finite number, or zero if that
    is allowed."""
    if not is_concrete(value):
        return
    number = np.asarray(value)
    real = number.shape == () and number.dtype.kind in "fiu"  # no booleans, no complex numbers
    if not real or not 0 <= number < np.inf or (number == 0 and not zero):
        kind = "not negative" if zero else "positive"
        raise ValueError(f"{name} must be one finite number, {kind}, got {value!r}")


def as_key(key: Any) -> jax.Array:
    """A key, or the key of an integer seed."""
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jr.key(int(key))
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    typed = jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    if not typed and not (dtype == np.uint32 and shape == (2,)):  # as jax.random.PRNGKey makes them
        raise ValueError(f"key must be one JAX key, jax.random.key(0), or a seed, got {key!r}")
    return key
