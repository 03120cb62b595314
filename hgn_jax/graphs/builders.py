"""Builders of jraph GraphsTuples: bodies at rest at given sites, and the pairs that interact.

Every pair appears in `senders` and `receivers` in both directions, as jraph's message passing
expects. Energies count each direction by one half.
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
    - `pairs`: `[p 2]` node numbers; reverse edges are added.
    - `momentum`: `[n d]`, mass * length / time; zero if not given.
    - `mass`: `[n]` or one number for all.
    - `edges`: further edge arrays `[p ...]` by name, such as `coupling` or `type`.

    **Raises:** `ValueError` if shapes disagree, if a pair names a node that does not exist, joins a
    node to itself or occurs twice, or if the name of an edge array is unknown.
    """
    position = _sites(position)
    n = len(position)
    # NumPy makes floats [0] of an empty list.
    links = np.asarray(pairs) if np.size(pairs) else np.zeros((0, 2), np.int64)
    if links.ndim != 2 or links.shape[1] != 2 or not np.issubdtype(links.dtype, np.integer):
        raise ValueError(f"pairs must be integers [p 2], got {links.dtype} {links.shape}")
    # Checked before they are cast: an index beyond 32 bits would become a small one.
    _check_pairs(links, n)
    links = links.astype(np.int32)
    check_names("edges", edges)
    of_pairs = {
        # Couplings multiply energies and need their dtype; types stay integers.
        k: jnp.asarray(v, position.dtype if k == "coupling" else None)
        for k, v in edges.items()
    }
    for name, values in of_pairs.items():
        if values.shape[:1] != (len(links),):
            raise ValueError(
                f"edges[{name!r}] must have one entry per pair ({len(links)}), got {values.shape}"
            )
    both = {k: jnp.concatenate([v, v]) for k, v in of_pairs.items()}
    return _graph(position, links, both, momentum, mass)


def _sites(position: ArrayLike) -> Array:
    """Positions `[n d]` as floats."""
    position = jnp.asarray(position)
    if position.ndim != 2 or not position.size:
        raise ValueError(
            "position must be [n d] with at least one body and dimension, got shape "
            f"{position.shape}"
        )
    # `check_float` refuses integers, which are welcome here.
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
    """Graph with every pair in both directions.

    `edges` holds arrays `[2p ...]`: those of all (i, j), then those of all (j, i).
    """
    return GraphsTuple(
        nodes={
            "position": position,
            "momentum": jnp.zeros_like(position)
            if momentum is None
            else jnp.broadcast_to(jnp.asarray(momentum, position.dtype), position.shape),
            "mass": jnp.broadcast_to(jnp.asarray(mass, position.dtype), (len(position),)),
        },
        edges=edges,
        # Concatenated by NumPy: JAX would compile once for every number of edges.
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
    ordered = np.sort(links, axis=1)  # (i, j) and (j, i) are one pair
    _, first, count = np.unique(ordered, axis=0, return_index=True, return_counts=True)
    if (count > 1).any():
        pair = tuple(ordered[first[np.argmax(count > 1)]].tolist())
        raise ValueError(f"pair {pair} occurs more than once; name each pair once")


def lattice(shape: Sequence[int], *, spacing: float = 1.0, mass: ArrayLike = 1.0) -> GraphsTuple:
    """Rectangular lattice of any dimension with nearest neighbours joined.

    `shape` is the number of sites along each axis, `spacing` their distance (length), `mass` one
    number or `[n]`. The spatial dimension is `len(shape)`.

    **Raises:** `ValueError` for an empty shape, or an axis without sites.
    """
    if not shape or min(shape) < 1:
        raise ValueError(f"a lattice needs at least one site along each axis, got {tuple(shape)}")
    sites = np.array(list(itertools.product(*map(range, shape))), dtype=float)
    index = np.arange(math.prod(shape)).reshape(shape)
    pairs = [
        # Along an axis of one site both ranges are empty.
        np.stack([index.take(range(k - 1), axis).ravel(), index.take(range(1, k), axis).ravel()], 1)
        for axis, k in enumerate(shape)
    ]
    return from_pairs(spacing * sites, np.concatenate(pairs), mass=mass)


def chain(
    n: int, *, dimension: int = 1, spacing: float = 1.0, mass: ArrayLike = 1.0
) -> GraphsTuple:
    """Open chain of n bodies along the first axis, `spacing` (length) apart; neighbours joined."""
    return lattice((n,) + (1,) * (dimension - 1), spacing=spacing, mass=mass)


def ring(n: int, *, dimension: int = 2, spacing: float = 1.0, mass: ArrayLike = 1.0) -> GraphsTuple:
    """Closed chain of n >= 3 bodies on a circle in the plane of the first two axes.

    `spacing` is the distance between neighbours (length).

    **Raises:** `ValueError` for n < 3 or dimension < 2.
    """
    if n < 3 or dimension < 2:
        raise ValueError(f"a ring needs n >= 3 and dimension >= 2, got {n} and {dimension}")
    angle = 2 * np.pi * np.arange(n) / n
    # `spacing` is a chord, 2 R sin(pi / n), not an arc.
    circle = np.stack([np.cos(angle), np.sin(angle)], 1) * spacing / (2 * np.sin(np.pi / n))
    sites = np.pad(circle, ((0, 0), (0, dimension - 2)))
    return from_pairs(sites, [(i, (i + 1) % n) for i in range(n)], mass=mass)


def fully_connected(
    n: int, dimension: int, *, position: ArrayLike | None = None, mass: ArrayLike = 1.0
) -> GraphsTuple:
    """Graph of n bodies with every pair joined.

    `position` is `[n dimension]` (length); if None, bodies sit on a cubic lattice of spacing one.

    **Raises:** `ValueError` for less than one body or dimension, or positions of another shape.
    """
    if n < 1 or dimension < 1:
        raise ValueError(f"need at least one body and dimension, got {n} and {dimension}")
    if position is None:
        # Rounded, since 3125 ** (1 / 5) is slightly above 5.
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
    """Graph in which all bodies at most `cutoff` (length) apart are joined.

    With a periodic `cell`, bodies are joined to all images within the cutoff, of other bodies and
    of themselves, however small the cell. `edges["shift"]` `[e d]` holds integer numbers of
    lattice vectors: an edge's vector is x[receiver] - x[sender] + shift @ cell. `globals["cell"]`
    is `[1 d d]`. Positions need not be wrapped and are not changed. Shifts stay valid while bodies
    move, as long as they are not wrapped.

    For bodies that move, add a skin to the cutoff: all pairs within the cutoff are then joined
    until a body has moved by half the skin.

    **Arguments:**

    - `position`: `[n d]`, length; concrete, in 1 to 3 dimensions.
    - `cutoff`: greatest length of an edge.
    - `cell`: `[d]` lengths of an orthorhombic cell, or `[d d]` lattice vectors as rows (length).
    - `mass`: `[n]` or one number for all.

    **Raises:** `ValueError` for positions that are traced or not finite, a cutoff that is not
    positive and finite, or a cell that has another shape, is not finite or is singular.
    """
    if isinstance(position, jax.core.Tracer) or isinstance(cell, jax.core.Tracer):
        raise ValueError(
            "radius needs concrete positions, since they determine the number of edges: call it "
            "outside of jit and vmap"
        )
    if hasattr(position, "get_positions"):
        raise ValueError("radius takes positions [n d], got atoms: hgn.read(atoms, cutoff=5.0)")
    position = _sites(position)
    points = np.asarray(position, float)
    if not np.isfinite(points).all():
        raise ValueError(
            f"position of node {int(np.argwhere(~np.isfinite(points))[0, 0])} is NaN or Inf"
        )
    if not 0 < cutoff < math.inf:
        raise ValueError(f"cutoff must be positive and finite, got {cutoff}")
    matrix = None if cell is None else _matrix(cell, points.shape[1])
    pairs, shift = pairs_within(points, cutoff, None if matrix is None else Cell(matrix))
    if matrix is None:
        return _graph(position, pairs, {}, None, mass)
    both = jnp.asarray(np.concatenate([shift, -shift]), jnp.int32)  # the reverse edge crosses back
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
