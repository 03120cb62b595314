"""Graphs of ASE's atoms whose shapes and neighbours rarely change, so that programs are reused."""

import dataclasses
import itertools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

from ..graphs.cell import Cell, require_cell
from ..graphs.open_axes import enclosing_cell
from ..graphs.padding import PADDING_GRAPHS, pad
from ..graphs.pair_search import pairs_within


@dataclasses.dataclass
class _List:
    """All pairs within reach + skin, and the atoms that they were found for."""

    number: np.ndarray
    periodic: np.ndarray
    position: np.ndarray
    matrix: np.ndarray | None
    """Cell, with new lattice vectors for axes that are not periodic; None if no axis is."""
    graph: GraphsTuple
    nodes: int
    """Nodes of the graph, padding included."""


class PaddedAtoms:
    """Makes graphs of atoms; neighbours are searched again only when one might be missing.

    All pairs within `reach` + `skin` (A) are kept, until a pair that is not among them may have
    come within reach. With `pads`, graphs have spare nodes and edges, so that their shapes rarely
    change. Otherwise they have exactly the nodes and edges of the atoms.
    """

    def __init__(self, reach: float, skin: float, dtype: np.dtype, *, pads: bool) -> None:
        self.reach, self.skin, self.dtype, self.pads = reach, skin, dtype, pads
        self.searches = 0
        """Number of neighbour searches so far."""
        self._list: _List | None = None
        self._capacity = (0, 0)

    def graph_of(self, atoms: Any) -> GraphsTuple:
        """The graph of the atoms, padded; momenta are zero.

        **Raises:** `ValueError` for positions that are not finite, a periodic cell without volume,
        or a periodic cell with a model that has no cutoff.
        """
        position, cell = np.asarray(atoms.positions, float), np.asarray(atoms.cell, float)
        periodic = np.asarray(atoms.pbc, bool)
        bad = ~np.isfinite(position).all(axis=1)
        if bad.any():
            raise ValueError(
                f"the position of atom {int(np.argmax(bad))} is NaN or Inf: in a simulation, "
                "use a shorter time step"
            )
        current = self._list
        if current is None or self._stale(current, atoms.numbers, periodic, position, cell):
            current = self._list = self._searched(atoms, periodic, position, cell)
        graph = current.graph
        padded = np.zeros((current.nodes, 3), self.dtype)
        padded[: len(position)] = position
        globals_ = graph.globals
        if current.matrix is not None:
            cells = np.zeros(globals_["cell"].shape, self.dtype)  # graphs of padding have zeros
            cells[0] = _with_rows(current.matrix, periodic, cell)
            globals_ = {"cell": jnp.asarray(cells)}
        nodes = graph.nodes | {"position": jnp.asarray(padded)}
        return graph._replace(nodes=nodes, globals=globals_)

    def _stale(
        self,
        old: _List,
        number: np.ndarray,
        periodic: np.ndarray,
        position: np.ndarray,
        cell: np.ndarray,
    ) -> bool:
        """True if a pair within reach might be missing from the list.

        A deformation F of the cell multiplies the length of a vector by its smallest singular value
        at least. Displacements relative to that deformation shorten a pair by at most twice the
        largest one.
        """
        if not np.array_equal(old.number, number) or (old.periodic != periodic).any():
            return True
        if math.isinf(self.reach):
            return False
        least, deformed = 1.0, old.position
        if old.matrix is not None:
            # Positions are rows, so the deformation acts from the right.
            f = np.linalg.solve(old.matrix, _with_rows(old.matrix, periodic, cell))
            least, deformed = np.linalg.svd(f, compute_uv=False).min(), old.position @ f
        moved = position - deformed
        moved = moved - moved.mean(axis=0)  # a common translation changes no distance
        farthest = math.sqrt(np.max(np.sum(moved**2, axis=1)))
        return bool(least * (self.reach + self.skin) - 2 * farthest < self.reach)

    def _searched(
        self, atoms: Any, periodic: np.ndarray, position: np.ndarray, cell: np.ndarray
    ) -> _List:
        self.searches += 1
        n, reach = len(position), self.reach + self.skin
        matrix = None
        if math.isinf(reach):
            if periodic.any():
                raise ValueError(
                    "the model has no cutoff, so a periodic cell has infinitely many pairs: train "
                    "it with a cutoff, such as hgn.Pair(cutoff=6.0), or give cutoff="
                )
            pairs = np.array(list(itertools.combinations(range(n), 2)), int).reshape(-1, 2)
            shift = np.zeros((len(pairs), 3), int)
        else:
            if periodic.any():
                matrix = enclosing_cell(position, cell, periodic, reach)
                require_cell(matrix, "the cell of the atoms")
            points = (
                position if self.reach else position[:0]
            )  # no edges if nothing acts between atoms
            pairs, shift = pairs_within(points, reach, None if matrix is None else Cell(matrix))
        graph = GraphsTuple(
            nodes={
                "position": position.astype(self.dtype),
                "momentum": np.zeros((n, 3), self.dtype),
                "mass": np.asarray(atoms.get_masses(), self.dtype),
                "species": np.asarray(atoms.numbers, np.int32),
            },
            edges={} if matrix is None else {"shift": np.concatenate([shift, -shift], dtype="i4")},
            senders=np.concatenate([pairs[:, 0], pairs[:, 1]], dtype=np.int32),
            receivers=np.concatenate([pairs[:, 1], pairs[:, 0]], dtype=np.int32),
            globals={} if matrix is None else {"cell": matrix[None].astype(self.dtype)},
            n_node=np.array([n], np.int32),
            n_edge=np.array([2 * len(pairs)], np.int32),
        )
        nodes = n
        if self.pads:
            nodes, edges = self._capacity = _capacity(self._capacity, n + 1, 2 * len(pairs))
            graph = pad(graph, n_node=nodes, n_edge=edges, n_graph=1 + PADDING_GRAPHS)
        # Copies, because simulations change the atoms in place.
        return _List(
            np.array(atoms.numbers), periodic.copy(), position.copy(), matrix, graph, nodes
        )


def _with_rows(matrix: np.ndarray, periodic: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """The matrix with its periodic lattice vectors replaced by those of `cell`."""
    return np.where(periodic[:, None], cell, matrix)


def _capacity(old: tuple[int, int], nodes: int, edges: int) -> tuple[int, int]:
    """Numbers of nodes and edges to compile for.

    The old ones are kept if they suffice and are not far too large. Otherwise there is some spare
    capacity, except for nodes at the first call, since most simulations never change their number.
    """
    spare = nodes if not old[0] else nodes + nodes // 5
    kept = old[0] if nodes <= old[0] <= 2 * nodes + 16 else spare
    return kept, old[1] if edges <= old[1] <= 4 * edges + 64 else edges + edges // 4 + 16
