"""Trees of modules as JSON and named arrays.

Classes are looked up by name among those that exist in this process: loading a file never imports
anything. Instances are built field by field, without `__init__`.
"""

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..features.base import AbstractTerm
from ..features.curves import AbstractCurve
from ..features.dense import Dense
from ..features.densities import Densities
from ..features.hats import Hats
from ..features.signatures import Signature
from ..models.base import AbstractModel
from ..models.basis import Basis
from ..models.equations_of_motion import AbstractDynamics
from ..models.rods import Rods
from ..systems.potentials import AbstractPotential
from .annotations import mismatch

SEAMS: tuple[type[eqx.Module], ...] = (
    AbstractModel, Basis, AbstractTerm, AbstractDynamics, AbstractCurve, AbstractPotential, Dense,
    Densities, Hats, Rods,
)  # fmt: skip
"""Base classes of what can be saved."""
TUPLES: tuple[type, ...] = (Signature,)
"""Tuples with named fields that can be saved."""

_OURS = __name__.split(".")[0]


def pack(node: Any, arrays: dict[str, Any], path: str = "") -> Any:
    """Converts a tree to JSON; its arrays are added to `arrays` under their paths in the tree.

    **Raises:** `TypeError` for anything that cannot be saved.
    """
    if isinstance(node, eqx.Module):
        if not isinstance(node, SEAMS):
            raise TypeError(
                f"cannot save a {_name(type(node))}: it derives from none of {_bases()}"
            )
    if isinstance(node, (eqx.Module, *TUPLES)):
        values = {name: getattr(node, name) for name in _fields(type(node))}
        fields = {k: pack(v, arrays, f"{path}.{k}".lstrip(".")) for k, v in values.items()}
        return {"class": _name(type(node)), "fields": fields}
    # A named tuple would lose its class.
    if isinstance(node, tuple) and type(node) is tuple:
        return [pack(item, arrays, f"{path}.{i}") for i, item in enumerate(node)]
    if node is None or isinstance(node, str | bool | int | float):
        return node
    if eqx.is_array(node) or isinstance(node, np.ndarray | np.generic):
        arrays[path] = jnp.asarray(node)
        return {"array": path}
    code = f": files hold no code, only names of classes from {_bases()}" if callable(node) else ""
    raise TypeError(f"cannot save {path}, a {type(node).__name__}{code}")


def unpack(node: Any, arrays: dict[str, Array]) -> Any:
    """Rebuilds a packed tree; its arrays are removed from `arrays`.

    **Raises:** `ValueError` for unknown classes, and for fields that do not match their classes.
    """
    if isinstance(node, list):
        return tuple(unpack(item, arrays) for item in node)
    if not isinstance(node, dict):
        return node
    if node.keys() == {"array"}:
        if not isinstance(node["array"], str) or node["array"] not in arrays:
            raise ValueError(f"array {node['array']!r} is missing or used twice")
        return arrays.pop(node["array"])
    if node.keys() != {"class", "fields"} or not isinstance(node["fields"], dict):
        raise ValueError(f"expected a class with fields, or an array, found {sorted(node)}")
    cls = _class(node["class"])
    names = _fields(cls)
    if sorted(names) != sorted(node["fields"]):
        raise ValueError(f"{cls.__name__} has the fields {names}, not {sorted(node['fields'])}")
    return _built(cls, {name: unpack(node["fields"][name], arrays) for name in names})


def _built(cls: type[Any], fields: dict[str, Any]) -> Any:
    if (words := mismatch(cls, fields)) is not None:
        raise ValueError(f"{cls.__name__}: {words}")
    if cls in TUPLES:
        return cls(**fields)
    instance = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(instance, name, value)  # equinox freezes instances
    # `__init__` is not called, so the checks that follow it in equinox are run here.
    for base in cls.__mro__:
        if "__check_init__" in base.__dict__:
            base.__dict__["__check_init__"](instance)
    return instance


def _fields(cls: Any) -> list[str]:
    return list(cls._fields) if cls in TUPLES else [f.name for f in dataclasses.fields(cls)]


def _bases() -> str:
    return ", ".join(seam.__name__ for seam in SEAMS)


def _name(cls: type) -> str:
    """Name of a class in files: short for this library's classes, with the module for others."""
    ours = cls.__module__.split(".")[0] == _OURS
    return cls.__qualname__ if ours else f"{cls.__module__}.{cls.__qualname__}"


def _class(name: Any) -> type[Any]:
    known: dict[str, type] = {_name(cls): cls for seam in SEAMS for cls in _concrete(seam)}
    known |= {_name(cls): cls for cls in TUPLES}
    if isinstance(name, str) and name in known:
        return known[name]
    if isinstance(name, str) and "." in name:
        module = name.split(".<locals>")[0].rpartition(".")[0]
        raise ValueError(
            f"unknown class {name}: if it is yours, import its module ({module}) before loading; "
            "a file never imports anything"
        )
    raise ValueError(f"unknown class {name!r}")


def _concrete(cls: type[eqx.Module]) -> Iterator[type[eqx.Module]]:
    """The class and its subclasses, without abstract ones. Later definitions come last and win."""
    if not (inspect.isabstract(cls) or cls.__abstractvars__ or cls.__abstractclassvars__):
        yield cls
    for derived in cls.__subclasses__():
        yield from _concrete(derived)
