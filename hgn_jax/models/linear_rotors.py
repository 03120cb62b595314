"""Hamilton's equations of bodies with an axis."""

from typing import Any, ClassVar

from jraph import GraphsTuple

from .._types import Gradient
from ..graphs.rotation import carried, crossed
from .equations_of_motion import AbstractDynamics


class LinearRotors(AbstractDynamics):
    r"""Hamilton's equations of linear rotors: bodies with a position q, an axis n (a unit vector),
    a momentum p, and an angular momentum L that is perpendicular to n.

    $$\dot q = \frac{\partial H}{\partial p}, \quad
    \dot n = \frac{\partial H}{\partial L} \times n, \quad
    \dot p = -\frac{\partial H}{\partial q}, \quad
    \dot L = -n \times \frac{\partial H}{\partial n}.$$

    The state is `position`, `axis` `[n d]`, `momentum` and `angular_momentum` (`[n 3]`, or in two
    dimensions `[n 1]`); the measured rates are `velocity`, `axis_velocity` $\dot n$ (1 / time),
    `force` and `torque` (energy), in the laboratory's axes as programs for molecular dynamics
    print them. `inertia` `[n]` is the moment of inertia about any axis normal to n (mass *
    length^2). Where no term depends on momenta, the known kinetic energy is
    $\sum_i |p_i|^2 / 2 m_i + |L_i|^2 / 2 I_i$.

    Roll out by `hgn.RotorVerlet()`, which keeps the axes' lengths to rounding.

    **Raises:** `ValueError` for data in other than two or three dimensions.

    Allen and Germano, Expressions for forces and torques in molecular simulations using rigid
    bodies, Molecular Physics 104, 2006.
    """

    state: ClassVar[tuple[str, ...]] = ("position", "axis", "momentum", "angular_momentum")
    observed: ClassVar[tuple[str, ...]] = ("velocity", "axis_velocity", "force", "torque")
    separable: ClassVar[bool] = True
    conserves_energy: ClassVar[bool] = True

    def rates(self, graphs: GraphsTuple, gradient: Gradient) -> tuple[Any, ...]:
        def mapped(function: Any, slope: Any) -> Any:
            return None if slope is None else function(slope)

        # Those that read no axis need none: forces may be fitted beside momenta alone.
        return (
            gradient.momentum,
            mapped(lambda rate: carried(rate, graphs.nodes["axis"]), gradient.angular_momentum),
            mapped(lambda slope: -slope, gradient.position),
            mapped(lambda slope: -crossed(graphs.nodes["axis"], slope), gradient.axis),
        )

    def accepts(self, graphs: GraphsTuple) -> None:
        if (d := graphs.nodes["position"].shape[1]) not in (2, 3):
            raise ValueError(f"LinearRotors() turn in 2 or 3 dimensions, but the data have {d}")
