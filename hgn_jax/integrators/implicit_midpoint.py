"""The implicit midpoint rule, for any Hamiltonian."""

from typing import ClassVar

from diffrax import AbstractTerm

from .gauss import AbstractGauss


class ImplicitMidpoint(AbstractGauss):
    r"""$y_1 = y_0 + h f((y_0 + y_1)/2)$: second order, symplectic, time-reversible.

    H need not separate into T(p) + V(q). The equation is solved by fixed-point iteration until
    changes fall below `tolerance` relative to the state (None: 100 machine epsilons), which is also
    the accuracy to which the step is symplectic. If more than `iterations` are needed, the step is
    too long, and the solve fails with an error.

    Hairer, Lubich and Wanner, Geometric Numerical Integration, 2nd ed., sections II.1 and VI.4.
    """

    a: ClassVar[tuple[tuple[float, ...], ...]] = ((1 / 2,),)
    b: ClassVar[tuple[float, ...]] = (1.0,)
    c: ClassVar[tuple[float, ...]] = (1 / 2,)

    def order(self, terms: AbstractTerm) -> int:
        return 2
