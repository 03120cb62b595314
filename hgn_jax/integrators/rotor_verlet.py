"""Störmer-Verlet steps of bodies with an axis."""

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from diffrax import RESULTS, AbstractTerm
from jaxtyping import Array

from .._types import Rates, Vectors
from ..graphs.rotation import along_geodesic
from .base import AbstractNonseparable
from .yoshida4 import Yoshida4

Push: TypeAlias = tuple[Vectors, Vectors]
"""Force and torque on every body."""


class RotorVerlet(AbstractNonseparable):
    r"""Kick, drift, kick of linear rotors in a triple jump: fourth order, symplectic and
    time-reversible, three forces per step; axes keep their lengths to rounding.

    The kick adds force and torque to the momenta, $p \mathrel{+}= h f / 2$ and
    $L \mathrel{+}= h \tau / 2$. The drift is the exact motion of free bodies: positions move by
    $h v$, axes turn along great circles, $n \leftarrow n \cos|h \dot n| + (\dot n / |\dot n|)
    \sin|h \dot n|$. Models with `hgn.LinearRotors` dynamics and H = T(p, L) + V(q, n) only.

    Dullweber, Leimkuhler and McLachlan, Symplectic splitting methods for rigid body molecular
    dynamics, J. Chem. Phys. 107, 1997. Yoshida, Construction of higher order symplectic
    integrators, Physics Letters A 150, 1990.
    """

    def order(self, terms: AbstractTerm) -> int:
        return 4

    def init(self, terms: AbstractTerm, t0: Any, t1: Any, y0: Rates, args: Any) -> Push:
        """Force and torque at the start; each stage passes its last ones to the next."""
        return terms.vf(t0, y0, args)[2:]

    def step(
        self,
        terms: AbstractTerm,
        t0: Any,
        t1: Any,
        y0: Rates,
        args: Any,
        solver_state: Push,
        made_jump: Any,
    ) -> tuple[Rates, None, dict[str, Rates], Push, RESULTS]:
        dtype = y0[0].dtype
        h = jnp.asarray(terms.contr(t0, t1), dtype)
        t0, t1 = jnp.asarray(t0, dtype), jnp.asarray(t1, dtype)
        ends = np.cumsum(Yoshida4.stages)
        # Length and end of each stage in units of the step.
        table = jnp.asarray(np.stack([Yoshida4.stages, ends], axis=1), dtype)

        def stage(carry: tuple[Rates, Push], row: Array) -> tuple[tuple[Rates, Push], None]:
            y, push = carry
            return _kick_drift_kick(terms, t0 + row[1] * (t1 - t0), row[0] * h, y, args, push), None

        # A loop rather than a sequence, so that the force is compiled once.
        (y1, push), _ = jax.lax.scan(stage, (y0, solver_state), table)
        return y1, None, {"y0": y0, "y1": y1}, push, RESULTS.successful  # type: ignore[return-value]


def _kick_drift_kick(
    terms: AbstractTerm, end: Array, h: Array, y: Rates, args: Any, push: Push
) -> tuple[Rates, Push]:
    """One step of length h until the time `end`, given force and torque at its start; returns the
    state, and both at its end."""
    q, n, p, spin = y
    p, spin = p + h / 2 * push[0], spin + h / 2 * push[1]
    velocity, axis_velocity = terms.vf(end, (q, n, p, spin), args)[:2]
    q, n = q + h * velocity, along_geodesic(n, h * axis_velocity)
    push = terms.vf(end, (q, n, p, spin), args)[2:]
    return (q, n, p + h / 2 * push[0], spin + h / 2 * push[1]), push
