"""The pieces in which a fit goes through its data."""

from jraph import GraphsTuple

from ..graphs.pieces import chunks, packs
from ..linear.base import AbstractLeastSquares
from .accumulate import graphs_at_once
from .equations import Equations


def pieces_of(
    equations: Equations, data: GraphsTuple, solver: AbstractLeastSquares
) -> list[GraphsTuple]:
    """Pieces of few shapes, of the size that is fastest; they take turns as members of folds.

    **Raises:** `ValueError` if there are fewer pieces than folds.
    """
    fastest = [t.bodies_at_once for t in equations.basis.terms if t.bodies_at_once is not None]
    if fastest:
        pieces = list(packs(data, min(fastest), equations.window))
    else:
        # Folds are alike where each has several pieces.
        most = len(data.n_node) // (4 * solver.folds) if solver.folds else len(data.n_node)
        size = min(graphs_at_once(equations, data), max(1, most))
        pieces = list(chunks(data, size, equations.window))
    if len(pieces) < solver.folds:
        raise ValueError(
            f"{solver.folds} folds of frames, but the data make only {len(pieces)} pieces: give "
            "more frames, fewer folds, or a ridge: solver=hgn.QR(ridge=...)"
        )
    return pieces
