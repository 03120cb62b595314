"""Standard deviations of a learned pair potential."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ..features.base import AbstractTerm
from ..features.pair_base import AbstractPairFeatures
from .result import Fit
from .uncertainty import deviations_of_columns


def pair_standard_deviation(
    fit: Fit, r: Float[Array, " s"], reference: ArrayLike, type: int = 0
) -> tuple[Float[Array, " s"], Float[Array, " s"]]:
    """Standard deviations of the pair potential at distances r, relative to its value at the
    distance `reference`, and of the pair's force (energy, energy / length; per unit of coupling).

    They cover what `fit.standard_deviation` covers. `hgn.calibrate` does not change them.

    **Raises:** `ValueError` if the model has no pair features for that edge type.
    """
    fit.model.pair_range(type)  # raises
    at = jnp.full_like(r, reference)

    def columns(term: AbstractTerm) -> Any:
        """Columns of the energy and of the force."""
        if not isinstance(term, AbstractPairFeatures) or type >= term.types:
            return None, None
        # One product for all r, since each row of units depends on its own r alone.
        units, slopes = jax.jvp(lambda x: term.units_at(x, type), (r,), (jnp.ones_like(r),))
        return units - term.units_at(at, type), slopes

    pairs = [columns(term) for term in fit.model.terms]
    energy, force = (
        deviations_of_columns(fit.reduction, fit.solutions, part) for part in zip(*pairs)
    )
    return energy, force
