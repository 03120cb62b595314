"""Pure builders of jraph GraphsTuples: bodies at rest at given sites, and who interacts with whom.

Every pair stands in `senders`/`receivers` in both directions, as jraph's message passing expects;
energies count each direction one half.
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike
from jraph import GraphsTuple
from scipy.spatial import cKDTree

from .schema import check_float, check_names


def from_pairs(
    position: ArrayLike,
    pairs: ArrayLike | Sequence[tuple[int, int]],
    *,
    momentum: ArrayLike | None = None,
    mass: ArrayLike = 1.0,
    **edges: ArrayLike,
) -> GraphsTuple:
    """One graph from sites and a list of interacting pairs, each named once.

    **Arguments:**

    - `position`: `[n d]`, length.
    - `pairs`: `[p 2]` node numbers; the reverse directions are added.
    - `momentum`: `[n d]`, mass * length / time; zero if not given.
    - `mass`: `[n]` or one number for all.
    - `edges`: further edge arrays `[p ...]` by name, such as `coupling` or `type`.

    **Raises:** `ValueError` if shapes disagree or a pair names a node that does not exist, names
    one node twice, or occurs twice, or an edge array is not known.
    """
    position = jnp.asarray(position)
    if position.ndim != 2 or not position.size:
        raise ValueError(
            "position must be [n d] with at least one body and dimension, got shape "
            f"{position.shape}"
        )
    if not jnp.issubdtype(position.dtype, jnp.integer):
        check_float("position", position.dtype)
    if not jnp.issubdtype(position.dtype, jnp.floating):
        position = position.astype(jnp.result_type(float))
    n = position.shape[0]
    links = np.asarray(pairs) if np.size(pairs) else np.zeros((0, 2), np.int32)
    if links.ndim != 2 or links.shape[1] != 2 or not np.issubdtype(links.dtype, np.integer):
        raise ValueError(f"pairs must be integers [p 2], got {links.dtype} {links.shape}")
    # Checked before they are cast: an index beyond 32 bits would become a small one.
    _check_pairs(links, n)
    links = links.astype(np.int32)
    check_names("edges", edges)
    names = {
        k: jnp.asarray(v, position.dtype if k == "coupling" else None) for k, v in edges.items()
    }
    for name, values in names.items():
        if values.shape[:1] != (len(links),):
            raise ValueError(
                f"edges[{name!r}] must have one entry per pair ({len(links)}), got {values.shape}"
            )
    return GraphsTuple(
        nodes={
            "position": position,
            "momentum": jnp.zeros_like(position)
            if momentum is None
            else jnp.broadcast_to(jnp.asarray(momentum, position.dtype), position.shape),
            "mass": jnp.broadcast_to(jnp.asarray(mass, position.dtype), (n,)),
        },
        edges={k: jnp.concatenate([v, v]) for k, v in names.items()},
        # Joined by NumPy and with a dtype: else JAX compiles anew for every number of edges.
        senders=jnp.asarray(np.concatenate([links[:, 0], links[:, 1]]), jnp.int32),
        receivers=jnp.asarray(np.concatenate([links[:, 1], links[:, 0]]), jnp.int32),
        globals={},
        n_node=jnp.array([n], jnp.int32),
        n_edge=jnp.array([2 * len(links)], jnp.int32),
    )


def _check_pairs(links: np.ndarray, n: int) -> None:
    outside = (links < 0) | (links >= n)
    if outside.any():
        row = int(np.argwhere(outside)[0, 0])
        raise ValueError(f"pair {row} {tuple(links[row].tolist())} names a node outside 0..{n - 1}")
    if (links[:, 0] == links[:, 1]).any():
        row = int(np.argmax(links[:, 0] == links[:, 1]))
        raise ValueError(f"pair {row} joins node {links[row, 0]} to itself")
    ordered = np.sort(links, axis=1)
    _, first, count = np.unique(ordered, axis=0, return_index=True, return_counts=True)
    if (count > 1).any():
        pair = tuple(ordered[first[np.argmax(count > 1)]].tolist())
        raise ValueError(f"pair {pair} occurs more than once; name each pair once")


def lattice(shape: Sequence[int], *, spacing: float = 1.0, mass: ArrayLike = 1.0) -> GraphsTuple:
    """Rectangular lattice of any dimension with nearest neighbours joined.

    `shape` gives the number of sites along each axis, `spacing` their distance (length). The
    spatial dimension is `len(shape)`.

    **Raises:** `ValueError` unless there is an axis, and at least one site along each.
    """
    if not shape or min(shape) < 1:
        raise ValueError(f"a lattice needs at least one site along each axis, got {tuple(shape)}")
    sites = np.array(list(itertools.product(*map(range, shape))), dtype=float)
    index = np.arange(math.prod(shape)).reshape(shape)
    pairs = [
        np.stack([index.take(range(k - 1), axis).ravel(), index.take(range(1, k), axis).ravel()], 1)
        for axis, k in enumerate(shape)
    ]
    return from_pairs(spacing * sites, np.concatenate(pairs), mass=mass)


def chain(
    n: int, *, dimension: int = 1, spacing: float = 1.0, mass: ArrayLike = 1.0
) -> GraphsTuple:
    """Open chain of n bodies along the first axis, neighbours joined."""
    return lattice((n,) + (1,) * (dimension - 1), spacing=spacing, mass=mass)


def ring(n: int, *, dimension: int = 2, spacing: float = 1.0, mass: ArrayLike = 1.0) -> GraphsTuple:
    """Closed chain of n >= 3 bodies on a circle in the plane of the first two axes.

    `spacing` is the distance of neighbours (length).
    """
    if n < 3 or dimension < 2:
        raise ValueError(f"a ring needs n >= 3 and dimension >= 2, got {n} and {dimension}")
    angle = 2 * np.pi * np.arange(n) / n
    circle = np.stack([np.cos(angle), np.sin(angle)], 1) * spacing / (2 * np.sin(np.pi / n))
    sites = np.pad(circle, ((0, 0), (0, dimension - 2)))
    return from_pairs(sites, [(i, (i + 1) % n) for i in range(n)], mass=mass)


def fully_connected(
    n: int, dimension: int, *, position: ArrayLike | None = None, mass: ArrayLike = 1.0
) -> GraphsTuple:
    """Every pair of n bodies joined. Without `position` they sit on a unit cubic lattice.

    **Raises:** `ValueError` for less than one body or dimension, or positions of another shape.
    """
    if n < 1 or dimension < 1:
        raise ValueError(f"need at least one body and dimension, got {n} and {dimension}")
    if position is None:
        side = math.ceil(round(n ** (1 / dimension), 9))
        sites = itertools.islice(itertools.product(range(side), repeat=dimension), n)
        position = np.array(list(sites), dtype=float)
    if np.shape(position) != (n, dimension):
        raise ValueError(f"position must be {(n, dimension)}, got {np.shape(position)}")
    pairs = np.array(list(itertools.combinations(range(n), 2)), dtype=int)
    return from_pairs(position, pairs, mass=mass)


def radius(
    position: ArrayLike,
    cutoff: float,
    *,
    cell: ArrayLike | Sequence[float] | None = None,
    mass: ArrayLike = 1.0,
) -> GraphsTuple:
    """Joins bodies at most `cutoff` (length) apart, found with a k-d tree; concrete arrays only.

    With a periodic `cell`, `[d]` lengths or a diagonal matrix `[d d]`, each body is joined to the
    nearest image of the others: `edges["shift"]` `[e d]` numbers it, so that the edge's vector is
    x[receiver] - x[sender] + shift @ cell, and `globals["cell"]` is `[1 d d]`. Positions may lie
    anywhere and stay as they are: shifts hold as long as bodies move without being wrapped.

    For bodies that move, add a skin to the cutoff: all pairs within the cutoff are then joined
    until a body has moved by half the skin.

    **Raises:** `ValueError` for positions that are not finite, or a cell of another shape, not
    diagonal, not positive, or shorter than twice the cutoff.
    """
    if isinstance(position, jax.core.Tracer) or isinstance(cell, jax.core.Tracer):
        raise ValueError("radius needs concrete positions: the number of edges depends on them")
    points = np.asarray(position)
    if not np.isfinite(points).all():
        raise ValueError(
            f"position of node {int(np.argwhere(~np.isfinite(points))[0, 0])} not finite"
        )
    lengths = None if cell is None else _box(cell, points.shape[-1], cutoff)
    pairs = cKDTree(wrapped(points, lengths), boxsize=lengths).query_pairs(
        cutoff, output_type="ndarray"
    )
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    graph = from_pairs(position, pairs, mass=mass)
    if lengths is None:
        return graph
    arm = (points[pairs[:, 1]] - points[pairs[:, 0]]) / lengths
    shift = -np.rint(arm).astype(np.int32)
    both = jnp.asarray(np.concatenate([shift, -shift]), jnp.int32)
    matrix = jnp.asarray(np.diag(lengths), graph.nodes["position"].dtype)
    return graph._replace(edges={"shift": both}, globals={"cell": matrix[None]})


def _box(cell: ArrayLike | Sequence[float], dimension: int, cutoff: float) -> np.ndarray:
    """The lengths `[d]` of an orthorhombic cell."""
    given = np.asarray(cell, float)
    if given.shape not in ((dimension,), (dimension, dimension)):
        raise ValueError(
            f"cell must be lengths ({dimension},) or a matrix ({dimension}, {dimension}), got "
            f"shape {given.shape}"
        )
    lengths = given if given.ndim == 1 else np.diag(given)
    if given.ndim == 2 and (given != np.diag(lengths)).any():
        raise ValueError("cell must be diagonal: other periodic cells come later")
    if not ((lengths > 0) & np.isfinite(lengths)).all():
        raise ValueError(f"cell must have positive, finite lengths, got {lengths.tolist()}")
    if (lengths < 2 * cutoff).any():
        raise ValueError(
            f"cell length {lengths.min()} is less than twice the cutoff {cutoff}: bodies would "
            "meet several images of one another; full periodic images come later"
        )
    return lengths


def wrapped(points: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """Points brought into a box of those lengths, [0, length) along each axis."""
    if lengths is None:
        return points
    inside = np.mod(points, lengths)
    # The remainder of a tiny negative number is rounded up to the length itself.
    return np.where(inside < lengths, inside, 0)
