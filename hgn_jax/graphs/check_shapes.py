"""Checks of names, shapes and dtypes."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

from .cell import require_shift
from .schema import AXES, BOOLEANS, INTEGERS, NUMBERS, check_float, check_names, require


def check_arrays(graphs: GraphsTuple) -> None:
    """Raises `ValueError` for parts that are no dicts, and values that are no arrays."""
    if not all(isinstance(getattr(graphs, part), Mapping) for part in AXES):
        raise ValueError("nodes, edges and globals must be dicts of arrays ({} if there are none)")
    for name, array in _all_arrays(graphs):
        if not isinstance(array, np.ndarray | jax.Array):
            raise ValueError(f"{name} must be an array, got {_described(array)}")


def check_shapes(graphs: GraphsTuple) -> None:
    """Raises `ValueError` for the first array of an unknown name, wrong shape or wrong dtype."""
    _check_counts(graphs)
    require(graphs, {"nodes": ["position"]}, "a graph")
    position = graphs.nodes["position"]
    if position.ndim != 2 or not position.shape[1]:
        raise ValueError(f'nodes["position"] must be [n d], got {position.shape}')
    # AXES writes fixed lengths as digits.
    sizes = {
        "n": position.shape[0], "d": position.shape[1],
        "e": len(graphs.senders), "g": len(graphs.n_node), "2": 2, "3": 3,
        "t": _slots(graphs.nodes, "triples"), "q": _slots(graphs.nodes, "quadruples"),
        "k": _slots(graphs.globals, "lattice"),
    }  # fmt: skip
    for part, axes in AXES.items():
        check_names(part, getattr(graphs, part))
        for name, array in getattr(graphs, part).items():
            expected = tuple(sizes[axis] for axis in axes[name].split())
            if array.shape != expected:
                raise ValueError(
                    f"{part}[{name!r}] must be [{axes[name]}] = {expected}, got {array.shape}"
                )
            _check_kind(f"{part}[{name!r}]", name, array.dtype)
    if graphs.n_node.sum() != sizes["n"] or graphs.n_edge.sum() != sizes["e"]:
        raise ValueError(
            f"n_node and n_edge sum to {graphs.n_node.sum()} and {graphs.n_edge.sum()}, but there "
            f"are {sizes['n']} nodes and {sizes['e']} edges"
        )
    _check_precision(graphs)
    if "angular_momentum" in graphs.nodes:
        require(graphs, {"nodes": ["axis", "inertia"]}, 'nodes["angular_momentum"]')
    if "shift" in graphs.edges and "cell" not in graphs.globals:
        raise ValueError('edges["shift"] requires globals["cell"]')
    require_shift(graphs)


def _slots(arrays: Mapping[str, Any], name: str) -> int:
    """Number of triples or quadruples of each node, or of axes of each lattice."""
    # The zero is for an array of one axis, which is refused later, with its shape.
    return (*arrays.get(name, np.zeros((0, 0))).shape, 0)[1]


def _all_arrays(graphs: GraphsTuple) -> Iterator[tuple[str, Any]]:
    for part in AXES:
        for name, array in getattr(graphs, part).items():
            yield f"{part}[{name!r}]", array
    for name in ("senders", "receivers", "n_node", "n_edge"):
        yield name, getattr(graphs, name)


def _described(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__} {value!r}"[:60]


def _check_counts(graphs: GraphsTuple) -> None:
    for name in ("senders", "receivers", "n_node", "n_edge"):
        array = getattr(graphs, name)
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{name} must hold integers, got {array.dtype}")
        if array.ndim != 1:
            axis = "g" if name.startswith("n_") else "e"
            raise ValueError(f"{name} must be [{axis}], got shape {array.shape}")
    if graphs.n_node.shape != graphs.n_edge.shape:
        raise ValueError(
            f"n_node and n_edge must have one entry per graph each, got {len(graphs.n_node)} and "
            f"{len(graphs.n_edge)}"
        )
    if (graphs.n_node < 0).any() or (graphs.n_edge < 0).any():
        raise ValueError("n_node and n_edge must not be negative")
    if graphs.receivers.shape != graphs.senders.shape:
        raise ValueError(f"{len(graphs.senders)} senders but {len(graphs.receivers)} receivers")


def _check_kind(where: str, name: str, dtype: np.dtype) -> None:
    if name in BOOLEANS:
        if not jnp.issubdtype(dtype, jnp.bool_):
            raise ValueError(f"{where} must hold booleans, got {dtype}")
    elif name in INTEGERS:
        if not jnp.issubdtype(dtype, jnp.integer):
            raise ValueError(f"{where} must hold integers, got {dtype}")
    elif name not in NUMBERS or not jnp.issubdtype(dtype, jnp.integer):
        check_float(where, dtype)


def _check_precision(graphs: GraphsTuple) -> None:
    """Raises `ValueError` unless all floating arrays have one dtype.

    Dtypes are compared as JAX takes them: NumPy's doubles are float32 without 64-bit mode.
    """
    first = jax.dtypes.canonicalize_dtype(graphs.nodes["position"].dtype)
    for name, array in _all_arrays(graphs):
        if jnp.issubdtype(array.dtype, jnp.floating):
            dtype = jax.dtypes.canonicalize_dtype(array.dtype)
            if dtype != first:
                raise ValueError(
                    f"{name} is {dtype} but nodes['position'] is {first}: convert all arrays to "
                    "one precision"
                )
