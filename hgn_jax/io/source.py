"""Contents of functions and classes, as parts of a digest."""

import dis
import sys
import types
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

_LIBRARIES = {
    "jax", "jaxlib", "jaxtyping", "numpy", "scipy", "equinox", "diffrax", "lineax", "optimistix",
    "optax", "jraph", "beartype", __name__.split(".")[0], *sys.stdlib_module_names,
}  # fmt: skip
"""Packages whose code is fixed by their release, so that it counts by name."""

_CONSTANTS = (bool, int, float, complex, str, tuple, np.ndarray, np.generic, jax.Array)


def name_of(value: Any) -> str:
    """Name of a class or function, with its module."""
    return f"{value.__module__}.{value.__qualname__}"


def is_of_library(cls: type) -> bool:
    """True if the class belongs to an installed library."""
    return cls.__module__.split(".")[0] in _LIBRARIES


def class_parts(cls: type) -> Iterator[bytes | tuple[Any]]:
    """Name of a class; for the user's classes also bases, methods and constants."""
    yield name_of(cls).encode()
    if is_of_library(cls):
        return
    yield (cls.__bases__,)
    for name, member in sorted(vars(cls).items()):
        # Static and class methods, and properties, count by their functions.
        member = getattr(member, "__func__", getattr(member, "fget", member))
        is_code = isinstance(member, types.FunctionType) and not _is_generated(name, member)
        if is_code or (isinstance(member, _CONSTANTS) and not name.startswith("__")):
            yield name.encode()
            yield (member,)


def function_parts(function: types.FunctionType) -> Iterator[bytes | tuple[Any]]:
    """Defaults, closure, and the code with the globals that it uses, or the name in libraries."""
    closure = tuple(_content(cell) for cell in function.__closure__ or ())
    yield ((function.__defaults__, function.__kwdefaults__, closure),)
    if str(function.__globals__.get("__name__")).split(".")[0] in _LIBRARIES:
        yield name_of(function).encode()
        yield (getattr(function, "__wrapped__", None),)
        return
    yield (function.__code__,)
    for name in sorted(_global_names(function.__code__)):
        value = function.__globals__.get(name)
        if not isinstance(value, types.ModuleType):
            yield name.encode()
            yield (value,)


def code_parts(code: types.CodeType) -> Iterator[bytes | tuple[Any]]:
    """Bytecode, constants and names, without file names and line numbers."""
    yield code.co_code
    yield code.co_exceptiontable  # holds `try` blocks, which the bytecode does not
    yield f"{code.co_flags} {code.co_argcount} {code.co_kwonlyargcount}".encode()
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    yield ((*names, code.co_consts),)


def _global_names(code: types.CodeType) -> set[str]:
    """Names of the globals that a function, or one defined inside it, uses."""
    # Not `co_names`, which also holds the names of attributes.
    names = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    inner = [_global_names(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    return names.union(*inner)


def _content(cell: types.CellType) -> Any:
    """Value of a closure's variable; None before it is assigned."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _is_generated(name: str, function: types.FunctionType) -> bool:
    """True for methods that `dataclass` generates: the fields count instead."""
    return name.startswith("__") and function.__code__.co_filename == "<string>"
