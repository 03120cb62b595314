"""Neighbour lists: edges by cutoff that follow bodies as they move."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int
from jraph import GraphsTuple

from .._types import Vectors
from .cell import ROUNDING, AnyArray, Cell, require_cell
from .cell_list import Sizes, grid_index, run_lengths, search, steps_around
from .dense_edges import DiagonalCellGraphs, SlottedGraphs, ends, with_padding
from .geometry import cell_of, node_mask
from .pair_search import most_neighbours

SPARE = 1.2
"""Capacity over the number of neighbours at the start."""


class Neighbours(eqx.Module):
    """Edges between all bodies nearer than `cutoff` (length): in free space, or between nearest
    images in a periodic `cell` of any shape. Positions need not be wrapped, and stay as they are.

    The list holds all pairs within cutoff + `skin`. It is refreshed as soon as a body has moved by
    half the skin: a step that would go farther is repeated with a new list, so no pair is ever
    missed. `sizes` are the capacities to compile for; None finds them, and larger ones when they do
    not suffice (concrete graphs only; inside jit use `allocate` outside of it).

    Heights of the cell (distances of opposite faces) must be at least twice the cutoff; twice
    cutoff + skin if the cell is skewed, since its nearest images are certain only up to half the
    height (`Cell.minimum_image`).
    """

    cutoff: float = eqx.field(static=True)
    skin: float = eqx.field(static=True)
    sizes: Sizes | None = eqx.field(default=None, static=True)

    def __check_init__(self) -> None:
        for name, length in (("cutoff", self.cutoff), ("skin", self.skin)):
            if not 0 < length < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {length}")
        if self.sizes is not None and min(self.sizes[:2] + self.sizes.grid) < 1:
            raise ValueError(f"sizes must be positive, got {self.sizes}")

    @property
    def reach(self) -> float:
        return self.cutoff + self.skin

    def check(self, graph: GraphsTuple) -> None:
        """Raises `ValueError` for several graphs, edges with properties, or a bad cell."""
        if graph.n_node.shape[0] != 1:
            raise ValueError(
                f"neighbours are found in one graph, got {graph.n_node.shape[0]}: use jax.vmap"
            )
        if graph.edges.keys() - {"shift"}:
            raise ValueError(
                f"edges by cutoff come and go: they cannot carry {sorted(graph.edges)}"
            )
        if "cell" not in graph.globals or isinstance(graph.globals["cell"], jax.core.Tracer):
            return
        require_cell(np.asarray(graph.globals["cell"])[0])
        cell = _on_host(graph)
        assert cell is not None
        least, heights = 2 * (self.reach if cell.skewed else self.cutoff), cell.heights
        if heights.min() < least * ROUNDING:
            twice = f"the cutoff {self.cutoff:g}"
            if cell.skewed:
                twice = f"cutoff + skin, {self.reach:g} (nearest images in a skewed cell)"
            raise ValueError(
                f"cell height {heights.min():g}, the distance of two opposite faces, is less than "
                f"twice {twice}: repeat the cell along short axes, or take a smaller cutoff or skin"
            )
        if self.sizes is None:
            return
        if self.sizes.diagonal and not _is_diagonal(cell):
            raise ValueError(
                f"{self.sizes} was allocated for a diagonal cell, got {cell.matrix.tolist()}: "
                "allocate again, hgn.Neighbours(cutoff, skin).allocate(graph)"
            )
        if not self._grid_suffices(heights, self.sizes.grid):
            raise ValueError(
                f"{self.sizes} was allocated for a larger cell than {heights}: allocate again, "
                "hgn.Neighbours(cutoff, skin).allocate(graph)"
            )

    def allocate(self, graph: GraphsTuple) -> "Neighbours":
        """The same with sizes that suffice for the graph and a little more; concrete only."""
        self.check(graph)
        points = np.asarray(graph.nodes["position"], float)
        n, d = points.shape
        cell = _on_host(graph)
        extent = np.ptp(points, axis=0) + self.reach if cell is None else cell.heights
        most = max(1, int((4 * n) ** (1 / d)))
        grid = tuple(int(min(most, max(1, 2 * side // self.reach))) for side in extent)
        with jax.ensure_compile_time_eval():  # what is known inside jit
            device_cell = None if cell is None else cell_of(graph)
            index = grid_index(graph.nodes["position"], device_cell, self.reach, grid)
            number = np.ravel_multi_index(np.asarray(index).T, grid)
            bodies = np.bincount(number, minlength=math.prod(grid))
            run = int(np.max(run_lengths(bodies.reshape(-1, grid[-1]))))
        slots = most_neighbours(points, self.reach, cell)
        sizes = Sizes(slots, run, grid, cell is not None and bool(_is_diagonal(cell)))
        return Neighbours(self.cutoff, self.skin, _with_spare(sizes, n))

    def with_room(self, slots: int, run: int, bodies: int) -> "Neighbours":
        """The same with capacities for that many neighbours and bodies of a run, and more."""
        assert self.sizes is not None
        old = self.sizes
        needed = old._replace(
            slots=max(slots, old.slots * 5 // 4) if slots > old.slots else old.slots,
            run=max(run, old.run * 5 // 4) if run > old.run else old.run,
        )
        return Neighbours(self.cutoff, self.skin, _with_spare(needed, bodies))

    def prepare(self, graph: GraphsTuple) -> SlottedGraphs:
        """The graph without edges, for `find`, with one body and graph of padding at the end."""
        assert self.sizes is not None
        padded = with_padding(graph)
        return DiagonalCellGraphs(*padded) if self.sizes.diagonal else padded

    def fits(self, cell: Cell) -> Bool[Array, ""]:
        """True if the search finds every pair in this cell; inside jit as well."""
        assert self.sizes is not None
        least = 2 * jnp.where(cell.skewed, self.reach, self.cutoff)
        high = jnp.min(cell.heights) >= least * ROUNDING
        if self.sizes.diagonal:
            high &= _is_diagonal(cell)
        return high & self._grid_suffices(cell.heights, self.sizes.grid)

    def _grid_suffices(self, heights: AnyArray, grid: tuple[int, ...]) -> Bool[AnyArray, ""]:
        """True if no pair within reach is more than two grid cells apart."""
        least = self.reach / 2 * ROUNDING * np.asarray(grid)
        return ((np.asarray(grid) <= 5) | (heights >= least.astype(heights.dtype))).all()


class NeighbourList(eqx.Module):
    """The neighbours of each body, slot by slot, and where bodies were when they were found."""

    senders: Int[Array, "m n"]
    position: Vectors
    slots: Int[Array, ""]
    """The greatest number of neighbours: more than m if some are missing."""
    run: Int[Array, ""]
    """The greatest number of bodies in a run of grid cells."""
    complete: Bool[Array, ""]

    def stale(self, position: Vectors, skin: float) -> Bool[Array, ""]:
        """True if a pair within the cutoff might be missing."""
        moved = jnp.max(jnp.sum((position - self.position) ** 2, axis=1))
        return ~self.complete | ~(moved <= (skin / 2) ** 2)  # NaN is stale

    def joined(self, graph: SlottedGraphs) -> SlottedGraphs:
        """The graph with these edges."""
        slots, n = self.senders.shape
        return graph._replace(senders=self.senders.ravel(), receivers=ends(n, slots))

    def with_room(self, slots: int) -> "NeighbourList":
        """The same neighbours in that many slots, if they are more."""
        missing = max(slots - len(self.senders), 0)
        none = jnp.full((missing, self.senders.shape[1]), self.senders.shape[1] - 1, jnp.int32)
        return eqx.tree_at(lambda f: f.senders, self, jnp.concatenate([self.senders, none]))


def find(spec: Neighbours, graph: SlottedGraphs) -> NeighbourList:
    """All pairs within the reach of `spec`; inside jit."""
    assert spec.sizes is not None
    position = graph.nodes["position"]
    cell = cell_of(graph) if "cell" in graph.globals else None
    senders, slots, run = search(position, node_mask(graph), cell, spec.reach, spec.sizes)
    complete = (slots <= spec.sizes.slots) & (run <= spec.sizes.run)
    if cell is not None:
        complete &= spec.fits(cell)
    return NeighbourList(senders, position, slots, run, complete)


def _is_diagonal(cell: Cell) -> Bool[AnyArray, ""]:
    return ((cell.matrix == 0) | np.eye(len(cell.matrix), dtype=bool)).all()


def _on_host(graph: GraphsTuple) -> Cell | None:
    """The single graph's cell in double precision."""
    if "cell" not in graph.globals:
        return None
    return Cell(np.asarray(graph.globals["cell"], float)[0])


def _with_spare(sizes: Sizes, bodies: int) -> Sizes:
    """The sizes with spare capacity; one grid cell for all if a grid leaves few bodies out."""
    slots, run = (min(2 * int(SPARE * k / 2 + 2), bodies) for k in sizes[:2])
    if run * math.prod(len(steps_around(k)) for k in sizes.grid[:-1]) < bodies:
        return sizes._replace(slots=slots, run=run)
    return sizes._replace(slots=slots, run=bodies, grid=tuple(1 for _ in sizes.grid))
