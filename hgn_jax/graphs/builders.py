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
from jaxtyping import Array, ArrayLike
from jraph import GraphsTuple

from .cell import Cell, require_cell
from .pair_search import pairs_within
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
    position = _sites(position)
    n = len(position)
    links = np.asarray(pairs) if np.size(pairs) else np.zeros((0, 2), np.int64)
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
    both = {k: jnp.concatenate([v, v]) for k, v in names.items()}
    return _graph(position, links, both, momentum, mass)


def _sites(position: ArrayLike) -> Array:
    """Positions `[n d]` as floats."""
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
    return position


def _graph(
    position: Array,
    pairs: np.ndarray,
    edges: dict[str, Array],
    momentum: ArrayLike | None,
    mass: ArrayLike,
) -> GraphsTuple:
    """One graph of pairs in both directions; `edges` are those of all first directions, then of
    all second ones."""
    return GraphsTuple(
        nodes={
            "position": position,
            "momentum": jnp.zeros_like(position)
            if momentum is None
            else jnp.broadcast_to(jnp.asarray(momentum, position.dtype), position.shape),
            "mass": jnp.broadcast_to(jnp.asarray(mass, position.dtype), (len(position),)),
        },
        edges=edges,
        # Joined by NumPy and with a dtype: else JAX compiles anew for every number of edges.
        senders=jnp.asarray(np.concatenate([pairs[:, 0], pairs[:, 1]]), jnp.int32),
        receivers=jnp.asarray(np.concatenate([pairs[:, 1], pairs[:, 0]]), jnp.int32),
        globals={},
        n_node=jnp.array([len(position)], jnp.int32),
        n_edge=jnp.array([2 * len(pairs)], jnp.int32),
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
    """Joins all bodies at most `cutoff` (length) apart; concrete arrays of 1 to 3 dimensions.

    With a periodic `cell`, `[d]` lengths of an orthorhombic one or lattice vectors as rows
    `[d d]`, bodies are joined to all images within the cutoff, of others and of themselves, however
    small the cell. `edges["shift"]` `[e d]` numbers the image: the edge's vector is
    x[receiver] - x[sender] + shift @ cell, and `globals["cell"]` is `[1 d d]`. Positions may lie
    anywhere and stay as they are: shifts hold as long as bodies move without being wrapped.

    For bodies that move, add a skin to the cutoff: all pairs within the cutoff are then joined
    until a body has moved by half the skin.

    **Raises:** `ValueError` for positions that are not finite, a cutoff that is not positive and
    finite, or a cell of another shape, not finite or singular.
    """
    if isinstance(position, jax.core.Tracer) or isinstance(cell, jax.core.Tracer):
        raise ValueError("radius needs concrete positions: the number of edges depends on them")
    position = _sites(position)
    points = np.asarray(position, float)
    if not np.isfinite(points).all():
        raise ValueError(
            f"position of node {int(np.argwhere(~np.isfinite(points))[0, 0])} not finite"
        )
    if not 0 < cutoff < math.inf:
        raise ValueError(f"cutoff must be positive and finite, got {cutoff}")
    matrix = None if cell is None else _matrix(cell, points.shape[1])
    pairs, shift = pairs_within(points, cutoff, None if matrix is None else Cell(matrix))
    if matrix is None:
        return _graph(position, pairs, {}, None, mass)
    both = jnp.asarray(np.concatenate([shift, -shift]), jnp.int32)
    graph = _graph(position, pairs, {"shift": both}, None, mass)
    return graph._replace(globals={"cell": jnp.asarray(matrix, position.dtype)[None]})


def _matrix(cell: ArrayLike | Sequence[float], dimension: int) -> np.ndarray:
    """Lattice vectors `[d d]` in double precision."""
    given = np.asarray(cell, float)
    if given.shape not in ((dimension,), (dimension, dimension)):
        raise ValueError(
            f"cell must be lengths ({dimension},) or a matrix ({dimension}, {dimension}), got "
            f"shape {given.shape}"
        )
    if given.ndim == 1:
        if not ((given > 0) & np.isfinite(given)).all():
            raise ValueError(f"cell must have positive, finite lengths, got {given.tolist()}")
        given = np.diag(given)
    require_cell(given)
    return given
