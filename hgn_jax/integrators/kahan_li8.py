"""Composition of Kahan and Li, for separable Hamiltonians."""

from typing import ClassVar

from .base import Terms
from .composition import AbstractComposition

_HALF = (
    0.13020248308889008087881763,
    0.56116298177510838456196441,
    -0.38947496264484728640807860,
    0.15884190655515560089621075,
    -0.39590389413323757733623154,
    0.18453964097831570709183254,
    0.25837438768632204729397911,
    0.29501172360931029887096624,
)
_MIDDLE = -0.60550853383003451169892108


class KahanLi8(AbstractComposition):
    """Seventeen Störmer-Verlet steps: eighth order, symplectic, time-reversible, 17 forces per
    step.

    State and terms as for `StormerVerlet`.

    Kahan and Li, Composition constants for raising the orders of unconventional schemes for
    ordinary differential equations, Mathematics of Computation 66, 1997.
    Hairer, Lubich and Wanner, Geometric Numerical Integration, 2nd ed., section V.3.2.
    """

    stages: ClassVar[tuple[float, ...]] = (*_HALF, _MIDDLE, *_HALF[::-1])

    def order(self, terms: Terms) -> int:
        return 8
