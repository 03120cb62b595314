"""Verdict on a fit: how much of the motion it explains, and what to do if that is too little."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Bool

from ..features.phase import PhaseFeatures
from ..linear.base import LeastSquaresSolution
from ..models.basis import Basis
from .reduction import Reduction
from .ties import ties

POOR = 0.1
"""Relative residual above which a fit is warned about."""
ROUNDING = 0.1
"""Share of the residual that rounding errors of cancelling terms may reach."""


def verdict(solutions: Sequence[LeastSquaresSolution], basis: Basis, reduction: Reduction) -> str:
    """Sentences on the worst of the independent systems, and on what the data do not determine;
    concrete values only."""
    residual = max(float(np.max(np.asarray(s.residual))) for s in solutions)
    lines = [_explained(residual)]
    for solution in solutions:
        lost = float(np.max(solution.cancellation)) * float(np.finfo(solution.theta.dtype).eps)
        # A residual below this is rounding itself.
        least = math.sqrt(float(np.finfo(solution.theta.dtype).eps))
        own = float(np.max(solution.residual))
        if own > least and lost > ROUNDING * own:
            lines.append(
                f"Terms cancel so far that rounding changes predictions by {lost:.0e}: use fewer "
                "units or a greater ridge, solver=hgn.QR(ridge=1e-9)."
            )
            break
    lines += ties(basis, reduction)
    angles = any(isinstance(term, PhaseFeatures) and term.angles for term in basis.terms)
    if angles and is_poor(solutions):
        lines.append("Angles must be in radians.")
    return " ".join(lines)


def is_poor(solutions: Sequence[LeastSquaresSolution]) -> bool:
    """True if less than 99% of the squared motion is explained; concrete values only."""
    return max(float(np.max(np.asarray(s.residual))) for s in solutions) > POOR


def words_on_constant(constants: int, observed: bool, known: Bool[Array, ""]) -> str:
    """Words on how well the additive constant of the energy is known; concrete values only."""
    if not constants:
        return "zero: the energy fades with distance, or is kinetic"
    if not observed:
        return "zero: no energies were observed, and rates do not determine it"
    if bool(known):
        return "determined by the observed energies"
    return (
        "right only for graphs like the observed ones, where the numbers of bodies and of pairs of "
        "each type always had the same proportion"
    )


def _explained(residual: float) -> str:
    share = 100 * (1 - min(residual, 1.0) ** 2)  # of the squared motion
    if residual <= 1e-5:
        return f"Good: the model explains the observed motion to {residual:.0e}."
    if residual <= POOR:
        return (
            f"The model explains {share:.4g}% of the observed motion (residual {residual:.1e}): "
            "what is left is noise, or motion that no term describes, such as fields, friction, or "
            "pairs with laws of their own (type=, coupling=)."
        )
    return (
        f"POOR: the model explains only {share:.3g}% of the observed motion (residual "
        f"{residual:.2g}). Either the data are noisy, or the pairs do not share one potential "
        "(give coupling= or type=), or a term is missing (hgn.External(), friction, more units), "
        "or rods join bodies (hgn.Constrained), or coordinates are angles (hgn.Phase)."
    )
