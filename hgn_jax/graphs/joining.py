"""Edges of trajectories: listed pairs, all pairs, or pairs within a cutoff, and their couplings."""

import itertools
import math
import numbers
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike
from jraph import GraphsTuple

from .cell import Cell, require_cell
from .from_frames import from_frames
from .schema import did_you_mean

Edges: TypeAlias = ArrayLike | Sequence[tuple[int, int]] | str
PRODUCTS = ("mass", "charge")
"""Node arrays whose products are couplings, of gravity and of charges."""
NONE = np.zeros((0, 2), np.int64)


def is_cutoff(edges: Any) -> bool:
    """True for a number: the greatest length of an edge."""
    # Python counts bool among the numbers.
    return isinstance(edges, numbers.Real) and not isinstance(edges, bool)


def listed_pairs(edges: Any, n: int) -> Any:
    """Pairs of bodies `[p 2]` that hold for all frames; none if edges follow from a cutoff.

    **Raises:** `ValueError` for a word other than "all", or an invalid cutoff.
    """
    if is_cutoff(edges):
        if not 0 < edges < math.inf:
            raise ValueError(f"a cutoff must be positive and finite, got edges={edges}")
        return NONE
    if isinstance(edges, str) and edges == "all":
        # Reshaped, because the list is empty for a single body.
        return np.array(list(itertools.combinations(range(n), 2)), int).reshape(-1, 2)
    if np.ndim(edges) == 0:
        raise ValueError(f'edges must be pairs of bodies [p 2], "all" or a cutoff, got {edges!r}')
    return edges


def check_joining(edges: Any, coupling: Any, type: Any, cell: Any) -> None:
    """Raises `ValueError` for arguments that do not go with these edges."""
    if isinstance(coupling, str) and coupling not in PRODUCTS:
        raise ValueError(
            f'coupling must be [p], "mass" or "charge", got {coupling!r}'
            + did_you_mean(coupling, PRODUCTS)
        )
    if is_cutoff(edges):
        for name, values in (("coupling", coupling), ("type", type)):
            if values is not None and not isinstance(values, str):
                raise ValueError(
                    f"{name} has one entry per pair, but pairs within a cutoff differ between "
                    'frames: coupling="mass" or "charge", and species, work for all of them'
                )
    elif cell is not None:
        raise ValueError(f"bodies in a cell are joined by a cutoff: edges=3.0, got {edges!r}")


def as_cell(cell: ArrayLike | Sequence[Any] | None, d: int) -> np.ndarray | None:
    """Lattice vectors `[d d]` as rows, from these or from the side lengths `[d]`."""
    if cell is None:
        return None
    matrix = np.asarray(cell, float)
    if matrix.shape == (d,):
        matrix = np.diag(matrix)
    if matrix.shape != (d, d):
        raise ValueError(f"cell must be [d d] = {(d, d)} or [d] = {(d,)}, got {np.shape(cell)}")
    require_cell(matrix)
    return matrix


def unwrapped(position: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Positions `[k t n d]` without the jumps of bodies that were put back into the cell.

    Exact as long as no body moves by half a cell between two frames in which it was measured.
    """
    fraction = Cell(cell).fractional(position.astype(float))
    # What was not measured, NaN, stays where it was: jumps count from there.
    frames = np.arange(fraction.shape[1])[:, None, None]
    latest = np.maximum.accumulate(np.where(np.isnan(fraction), 0, frames), axis=1)
    fraction = np.take_along_axis(fraction, latest, axis=1)
    steps = np.diff(fraction, axis=1)
    turns = np.cumsum(np.round(np.nan_to_num(steps)), axis=1)  # NaN: not measured so far
    turns = np.concatenate([np.zeros_like(turns[:, :1]), turns], axis=1)
    return position - (turns @ cell).astype(position.dtype)


def joined(data: GraphsTuple, cutoff: float, cell: np.ndarray | None) -> GraphsTuple:
    """The batch of graphs of n bodies each, with edges by the cutoff in every graph."""
    n, d = int(data.n_node[0]), data.nodes["position"].shape[1]
    position = np.asarray(data.nodes["position"]).reshape(-1, n, d)
    return from_frames(
        list(position),
        cutoff=cutoff,
        cell=None if cell is None else [cell] * len(position),
        nodes={name: array for name, array in data.nodes.items() if name != "position"},
        globals_=data.globals,
        dtype=data.nodes["position"].dtype,
    )


def coupled(data: GraphsTuple, name: str) -> GraphsTuple:
    """The batch with `edges["coupling"]`, the product of both bodies' masses or charges.

    **Raises:** `ValueError` if the bodies have none.
    """
    if name not in data.nodes:
        raise ValueError(f"coupling={name!r} needs a {name} of every body: give {name}=")
    values = np.asarray(data.nodes[name])
    product = values[np.asarray(data.senders)] * values[np.asarray(data.receivers)]
    return data._replace(edges=data.edges | {"coupling": jnp.asarray(product)})
