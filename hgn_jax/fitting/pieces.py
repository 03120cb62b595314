"""Pieces in which a fit processes its data."""

from jraph import GraphsTuple

from ..graphs.padding import without_padding
from ..graphs.pieces import chunks, packs
from ..graphs.selection import picked
from ..graphs.species import by_composition
from ..linear.base import AbstractLeastSquares
from .accumulate import graphs_at_once, require_folds
from .equations import Equations


def pieces_of(
    equations: Equations, data: GraphsTuple, solver: AbstractLeastSquares
) -> list[GraphsTuple]:
    """Pieces of few shapes and of the fastest size; successive pieces belong to successive folds.

    **Raises:** `ValueError` if there are fewer pieces than folds.
    """
    fastest = [t.bodies_at_once for t in equations.basis.terms if t.bodies_at_once is not None]
    # Folds are similar if each has several pieces.
    least = max(1, 4 * solver.folds)
    window, shorter_last = equations.window, equations.shorter_last
    if fastest:
        if window == 1 and "species" in data.nodes:
            # Columns of species that a piece does not hold cost nothing.
            data = without_padding(data)
            data = picked(data, by_composition(data))
        bodies = min(min(fastest), max(1, len(data.nodes["position"]) // least))
        pieces = list(packs(data, bodies, window, shorter_last=shorter_last))
    else:
        size = min(graphs_at_once(equations, data), max(1, len(data.n_node) // least))
        pieces = list(chunks(data, size, window, shorter_last=shorter_last))
    require_folds(solver, len(pieces))
    return pieces
