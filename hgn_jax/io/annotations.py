"""Checks of field values against the annotations of their class."""

import types
import typing
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin

import numpy as np
from jaxtyping import AbstractArray


def mismatch(cls: type, fields: dict[str, Any]) -> str | None:
    """Describes the first field whose value does not match its annotation; None if all match.

    Named axes of arrays must agree among the fields of one instance. Arrays may have further
    leading axes, as in `vmap`ped modules. Annotations that cannot be resolved, or are of an unknown
    kind, match everything.
    """
    try:
        hints = typing.get_type_hints(cls)
    except Exception:  # names that exist for type checkers alone
        return None
    axes: dict[str, int] = {}
    for name, value in fields.items():
        if not _allows(hints.get(name, Any), value, axes):
            known = f" with axes {axes}" if axes else ""
            return f"field {name!r} holds {_described(value)}, expected {hints[name]}{known}"
    return None


def _allows(hint: Any, value: Any, axes: dict[str, int]) -> bool:
    """True if the value matches the hint; `axes` collects the sizes of named axes."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return _allows(arguments[0], value, axes)
    if origin in (Union, types.UnionType):
        return any(_allows(a, value, axes) for a in arguments)
    if hint is None or hint is type(None):
        return value is None
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            arguments = (arguments[0],) * len(value) if isinstance(value, tuple) else ()
        return (
            isinstance(value, tuple)
            and len(arguments) == len(value)
            and all(_allows(a, v, axes) for a, v in zip(arguments, value))
        )
    if origin is Callable:
        return callable(value)
    # An int may stand for a float, but a bool, which Python counts as an int, for neither.
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return _allows_array(hint, value, axes)
    # isinstance() raises for protocols that cannot be checked at run time.
    if isinstance(hint, type) and not getattr(hint, "_is_protocol", False):
        return isinstance(value, hint)
    return True  # Any, Literal, a TypeVar


def _allows_array(hint: Any, value: Any, axes: dict[str, int]) -> bool:
    if not isinstance(value, hint.dtype[hint.array_type, "..."]):
        return False
    names = hint.dim_str.split()
    if any("..." in name or "*" in name for name in names):
        return True
    if value.ndim < len(names):
        return False
    # Named axes are the last ones: those of `vmap` come first.
    for name, size in zip(names, value.shape[value.ndim - len(names) :]):
        if name.isdecimal() and int(name) != size:
            return False
        # jaxtyping binds no size to a name with an underscore in front.
        if name.isidentifier() and name[0] != "_" and axes.setdefault(name, size) != size:
            return False
    return True


def _described(value: Any) -> str:
    if hasattr(value, "shape"):
        return f"{np.dtype(value.dtype)}{list(value.shape)}"
    if isinstance(value, tuple) and len(value) <= 4:
        return f"({', '.join(map(_described, value))}{',' if len(value) == 1 else ''})"
    if value is None or isinstance(value, str | bool | int | float):
        return repr(value)[:40]
    return f"a {type(value).__name__}"
