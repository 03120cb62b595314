"""Values against the annotations of the fields that hold them."""

import types
import typing
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin

import jaxtyping
import numpy as np
from jaxtyping import AbstractArray


def mismatch(cls: type, fields: dict[str, Any]) -> str | None:
    """The first field whose value its annotation does not allow, in words; None if all are allowed.

    Named axes of arrays must agree among the fields of one instance. Arrays may have common
    leading axes, as those of `vmap`ped modules have. Annotations that cannot be resolved, or are
    of a kind not known here, allow everything.
    """
    try:
        hints = typing.get_type_hints(cls)
    except Exception:  # names that exist for type checkers alone
        return None
    with jaxtyping.jaxtyped("context"):
        for name, value in fields.items():
            if not _allows(hints.get(name, Any), value):
                return f"field {name!r} holds {_described(value)}, expected {hints[name]}"
    return None


def _allows(hint: Any, value: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return _allows(arguments[0], value)
    if origin in (Union, types.UnionType):
        return any(_allows(a, value) for a in arguments)
    if hint is None or hint is type(None):
        return value is None
    if origin is tuple:
        return isinstance(value, tuple) and _allows_items(arguments, value)
    if origin is Callable:
        return callable(value)
    if hint is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        try:
            return isinstance(value, _with_leading_axes(hint))
        except jaxtyping.AnnotationError:  # an axis "k-1" before k is known
            return True
    if isinstance(hint, type) and not getattr(hint, "_is_protocol", False):
        return isinstance(value, hint)
    return True  # TypeVar, Any, Literal, ...


def _allows_items(hints: tuple[Any, ...], values: tuple[Any, ...]) -> bool:
    if len(hints) == 2 and hints[1] is Ellipsis:
        return all(_allows(hints[0], v) for v in values)
    return len(hints) == len(values) and all(map(_allows, hints, values))


def _with_leading_axes(hint: Any) -> Any:
    if "..." in hint.dim_str or "*" in hint.dim_str:
        return hint
    return hint.dtype[hint.array_type, f"*leading {hint.dim_str}"]


def _described(value: Any) -> str:
    if hasattr(value, "shape"):
        return f"{np.dtype(value.dtype)}{list(value.shape)}"
    if value is None or isinstance(value, str | bool | int | float):
        return repr(value)[:40]
    return f"a {type(value).__name__}"
