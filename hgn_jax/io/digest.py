"""Fingerprints of settings, arrays and functions."""

import dataclasses
import enum
import functools
import hashlib
import types
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from .source import class_parts, code_parts, function_parts, is_of_library, name_of

_DEPTH = 100
"""Depth of nesting beyond which values are ignored."""

Part = bytes | tuple[Any]
"""Content itself, or a value (in a tuple) whose digest is the content."""


def digest(value: Any) -> str:
    """SHA-256 of a tree of settings, arrays and functions, by what they hold and do.

    Arrays count by dtype, shape and bytes; dataclasses and modules by their fields. Functions
    count by their bytecode, constants, names, defaults, closures and the globals that they name,
    except modules; classes by their methods and constants. Functions and classes of installed
    libraries count by name. File names, line numbers and addresses are ignored, and so are objects
    of unknown kinds, except for their class. The digest is therefore the same in every process
    that runs the same code on the same release of Python.
    """
    return _Traversal().digest(value)


class _Traversal:
    """Digests of the nested values of one tree."""

    def __init__(self) -> None:
        self.active: list[Any] = []
        self.cache: dict[int, tuple[Any, str]] = {}
        """Value and digest by id. Values are kept, so that their ids are not reused."""

    def digest(self, value: Any) -> str:
        if id(value) in self.cache:  # by identity: values may be unhashable
            return self.cache[id(value)][1]
        if len(self.active) > _DEPTH or any(value is other for other in self.active):
            return "met above"  # a cycle, or too deep
        self.active.append(value)
        total = hashlib.sha256()
        for part in _parts(value):
            content = part if isinstance(part, bytes) else self.digest(part[0]).encode()
            # Hashes of equal length, so that parts cut elsewhere cannot give the same bytes.
            total.update(hashlib.sha256(content).digest())
        self.active.pop()
        self.cache[id(value)] = value, total.hexdigest()
        return total.hexdigest()


def _parts(value: Any) -> Iterator[Part]:
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        yield from _array_parts(value)
        return
    kind = type(value)
    yield name_of(kind).encode()
    if value is None or isinstance(value, bool | int | float | complex | str | slice | range):
        yield repr(value).encode()  # exact for floats
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, np.dtype | enum.Enum):
        yield str(value).encode()
    elif isinstance(value, type):
        yield from class_parts(value)
    elif isinstance(value, types.CodeType):
        yield from code_parts(value)
    elif isinstance(value, functools.partial):
        yield ((value.func, value.args, value.keywords),)
    elif isinstance(value, types.MethodType):
        yield ((value.__func__, value.__self__),)
    elif isinstance(value, types.FunctionType):
        yield from function_parts(value)
    elif isinstance(value, dict):  # in any order
        yield from sorted(digest(item).encode() for item in value.items())
    elif isinstance(value, set | frozenset):
        yield from sorted(digest(item).encode() for item in value)
    elif isinstance(value, tuple | list):
        yield from ((item,) for item in value)
    elif dataclasses.is_dataclass(value):
        yield (kind,)
        for field in dataclasses.fields(value):
            yield field.name.encode()
            yield (getattr(value, field.name, None),)
    elif callable(getattr(value, "__wrapped__", None)):  # jax.jit and its like
        yield (value.__wrapped__,)
    elif is_of_library(kind):
        yield str(getattr(value, "__qualname__", getattr(value, "__name__", ""))).encode()
    else:
        yield (kind,)
        yield (getattr(value, "__dict__", {}),)


def _array_parts(array: Any) -> Iterator[Part]:
    if isinstance(array, jax.Array) and jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        yield str(array.dtype).encode()
        array = jax.random.key_data(array)  # NumPy has no typed keys
    values = np.asarray(array)
    yield f"{values.dtype.str}{values.shape}".encode()
    # The bytes of objects are addresses.
    yield repr(values.tolist()).encode() if values.dtype.hasobject else values.tobytes()
