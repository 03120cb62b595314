"""Merges fits to separate data."""

from collections.abc import Sequence

from ..io.digest import digest
from .accumulate import concluded
from .equations import Equations
from .reduction import merged
from .result import Fit, raise_if

REMEDY = (
    "Fits need the same sampled features and scales: use fit_stream with the same key, terms and "
    'sample_from for each, or solve with the same terms and weights, Derivatives("uniform")'
)


def merge(fits: Sequence[Fit], *, throw: bool = True) -> Fit:
    r"""Fit to the data of all fits, from their triangles alone.

    Triangles of separate rows merge into that of all, so the result is the fit to all data, to
    rounding, with the ridge chosen again. Those who share fits share no data: a triangle has as
    many rows as there are coefficients, however many data went into it.

    **Arguments:**

    - `fits`: fits with the same terms, observations, scales and solver, to separate data. Give
        `fit_stream` the same `key`, `terms` and `sample_from`: features and scales are then those
        of that common sample, which gives no rows.
    - `throw`: raise if the result is not finite.

    **Raises:** `ValueError` for no fits, or fits that differ, saying in what.
    """
    if not isinstance(fits, Sequence) or not fits or not all(isinstance(f, Fit) for f in fits):
        raise ValueError("merge takes a sequence of fits, at least one")
    require_same(fits, "merge")
    first = fits[0]
    reduction = merged([fit.reduction for fit in fits])
    combined = concluded(first.equations, reduction, first.solver, priors=first.priors)
    return raise_if(throw, combined)


def require_same(fits: Sequence[Fit], where: str, free: Sequence[str] = ()) -> None:
    """Raises `ValueError` unless all fits have the equations and the solver of the first, except
    for what is `free`."""
    first = _described(fits[0])
    for k, fit in enumerate(fits[1:], 1):
        own = _described(fit)
        other = [name for name in first if own[name] != first[name] and name not in free]
        if other:
            raise ValueError(
                f"{where}: fit {k} has other {' and '.join(other)} than fit 0. {REMEDY}"
            )


def _described(fit: Fit) -> dict[str, str]:
    """Digests of all that must be equal, by its name."""
    equations: Equations = fit.equations
    basis = equations.basis
    return {
        "terms": digest(basis.terms),
        "known part": digest(basis.known),
        "dynamics": digest(basis.dynamics),
        "species": digest(basis.species),
        "observations or scales": digest(equations.observations),
        "reference of energies": digest(equations.energies),
        "arrays in its data": digest(equations.arrays),
        "solver": digest(fit.solver),
        "prior": digest(fit.priors),
    }
