"""Triple jump, for separable Hamiltonians."""

from typing import ClassVar

from .base import Terms
from .composition import AbstractComposition

_OUTER = 1 / (2 - 2 ** (1 / 3))


class Yoshida4(AbstractComposition):
    r"""Three Störmer-Verlet steps, of $\gamma h$, $(1 - 2 \gamma) h$ and $\gamma h$ with
    $\gamma = 1 / (2 - 2^{1/3})$: fourth order, symplectic, time-reversible, three forces per step.

    State and terms as for `StormerVerlet`. The middle step goes back by 1.7 h, which makes errors
    large for the order: use `KahanLi8` where accuracy matters.

    Forest and Ruth, Fourth-order symplectic integration, Physica D 43, 1990.
    Yoshida, Construction of higher order symplectic integrators, Physics Letters A 150, 1990.
    """

    stages: ClassVar[tuple[float, ...]] = (_OUTER, 1 - 2 * _OUTER, _OUTER)

    def order(self, terms: Terms) -> int:
        return 4
