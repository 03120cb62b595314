"""Gauss-Legendre collocation with two stages, for any Hamiltonian."""

from typing import ClassVar

from diffrax import AbstractTerm

from .gauss import AbstractGauss

_OFFSET = 3**0.5 / 6


class GaussLegendre4(AbstractGauss):
    r"""Collocation at the times $t_0 + (1/2 \mp \sqrt{3}/6) h$: fourth order, symplectic,
    time-reversible.

    H need not separate into T(p) + V(q). The two stages are solved together by fixed-point
    iteration until their changes fall below `tolerance` relative to the state (None: 100 rounding
    units), which is also the accuracy to which the step is symplectic. If more than `iterations`
    are needed, the step is too long, and the solve fails with an error.

    Hairer, Lubich and Wanner, Geometric Numerical Integration, 2nd ed., sections II.1.3 and VI.4.
    """

    a: ClassVar[tuple[tuple[float, ...], ...]] = (
        (1 / 4, 1 / 4 - _OFFSET),
        (1 / 4 + _OFFSET, 1 / 4),
    )
    b: ClassVar[tuple[float, ...]] = (1 / 2, 1 / 2)
    c: ClassVar[tuple[float, ...]] = (1 / 2 - _OFFSET, 1 / 2 + _OFFSET)

    def order(self, terms: AbstractTerm) -> int:
        return 4
