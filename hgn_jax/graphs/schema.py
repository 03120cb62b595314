"""Arrays that a graph may carry: their names, axes and dtypes, and errors for missing ones."""

import difflib
from collections.abc import Collection, Iterable, Mapping

import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

AXES: dict[str, dict[str, str]] = {
    "nodes": {
        "position": "n d", "momentum": "n d", "velocity": "n d", "force": "n d",
        "mass": "n", "charge": "n", "weight": "n", "species": "n", "fixed": "n",
        "position_measured": "n", "momentum_measured": "n",
        "axis": "n d", "axis_velocity": "n d", "angular_momentum": "n d", "torque": "n d",
        "inertia": "n",
        "triples": "n t 2", "triple_type": "n t", "quadruples": "n q 3", "quadruple_type": "n q",
    },
    "edges": {"shift": "e d", "coupling": "e", "type": "e"},
    "globals": {
        "energy": "g", "stress": "g d d", "cell": "g d d", "time": "g", "trajectory": "g",
        "energy_weight": "g", "stress_weight": "g", "lattice": "g k",
    },
}  # fmt: skip
"""Axes of every known array: n nodes, e edges, g graphs, d dimensions, t triples and q quadruples
of a node, k axes of a lattice."""
INTEGERS = {
    "species", "type", "trajectory", "shift", "triples", "triple_type", "quadruples",
    "quadruple_type", "lattice",
}  # fmt: skip
BOOLEANS = {"fixed", "position_measured", "momentum_measured"}
NUMBERS = {"cell", "time"}
"""Arrays of integers or floats; all others hold floats."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggests the known name nearest to `name`: " (did you mean ...?)", or "" if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


def check_names(part: str, names: Iterable[str]) -> None:
    """Raises `ValueError` for an array of unknown name."""
    known = AXES[part]
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(
            f"{part} has unknown keys {unknown}{did_you_mean(unknown[0], known)}; known are "
            f"{sorted(known)}"
        )


def check_float(where: str, dtype: np.dtype) -> None:
    """Raises `ValueError` for a dtype other than single or double precision."""
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise ValueError(f"{where} is complex ({dtype}): its imaginary part would be lost")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"{where} must hold floats, got {dtype}")
    if dtype.itemsize < 4:  # float16 and bfloat16
        raise ValueError(
            f"{where} is {dtype}, too coarse to fit or integrate: convert it to float32 or float64"
        )


def require(graphs: GraphsTuple, needed: Mapping[str, Collection[str]], why: str) -> None:
    """Raises `ValueError` if arrays are missing, and lists those of the data. Works inside jit.

    `needed` names arrays by part, `{"nodes": ["velocity"], "globals": ["energy"]}`; `why` is the
    subject of the sentence, such as "Derivatives()".
    """
    missing = [
        (part, name) for part, names in needed.items() for name in sorted(names)
        if name not in (getattr(graphs, part) or {})  # jraph allows None for a dict
    ]  # fmt: skip
    if not missing:
        return
    words = []
    for part, name in missing:
        unknown = [k for k in getattr(graphs, part) or {} if k not in AXES[part]]
        # A misspelt key of the data is the likely cause.
        near = difflib.get_close_matches(name, unknown, n=1, cutoff=0.6)
        words.append(
            f'{part}["{name}"]' + (f" ({near[0]!r}: did you mean {name!r}?)" if near else "")
        )
    held = "; ".join(f"{part} {sorted(getattr(graphs, part) or {})}" for part in AXES)
    raise ValueError(f"{why} needs {', '.join(words)}. The data hold {held}")
