"""Words for what was given in place of graphs: which function makes graphs of it."""

import os
from collections.abc import Sequence
from typing import Any

from jraph import GraphsTuple


def not_graphs(name: str, value: Any) -> ValueError:
    """Error that says what to call, for a value that is no `GraphsTuple`."""
    kind = f"{name} must be a jraph GraphsTuple, got {_described(value)}"
    first = value[0] if isinstance(value, Sequence) and len(value) and value else value
    if isinstance(value, str | os.PathLike):
        remedy = "hgn.read(path, ...) reads a file"
    elif _is_atoms(first):
        remedy = "hgn.read(atoms, cutoff=5.0) joins and labels atoms"
    elif isinstance(first, GraphsTuple):
        remedy = "hgn.graphs.batch(graphs) makes one batch of a list"
    elif hasattr(value, "recordings"):  # the result of a rollout
        remedy = (
            "hgn.graphs.from_trajectories(path.times, path.position, mass=..., edges=...) makes "
            "data of a rollout, path.end is its last graph"
        )
    elif hasattr(first, "position"):  # states of jax-md
        remedy = (
            "stack the positions and momenta of all frames as [t n d], and pass them to "
            "hgn.graphs.from_trajectories(times, position, momentum=..., mass=..., edges=...); "
            "hgn.graphs.radius joins the bodies of one state"
        )
    else:
        remedy = "see hgn.read, hgn.graphs.from_trajectories and hgn.graphs.from_pairs"
    return ValueError(f"{kind}: {remedy}")


def _is_atoms(value: Any) -> bool:
    # By attributes: ASE may not be installed.
    return all(hasattr(value, name) for name in ("numbers", "positions", "cell"))


def _described(value: Any) -> str:
    if isinstance(value, list | tuple) and value:
        return f"a {type(value).__name__} of {type(value[0]).__name__}"
    return type(value).__name__
