"""Gauss collocation, for any Hamiltonian."""

from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from diffrax import RESULTS, AbstractTerm
from equinox.internal import ω
from jaxtyping import Array, PyTree

from .base import AbstractNonseparable
from .fixed_point import fixed_point

State: TypeAlias = PyTree[Array]


class AbstractGauss(AbstractNonseparable):
    r"""$y_1 = y_0 + \sum_i b_i k_i$ with $k_i = h f(t_0 + c_i h, y_0 + \sum_j a_{ij} k_j)$, where
    the $c_i$ are the nodes of Gauss quadrature: s stages, order 2 s, symplectic, time-reversible.

    H need not separate into T(p) + V(q). Every quadratic invariant of the motion is conserved.
    The equations are solved by fixed-point iteration until changes of the stages fall below
    `tolerance` relative to the state (None: 100 machine epsilons), followed by one more iteration.
    To this accuracy the step is symplectic, and derivatives are exact. If more than `iterations`
    are needed, the step is too long, and the solve fails with an error. Second derivatives need
    reverse mode over forward mode.

    Hairer, Lubich and Wanner, Geometric Numerical Integration, 2nd ed., sections II.1.3 and VI.4.
    """

    tolerance: float | None = eqx.field(default=None, static=True)
    iterations: int = eqx.field(default=64, static=True)

    a: eqx.AbstractClassVar[tuple[tuple[float, ...], ...]]
    b: eqx.AbstractClassVar[tuple[float, ...]]
    c: eqx.AbstractClassVar[tuple[float, ...]]

    def init(self, terms: AbstractTerm, t0: Any, t1: Any, y0: State, args: Any) -> None:
        return None

    def step(
        self,
        terms: AbstractTerm,
        t0: Any,
        t1: Any,
        y0: State,
        args: Any,
        solver_state: None,
        made_jump: Any,
    ) -> tuple[State, None, dict[str, State], None, RESULTS]:
        h = terms.contr(t0, t1)
        tolerance = self.tolerance
        if tolerance is None:
            dtype = jnp.result_type(*jax.tree.leaves(y0))
            tolerance = 100 * float(jnp.finfo(dtype).eps)

        def moved(weights: tuple[float, ...], changes: list[State]) -> State:
            return (y0**ω + sum(w * k**ω for w, k in zip(weights, changes))).ω

        def changes(k: list[State]) -> list[State]:
            return [
                terms.vf_prod(t0 + c * (t1 - t0), moved(a, k), args, h)
                for a, c in zip(self.a, self.c)
            ]

        stages = len(self.b)
        # All stages start from the slope at y0. Scales have the tree of the stages, a list.
        first, scale = [terms.vf_prod(t0, y0, args, h)] * stages, [y0] * stages
        solution, solved = fixed_point(changes, first, scale, tolerance, self.iterations)
        # One more iteration: the error left by the tolerance would add up over millions of steps.
        y1 = moved(self.b, changes(solution))
        result = RESULTS.where(solved, RESULTS.successful, RESULTS.nonlinear_max_steps_reached)
        return y1, None, {"y0": y0, "y1": y1}, None, result
