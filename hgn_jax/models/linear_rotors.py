"""Hamilton's equations of bodies with an axis."""

from typing import Any, ClassVar

from jraph import GraphsTuple

from .._types import Gradient, RotorGradient
from ..graphs.rotation import cross
from .equations_of_motion import AbstractDynamics


class LinearRotors(AbstractDynamics):
    r"""Hamilton's equations of linear rotors: bodies with a position q, an axis n (a unit vector),
    a momentum p, and an angular momentum L that is perpendicular to n.

    $$\dot q = \frac{\partial H}{\partial p}, \quad
    \dot n = \frac{\partial H}{\partial L} \times n, \quad
    \dot p = -\frac{\partial H}{\partial q}, \quad
    \dot L = -n \times \frac{\partial H}{\partial n}.$$

    The state is `position`, `axis`, `momentum` and `angular_momentum`; the measured rates are
    `velocity`, `axis_velocity` $\dot n$ (1 / time), `force` and `torque` (energy), in the
    laboratory's axes as programs for molecular dynamics print them, `[n 3]` each. `inertia` `[n]`
    is the moment of inertia about any axis normal to n (mass * length^2). Where no term depends on
    momenta, the known kinetic energy is $\sum_i |p_i|^2 / 2 m_i + |L_i|^2 / 2 I_i$. Gradients of
    the energy, and rates of terms of your own, are `hgn.RotorGradient`.

    Roll out by `hgn.RotorVerlet()`, which keeps the axes' lengths to rounding.

    **Raises:** `ValueError` for data in other than three dimensions.

    Allen and Germano, Expressions for forces and torques in molecular simulations using rigid
    bodies, Molecular Physics 104, 2006.
    """

    state: ClassVar[tuple[str, ...]] = ("position", "axis", "momentum", "angular_momentum")
    observed: ClassVar[tuple[str, ...]] = ("velocity", "axis_velocity", "force", "torque")
    separable: ClassVar[bool] = True
    conserves_energy: ClassVar[bool] = True

    def rates(self, graphs: GraphsTuple, gradient: Gradient) -> tuple[Any, ...]:
        if (d := graphs.nodes["position"].shape[1]) != 3:
            raise ValueError(
                f"LinearRotors() turn in three dimensions, but the data have {d}; motion in a "
                "plane is motion in space: append z = 0 to positions, momenta and axes"
            )
        slopes = RotorGradient.of(gradient)
        return (
            slopes.momentum,
            _carried(graphs, slopes.angular_momentum),
            None if slopes.position is None else -slopes.position,
            _carried(graphs, slopes.axis),
        )


def _carried(graphs: GraphsTuple, slope: Any) -> Any:
    """The derivative's cross product with the axis; None if there is no derivative."""
    # Derivatives by positions and momenta need no axis: forces alone may be fitted without.
    return None if slope is None else -cross(graphs.nodes["axis"], slope)
