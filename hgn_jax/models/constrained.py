"""Hamilton's equations of bodies that are joined by rigid rods."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jraph import GraphsTuple

from .._types import Gradient
from ..graphs.geometry import velocity_of
from .equations_of_motion import AbstractDynamics
from .rods import Rods


class Constrained(AbstractDynamics):
    r"""Hamilton's equations with rigid rods: dq/dt = dH/dp and

    $$\dot p = f - G^T \lambda, \quad G M^{-1} G^T \lambda = G M^{-1} f + |\dot x|^2, \quad
    f = -\partial H / \partial q,$$

    with the rods' vectors x and rows G of `hgn.Rods`. The tensions $\lambda$ keep the lengths. Rows
    of a fit are projected in the same way, so that forces along the rods, which no data determine,
    do not enter; observed forces dp/dt are those of the constrained motion. The kinetic energy is
    $|p|^2 / 2m$ up to a factor.

    Rollouts by `hgn.Rattle()` keep the lengths to rounding. Other integrators let them drift.
    """

    state: ClassVar[tuple[str, ...]] = ("position", "momentum")
    observed: ClassVar[tuple[str, ...]] = ("velocity", "force")
    separable: ClassVar[bool] = False
    conserves_energy: ClassVar[bool] = True
    rods: Rods

    def rates(self, graphs: GraphsTuple, gradient: Gradient) -> tuple[Any, ...]:
        by_position, by_momentum = gradient
        # Without forces there is nothing to project; the turning rods are in `offset`.
        if by_position is None:
            return by_momentum, None
        return by_momentum, self.rods.projected(graphs, -by_position)

    def offset(self, graphs: GraphsTuple) -> tuple[Any, ...]:
        x = self.rods.vectors(graphs)
        # Centripetal forces: rods that turn need a tension even if no force acts.
        turning = self.rods.rates(graphs, velocity_of(graphs))
        # x . d^2x/dt^2 = -|dx/dt|^2, from the second derivative of |x|^2.
        tension = self.rods.tensions(graphs, x, x, jnp.sum(turning**2, axis=2))
        return None, -self.rods.pulls(graphs, x, tension)

    def accepts(self, graphs: GraphsTuple) -> None:
        with jax.ensure_compile_time_eval():  # else jit would trace concrete data
            self.rods.check(graphs)
