"""The implicit midpoint rule, for any Hamiltonian."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from diffrax import RESULTS, AbstractTerm
from equinox.internal import ω
from jaxtyping import Array, PyTree

State: TypeAlias = PyTree[Array]


class _FixedPoint(optx.FixedPointIteration):
    """Keeps float32 states in float32 where 64 bit is turned on."""

    def init(self, fn: Any, y: State, *args: Any) -> Any:
        dtype = jnp.result_type(*jax.tree.leaves(y))
        return jax.tree.map(
            lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x,
            super().init(fn, y, *args),
        )


class ImplicitMidpoint(diffrax.AbstractSolver):
    r"""$y_1 = y_0 + h f((y_0 + y_1)/2)$: second order, symplectic, time-reversible.

    Needs no separation of H into T(p) + V(q). The equation is solved by fixed-point iteration
    until changes fall below `tolerance` relative to the state (None: 100 rounding units), which is
    also the accuracy to which the step is symplectic. If that takes more than `iterations`, the
    step is too long, and the solve stops and says so.

    Hairer, Lubich and Wanner, Geometric Numerical Integration, 2nd ed., sections II.1 and VI.4.
    """

    tolerance: float | None = eqx.field(default=None, static=True)
    iterations: int = eqx.field(default=64, static=True)

    term_structure: ClassVar = AbstractTerm
    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = (
        diffrax.LocalLinearInterpolation
    )

    def order(self, terms: AbstractTerm) -> int:
        return 2

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
        middle = t0 + (t1 - t0) / 2

        def increment(change: State, _: Any) -> State:
            return terms.vf_prod(middle, (y0**ω + (change**ω) / 2).ω, args, h)

        tolerance = self.tolerance
        if tolerance is None:
            dtype = jnp.result_type(*jax.tree.leaves(y0))
            tolerance = 100 * float(jnp.finfo(dtype).eps)
        size = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(y0)]))
        # Tolerances of the change are absolute, on the scale of the state.
        solution: optx.Solution = optx.fixed_point(
            lambda scaled, _: (increment((scaled**ω * size).ω, None) ** ω / size).ω,
            _FixedPoint(rtol=tolerance, atol=tolerance),
            (terms.vf_prod(t0, y0, args, h) ** ω / size).ω,
            max_steps=self.iterations,
            throw=False,
        )
        y1 = (y0**ω + solution.value**ω * size).ω
        result = RESULTS.promote(solution.result)
        return y1, None, {"y0": y0, "y1": y1}, None, result

    def func(self, terms: AbstractTerm, t0: Any, y0: State, args: Any) -> State:
        return terms.vf(t0, y0, args)
