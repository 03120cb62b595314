"""Priors from fits to related systems, for systems of which there are few data."""

from collections.abc import Sequence

import equinox as eqx
from jraph import GraphsTuple

from .._tree import is_concrete
from ..features.base import AbstractTerm
from ..linear.prior import GaussianPrior, learned
from ..linear.qr import QR
from .equations import Equations
from .merge import require_same
from .reduction import reduce
from .result import Fit, conclude, raise_if


class Prior(eqx.Module):
    """Prior of the coefficients of related systems, from `hgn.prior`."""

    equations: Equations
    """Those of the fits: the same features, observations and scales for the next system."""
    of_systems: tuple[GaussianPrior | None, ...]
    """Mean and covariance of the coefficients of each independent system of equations; None for
    rows without columns."""

    @property
    def terms(self) -> tuple[AbstractTerm, ...]:
        """The sampled terms."""
        return self.equations.basis.terms

    def fit(self, data: GraphsTuple, *, throw: bool = True) -> Fit:
        r"""Fit to few data of another system, which the prior completes.

        The coefficients have the prior $N(\mu, a \Sigma + \tau^2)$, or $N(0, \tau^2)$ for a = 0.
        The evidence of these data chooses the trust a from 0 to 100, the width $\tau$ of what no
        earlier system had, and the noise. Systems like the earlier ones need few data;
        others are learned from scratch. `fit.trust` holds a. `fit.update` adds data.

        **Raises:** `ValueError` for bad data, for other arrays than those of the fits, or for
        species or edge types that they did not hold.
        """
        if is_concrete(data):
            self.equations.check(data)
        return raise_if(throw, _fitted(self, data))


def prior(fits: Sequence[Fit]) -> Prior:
    r"""Normal prior $N(\mu, \Sigma)$ of the coefficients, from fits to related systems.

    Empirical Bayes: $\mu$ and $\Sigma$ make the data of all fits most probable. Expectation
    maximisation needs their triangles only, and takes K^3 per fit and sweep.

    **Arguments:**

    - `fits`: at least two fits with the same sampled terms, observations and scales, to data of
        different systems; some dozens are better. Sample the terms from typical data of all,
        `hgn.sample`, and fit each system by `hgn.solve` with weights that do not depend on the
        data, `hgn.Derivatives("uniform")`.

    **Raises:** `ValueError` for fewer fits, or fits that differ, saying in what.
    """
    if not isinstance(fits, Sequence) or not all(isinstance(f, Fit) for f in fits):
        raise ValueError("prior takes a sequence of fits")
    if len(fits) < 2:
        raise ValueError(f"prior needs fits to at least two systems, got {len(fits)}")
    # Each system has energies of its own, and any ridge will do.
    require_same(fits, "prior", free=("reference of energies", "solver"))
    of_fits = zip(
        zip(*(fit.reduction.triangles for fit in fits)), zip(*(fit.solutions for fit in fits))
    )
    # Rows that the known part explains alone have no columns.
    priors = tuple(learned(*rows) if rows[0][0].columns else None for rows in of_fits)
    return Prior(fits[0].equations, priors)


@eqx.filter_jit
def _fitted(prior: Prior, data: GraphsTuple) -> Fit:
    systems, solver = prior.equations.systems(data), QR()
    reduction = reduce(prior.equations, systems, data, solver)
    return conclude(prior.equations, reduction, solver, systems, prior.of_systems)
