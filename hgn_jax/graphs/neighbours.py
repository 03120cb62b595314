"""Neighbour lists: edges within a cutoff, refreshed as bodies move."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool
from jraph import GraphsTuple

from .._tree import is_concrete
from .cell import ROUNDING, AnyArray, Cell, require_cell
from .cell_list import Sizes, grid_index, run_lengths, steps_around, with_spare
from .dense_edges import DiagonalCellGraphs, SlottedGraphs, with_padding
from .pair_search import most_neighbours
from .slab_layout import check_mesh, check_slabs, larger, slab_sizes


class Neighbours(eqx.Module):
    """Settings of a neighbour list, which joins all bodies nearer than `cutoff` (length).

    Bodies are in free space, or in a periodic `cell` of any shape, where nearest images are joined.
    Positions need not be wrapped and are not changed.

    The list holds all pairs within cutoff + `skin` (length). It is refreshed as soon as a body has
    moved by half the skin: a step that would go farther is repeated with a new list, so no pair is
    ever missed.

    `sizes` are the capacities to compile for. If None, they are found from the graph, and enlarged
    on overflow. That needs concrete graphs: for use inside jit call `allocate` outside of it.

    Heights of the cell (distances between opposite faces) must be at least twice the cutoff. In a
    skewed cell they must be twice cutoff + skin, since its nearest images are certain only up to
    half the height (`Cell.minimum_image`).

    A `mesh` of several devices along one axis divides the bodies between them. Each device moves
    those in a slab of the cell, of equal thickness along its greatest height, and gets copies of
    the bodies near it from the two slabs beside it. Slabs must be at least four times cutoff + skin
    thick, twice if bodies act in pairs alone.

    **Raises:** `ValueError` for a cutoff, skin or sizes that are not positive and finite, or a mesh
    of several axes or of different devices.
    """

    cutoff: float = eqx.field(static=True)
    skin: float = eqx.field(static=True)
    sizes: Sizes | None = eqx.field(default=None, static=True)
    mesh: jax.sharding.Mesh | None = eqx.field(default=None, static=True)

    def __check_init__(self) -> None:
        if self.mesh is not None:
            check_mesh(self.mesh)
        for name, length in (("cutoff", self.cutoff), ("skin", self.skin)):
            if not 0 < length < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {length}")
        if self.sizes is not None and min(self.sizes[:2] + self.sizes.grid) < 1:
            raise ValueError(f"sizes must be positive, got {self.sizes}")

    @property
    def reach(self) -> float:
        """Cutoff + skin (length)."""
        return self.cutoff + self.skin

    def check(self, graph: GraphsTuple) -> None:
        """Raises `ValueError` for several graphs, edges with properties, or a bad cell."""
        if graph.n_node.shape[0] != 1:
            raise ValueError(
                f"a neighbour list needs a single graph, got {graph.n_node.shape[0]}: use jax.vmap"
            )
        if graph.edges.keys() - {"shift"}:
            raise ValueError(
                "a neighbour list replaces the edges, so they cannot carry "
                f"{sorted(graph.edges.keys() - {'shift'})}"
            )
        if "lattice" in graph.globals:
            raise ValueError(
                "a neighbour list replaces the edges by pairs of near positions, but those of a "
                'graph with globals["lattice"] are hoppings, and its positions displacements'
            )
        if self.mesh is not None:
            check_slabs(graph, self.mesh.size)
        # Inside jit the cell's values are unknown: `fits` checks them there.
        if "cell" not in graph.globals or isinstance(graph.globals["cell"], jax.core.Tracer):
            return
        require_cell(np.asarray(graph.globals["cell"])[0])
        cell = _on_host(graph)
        assert cell is not None
        required, heights = 2 * (self.reach if cell.skewed else self.cutoff), cell.heights
        if heights.min() < required * ROUNDING:
            twice = f"the cutoff {self.cutoff:g}"
            if cell.skewed:
                twice = f"cutoff + skin, {self.reach:g} (nearest images in a skewed cell)"
            raise ValueError(
                f"cell height {heights.min():g}, the distance between opposite faces, is less than "
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
        """Copy with `sizes` that suffice for the graph, and some to spare; concrete graphs only."""
        self.check(graph)
        with jax.ensure_compile_time_eval():  # inside jit the graph may be a constant
            return self._sized(np.asarray(graph.nodes["position"]), _on_host(graph))

    def _sized(self, position: np.ndarray, cell: Cell | None) -> "Neighbours":
        points = position.astype(float)
        n, d = points.shape
        extent = np.ptp(points, axis=0) + self.reach if cell is None else cell.heights
        # At most about four grid cells per body, however large the system is.
        most_cells = max(1, int((4 * n) ** (1 / d)))
        grid = tuple(int(min(most_cells, max(1, 2 * side // self.reach))) for side in extent)
        # In the precision of the search, so that bodies at a boundary fall into the same cells.
        exact = None if cell is None else Cell(cell.matrix.astype(position.dtype))
        index = grid_index(jnp.asarray(position), exact, self.reach, grid)
        number = np.ravel_multi_index(np.asarray(index).T, grid)
        bodies = np.bincount(number, minlength=math.prod(grid))
        run = int(np.max(run_lengths(bodies.reshape(-1, grid[-1]))))
        slots = most_neighbours(points, self.reach, cell)
        sizes = Sizes(slots, run, grid, cell is not None and bool(_is_diagonal(cell)))
        return dataclasses.replace(self, sizes=_with_spare(sizes, n))

    def divided(self, graph: GraphsTuple, span: int) -> "Neighbours":
        """Copy with sizes of slabs that suffice for the graph, and some to spare.

        `span` is the distance, in reaches, up to which bodies act on one another's forces.

        **Raises:** `ValueError` if slabs are too thin.

        **Warns** if one slab has more than twice its share of the bodies.
        """
        assert self.mesh is not None
        self.check(graph)
        cell, position = _on_host(graph), np.asarray(graph.nodes["position"], float)
        assert cell is not None
        sizes = slab_sizes(position, cell, self.reach, self.skin, self.mesh.size, span)
        sizes = sizes._replace(diagonal=bool(_is_diagonal(cell)))
        assert sizes.slabs is not None
        return dataclasses.replace(self, sizes=_with_spare(sizes, sizes.slabs.rows))

    def with_grid(self, position: np.ndarray, cell: Cell) -> "Neighbours":
        """Copy with another grid if the cell, on the host, has become too small for this one."""
        assert self.sizes is not None
        if self._grid_suffices(cell.heights, self.sizes.grid):
            return self
        fresh = self._sized(position, cell).sizes
        assert fresh is not None
        slots = max(fresh.slots, self.sizes.slots)
        sizes = fresh._replace(slots=slots, diagonal=self.sizes.diagonal)
        return dataclasses.replace(self, sizes=sizes)

    def allocated(self, graph: GraphsTuple, *, sheared: bool) -> "Neighbours":
        """Itself if it has sizes, else `allocate`; `sheared` if the cell will change its shape.

        **Raises:** `ValueError` for a mesh, which only `divided` takes; without sizes inside jit;
        or for heights below twice the reach of a cell that will be sheared.
        """
        if self.mesh is not None:
            raise ValueError("a mesh divides hgn.rollout alone: leave out mesh")
        if not is_concrete(graph):
            if self.sizes is None:
                raise ValueError(
                    "inside jit the number of neighbours is unknown: allocate outside of it, "
                    "neighbours=hgn.Neighbours(cutoff, skin).allocate(graph)"
                )
        elif sheared:
            self._check_skewed(graph)
        spec = self.allocate(graph) if self.sizes is None else self
        assert spec.sizes is not None
        if not sheared:
            return spec
        # A shear fills the cell's off-diagonal entries.
        return dataclasses.replace(self, sizes=spec.sizes._replace(diagonal=False))

    def _check_skewed(self, graph: GraphsTuple) -> None:
        """Raises `ValueError` for a cell that is too small once it is skewed."""
        self.check(graph)
        cell = _on_host(graph)
        assert cell is not None
        if cell.heights.min() < 2 * self.reach:
            raise ValueError(
                f"cell height {cell.heights.min():g} is less than twice cutoff + skin, "
                f"{self.reach:g}, too little for a cell that changes shape: repeat the cell along "
                "short axes, or take a smaller cutoff or skin"
            )

    def with_room(
        self, slots: int, run: int, bodies: int, needs: tuple[int, ...] = ()
    ) -> "Neighbours":
        """Copy with capacities for that many neighbours and bodies of a run, and some to spare; and
        for the `needs` of a slab."""
        assert self.sizes is not None
        old = self.sizes
        if old.slabs is not None:
            slabs = larger(old.slabs, needs)
            old, bodies = old._replace(slabs=slabs), slabs.rows
            if slots <= old.slots and run <= old.run:
                return dataclasses.replace(self, sizes=old)
        # Grow by at least a quarter, since every growth compiles again.
        needed = old._replace(
            slots=max(slots, old.slots * 5 // 4) if slots > old.slots else old.slots,
            run=max(run, old.run * 5 // 4) if run > old.run else old.run,
        )
        return dataclasses.replace(self, sizes=_with_spare(needed, bodies))

    def prepare(self, graph: GraphsTuple) -> SlottedGraphs:
        """The graph as `find` takes it: no edges, one body and one graph of padding appended."""
        assert self.sizes is not None
        padded = with_padding(graph)
        # A class belongs to the structure of a tree, which jit knows, unlike the cell's values.
        return DiagonalCellGraphs(*padded) if self.sizes.diagonal else padded

    def fits(self, cell: Cell) -> Bool[Array, ""]:
        """True if the search finds every pair in this cell. Works inside jit."""
        assert self.sizes is not None
        suffices = self.spans(cell) & self._grid_suffices(cell.heights, self.sizes.grid)
        return suffices & _is_diagonal(cell) if self.sizes.diagonal else suffices

    def spans(self, cell: Cell) -> Bool[Array, ""]:
        """True if the cell is large enough for the nearest images of all pairs of the list."""
        required = 2 * jnp.where(cell.skewed, self.reach, self.cutoff)
        return jnp.min(cell.heights) >= required * ROUNDING

    def _grid_suffices(self, heights: AnyArray, grid: tuple[int, ...]) -> Bool[AnyArray, ""]:
        """True if no pair within reach is more than two grid cells apart."""
        least = self.reach / 2 * ROUNDING * np.asarray(grid)  # grid cells are half the reach wide
        # Grids of up to five cells are searched whole.
        return ((np.asarray(grid) <= 5) | (heights >= least.astype(heights.dtype))).all()


def _is_diagonal(cell: Cell) -> Bool[AnyArray, ""]:
    return ((cell.matrix == 0) | np.eye(len(cell.matrix), dtype=bool)).all()


def _on_host(graph: GraphsTuple) -> Cell | None:
    """Cell of the single graph as a NumPy array in double precision."""
    if "cell" not in graph.globals:
        return None
    return Cell(np.asarray(graph.globals["cell"], float)[0])


def _with_spare(sizes: Sizes, bodies: int) -> Sizes:
    """Sizes with spare capacity; a single grid cell if runs would cover all bodies anyway."""
    slots, run = (min(with_spare(k), bodies) for k in sizes[:2])
    if run * math.prod(len(steps_around(k)) for k in sizes.grid[:-1]) < bodies:
        return sizes._replace(slots=slots, run=run)
    return sizes._replace(slots=slots, run=bodies, grid=tuple(1 for _ in sizes.grid))
