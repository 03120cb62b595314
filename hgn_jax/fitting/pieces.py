"""The pieces in which a fit goes through its data."""

from jraph import GraphsTuple

from ..graphs.pieces import chunks, packs
from ..linear.base import AbstractLeastSquares
from .accumulate import graphs_at_once, require_folds
from .equations import Equations


def pieces_of(
    equations: Equations, data: GraphsTuple, solver: AbstractLeastSquares
) -> list[GraphsTuple]:
    """Pieces of few shapes, of the size that is fastest; they take turns as members of folds.

    **Raises:** `ValueError` if there are fewer pieces than folds.
    """
    # Folds are alike where each has several pieces.
    fastest = [t.bodies_at_once for t in equations.basis.terms if t.bodies_at_once is not None]
    if fastest:
        most = len(data.nodes["position"]) // (4 * solver.folds) if solver.folds else max(fastest)
        size = min([*fastest, max(1, most)])
        pieces = list(packs(data, size, equations.window))
    else:
        most = len(data.n_node) // (4 * solver.folds) if solver.folds else len(data.n_node)
        size = min(graphs_at_once(equations, data), max(1, most))
        pieces = list(chunks(data, size, equations.window))
    require_folds(solver, len(pieces))
    return pieces
