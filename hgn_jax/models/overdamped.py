"""Overdamped dynamics: velocities in proportion to forces."""

import math
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from jraph import GraphsTuple

from .._tree import is_concrete
from .._types import Gradient
from .equations_of_motion import AbstractDynamics


class Overdamped(AbstractDynamics):
    r"""$\dot q = -\mu\, \partial E / \partial q$ with the mobility $\mu$ (time / mass).

    The state is the position alone: neither momenta nor masses are needed. The observed rate is the
    `velocity`. This is the drift of Brownian particles, whose law `hgn.fit_brownian` learns from
    their tracks.

    **Raises:** `ValueError` for a mobility that is not positive and finite.
    """

    state: ClassVar[tuple[str, ...]] = ("position",)
    observed: ClassVar[tuple[str, ...]] = ("velocity",)
    separable: ClassVar[bool] = False
    conserves_energy: ClassVar[bool] = False
    mobility: Float[Array, ""]

    def __init__(self, mobility: ArrayLike = 1.0) -> None:
        self.mobility = jnp.asarray(mobility, float)

    def __check_init__(self) -> None:
        if is_concrete(self.mobility) and not 0 < np.asarray(self.mobility) < math.inf:
            raise ValueError(f"mobility must be positive and finite, got {self.mobility}")

    def rates(self, graphs: GraphsTuple, gradient: Gradient) -> tuple[Any, ...]:
        slope = gradient.position
        # In the precision of the data: a mobility in float64 would promote them.
        return (None if slope is None else -self.mobility.astype(slope.dtype) * slope,)
