"""Triples and quadruples of bodies: angles between bonds, dihedrals of chains.

A triple (i, j, k) is stored at its middle body j, a quadruple (i, j, k, l) at its second, by the
numbers of the other bodies minus its own. Batches, chunks and selections keep the nodes of a graph
together, so these arrays remain right. Zeros are empty slots, as `pad` appends them.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._tree import is_concrete
from .check_values import Frames
from .padding import real_counts

SIZES = {"triples": 3, "quadruples": 4}
"""Number of bodies of an entry of each array."""
TYPES = {"triples": "triple_type", "quadruples": "quadruple_type"}


def with_triples(
    data: GraphsTuple,
    triples: ArrayLike | Sequence[Sequence[int]],
    *,
    types: ArrayLike | Sequence[int] | None = None,
    slots: int | None = None,
) -> GraphsTuple:
    """The data with `nodes["triples"]`, for `hgn.Bending` and terms on `hgn.sites.Triples`.

    **Arguments:**

    - `triples`: numbers (i, j, k) of the bodies `[t 3]`, counted from 0 in every graph, j in the
        middle.
    - `types`: `[t]`, kinds of triples, 0, 1, ...; all are alike by default.
    - `slots`: number of triples for which each body has space, as many as needed by default.
        Graphs that are joined by `batch` must have equally many.

    **Raises:** `ValueError` for triples that repeat a body, occur twice (a triple may be read from
    both ends) or name a body that a graph does not have, or for too few slots.
    """
    return _with_tuples(data, "triples", triples, types, slots)


def with_quadruples(
    data: GraphsTuple,
    quadruples: ArrayLike | Sequence[Sequence[int]],
    *,
    types: ArrayLike | Sequence[int] | None = None,
    slots: int | None = None,
) -> GraphsTuple:
    """The data with `nodes["quadruples"]`, for `hgn.Torsion` and terms on `hgn.sites.Quadruples`.

    **Arguments:**

    - `quadruples`: numbers (i, j, k, l) of the bodies `[q 4]`, counted from 0 in every graph, in
        the order of the chain.
    - `types`, `slots`: as in `with_triples`.

    **Raises:** `ValueError` as `with_triples`.
    """
    return _with_tuples(data, "quadruples", quadruples, types, slots)


def _with_tuples(
    data: GraphsTuple,
    name: str,
    tuples: ArrayLike | Sequence[Sequence[int]],
    types: ArrayLike | Sequence[int] | None,
    slots: int | None,
) -> GraphsTuple:
    listed = _checked(name, tuples)
    n = len(data.nodes["position"])
    real, nodes = map(int, real_counts(data.n_node, n))
    sizes = np.asarray(data.n_node)[:real]
    count = int(listed.max(initial=-1)) + 1
    if len(sizes) and sizes.min() < count:
        raise ValueError(
            f"{name} name body {count - 1}, but frame {int(sizes.argmin())} has only "
            f"{sizes.min()} bodies, counted from 0"
        )
    own, others = listed[:, 1], np.delete(listed, 1, axis=1)
    bodies = np.bincount(own, minlength=count)
    needed = max(int(bodies.max(initial=0)), 1)
    slots = needed if slots is None else whole_number("slots", slots, 1)
    if slots < needed:
        raise ValueError(f"slots={slots}, but body {int(bodies.argmax())} needs {needed}")
    order = np.argsort(own, kind="stable")
    rank = np.zeros_like(own)
    # Rank of each entry among those of the same body, which is its slot.
    rank[order] = np.arange(len(own)) - (np.cumsum(bodies) - bodies)[own[order]]
    table = np.zeros((count, slots, SIZES[name] - 1), np.int32)
    table[own, rank] = others - own[:, None]
    arrays = {name: table}
    if types is not None:
        arrays[TYPES[name]] = np.zeros((count, slots), np.int32)
        arrays[TYPES[name]][own, rank] = _checked_types(name, types, len(listed))
    # Numbers of the nodes within their graphs; those without any entry get zeros.
    n_node = np.asarray(data.n_node)
    number = np.arange(n) - np.repeat(np.cumsum(n_node) - n_node, n_node)
    named = (number < count) & (np.arange(n) < nodes)
    filled = {}
    for key, rows in arrays.items():
        values = np.zeros((n, *rows.shape[1:]), np.int32)
        values[named] = rows[number[named]]
        filled[key] = jnp.asarray(values)
    return data._replace(nodes=data.nodes | filled)


def _checked(name: str, tuples: ArrayLike | Sequence[Sequence[int]]) -> Int[np.ndarray, "t k"]:
    size, one = SIZES[name], name[:-1]
    listed = np.asarray(tuples) if np.size(tuples) else np.zeros((0, size), int)  # [] holds floats
    if listed.ndim != 2 or listed.shape[1] != size or not np.issubdtype(listed.dtype, np.integer):
        raise ValueError(
            f"{name} must be integers [_ {size}], got {listed.dtype} {list(listed.shape)}"
        )
    first_of: dict[tuple[int, ...], int] = {}
    for t, bodies in enumerate(map(tuple, listed.tolist())):
        if min(bodies) < 0:
            raise ValueError(f"{one} {t} = {bodies} has a negative number")
        if len(set(bodies)) < size:
            raise ValueError(f"{one} {t} = {bodies} names a body twice")
        first = first_of.setdefault(min(bodies, bodies[::-1]), t)
        if first < t:
            raise ValueError(f"{one} {t} = {bodies} is {one} {first} again")
    return listed


def _checked_types(
    name: str, types: ArrayLike | Sequence[int], count: int
) -> Int[np.ndarray, " t"]:
    kinds = np.asarray(types)
    if kinds.shape != (count,) or not np.issubdtype(kinds.dtype, np.integer) or (kinds < 0).any():
        raise ValueError(
            f"types must be one integer of at least 0 for each of the {count} {name}, got "
            f"{kinds.dtype} {list(kinds.shape)}"
        )
    return kinds


def check_tuples(graphs: GraphsTuple, frames: Frames) -> None:
    """Raises `ValueError` for a triple or quadruple that leaves its graph or repeats a body."""
    frame = frames.of["nodes"]
    own = np.arange(len(frame))[:, None, None]
    for name in SIZES.keys() & graphs.nodes.keys():
        offsets = graphs.nodes[name]
        used = (offsets != 0).any(axis=2)  # no body occurs twice: zeros are empty slots
        others = own + offsets
        inside = (others >= 0) & (others < len(frame))
        inside &= frame[np.where(inside, others, 0)] == frame[own]  # 0: any valid index
        outside = used & ~inside.all(axis=2)
        everyone = np.sort(np.concatenate([np.broadcast_to(own, (*used.shape, 1)), others], 2))
        repeated = used & (np.diff(everyone) == 0).any(axis=2)
        negative = graphs.nodes.get(TYPES[name], np.zeros(used.shape)) < 0
        for wrong, what in (
            (outside, f"has a {name[:-1]} with a body outside of its graph"),
            (repeated, f"has a {name[:-1]} that names a body twice"),
            (negative, f"has a negative {TYPES[name]}"),
        ):
            if wrong.any():
                node = int(np.argmax(wrong.any(axis=1)))
                raise ValueError(
                    f"{frames.located('nodes', node)} {what}: use hgn.graphs.with_{name}"
                )


def check_types(graphs: GraphsTuple, name: str, count: int, term: str) -> None:
    """Raises `ValueError` for concrete graphs with other types than 0 .. `count` - 1."""
    kinds = graphs.nodes.get(TYPES[name])
    if kinds is None or not is_concrete(kinds):
        return
    if (greatest := int(np.max(np.asarray(kinds), initial=0))) >= count:
        raise ValueError(f"{term}(types={count}), but the data have {TYPES[name]} {greatest}")
