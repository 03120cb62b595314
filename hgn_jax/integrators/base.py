"""Bases of integrators: diffrax solvers that interpolate linearly between steps."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import diffrax
from diffrax import AbstractTerm
from jaxtyping import Array, Float, PyTree

State: TypeAlias = tuple[Float[Array, "n d"], Float[Array, "n d"]]
Terms: TypeAlias = tuple[AbstractTerm, AbstractTerm]
Interpolation: TypeAlias = Callable[..., diffrax.LocalLinearInterpolation]


class AbstractSeparable(diffrax.AbstractSolver):
    """A diffrax solver for the state (q, p) and the terms (dq/dt as a function of p, dp/dt as a
    function of q), as `diffrax.SemiImplicitEuler` takes them."""

    term_structure: ClassVar = (AbstractTerm, AbstractTerm)
    interpolation_cls: ClassVar[Interpolation] = diffrax.LocalLinearInterpolation

    def func(self, terms: Terms, t0: Any, y0: State, args: Any) -> State:
        drift, kick = terms
        return drift.vf(t0, y0[1], args), kick.vf(t0, y0[0], args)


class AbstractNonseparable(diffrax.AbstractSolver):
    """A diffrax solver for one term, the rates as a function of the whole state."""

    term_structure: ClassVar = AbstractTerm
    interpolation_cls: ClassVar[Interpolation] = diffrax.LocalLinearInterpolation

    def func(self, terms: AbstractTerm, t0: Any, y0: PyTree[Array], args: Any) -> PyTree[Array]:
        return terms.vf(t0, y0, args)
