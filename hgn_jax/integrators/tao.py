"""Explicit integrator of Tao, for Hamiltonians that do not separate."""

import math
from typing import Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from diffrax import RESULTS, AbstractTerm

from .base import AbstractNonseparable, State

Carry: TypeAlias = tuple[State, State]


class Tao(AbstractNonseparable):
    r"""Explicit, second order, time-reversible, and symplectic in the space of two coupled copies
    of the state; three rates per step.

    H need not separate into T(p) + V(q). Beside the state (q, p) the solver carries a copy (x, y),
    equal to it at the start. The maps

    - A: $p \mathrel{-}= h\, \partial_q H(q, y)$ and $x \mathrel{+}= h\, \partial_p H(q, y)$,
    - B: $q \mathrel{+}= h\, \partial_p H(x, p)$ and $y \mathrel{-}= h\, \partial_q H(x, p)$,
    - W: the differences $(q - x, p - y)$ are rotated clockwise by `angle`

    are applied in the order A(h/2) B(h/2) W B(h/2) A(h/2). `angle` (radians per step, whatever the
    step; $2 \omega h$ in Tao's paper) keeps the copies together. W adds positions and momenta:
    choose units in which both are of similar size. The energy of one copy oscillates; momenta are
    conserved as sums over both copies.

    The default was measured, over 20,000 to 100,000 steps of five problems (Tao's
    $H = (q^2 + 1)(p^2 + 1)/2$, charged bodies in magnetic fields, a double pendulum, position-
    dependent masses): between 1.2 and 1.6 the greatest energy error hardly depends on it and does
    not grow. Below 0.8 it resonates with the motion and the copies drift apart; above 1.7 long
    steps are unstable. The error was 3 to 10 times that of `ImplicitMidpoint` at the same
    step, and 50 times in a strong magnetic field.

    Tao, Explicit symplectic approximation of nonseparable Hamiltonians: algorithm and long time
    performance, Physical Review E 94, 2016 (arXiv 1609.02212).
    """

    angle: float = eqx.field(default=1.4, static=True)

    def order(self, terms: AbstractTerm) -> int:
        return 2

    def init(self, terms: AbstractTerm, t0: Any, t1: Any, y0: State, args: Any) -> Carry:
        """The second copy, and the rates at the first copy's positions and the second's momenta.

        Each step passes its last rates to the next.
        """
        return y0, terms.vf(t0, y0, args)

    def step(
        self,
        terms: AbstractTerm,
        t0: Any,
        t1: Any,
        y0: State,
        args: Any,
        solver_state: Carry,
        made_jump: Any,
    ) -> tuple[State, None, dict[str, State], Carry, RESULTS]:
        h = terms.contr(t0, t1)
        middle = t0 + (t1 - t0) / 2
        (q, p), ((x, y), rates) = y0, solver_state

        dq, dp = terms.prod(rates, h)
        x, p = x + dq / 2, p + dp / 2
        dq, dp = terms.vf_prod(middle, (x, p), args, h)
        q, y = q + dq / 2, y + dp / 2

        cos = math.cos(self.angle)
        sin = jnp.asarray(math.sin(self.angle) * jnp.sign(h), q.dtype)  # turns back if time does
        gap_q, gap_p = q - x, p - y
        turned = cos * gap_q + sin * gap_p, cos * gap_p - sin * gap_q
        # The means stay, only half differences turn.
        q, x = (q + x + turned[0]) / 2, (q + x - turned[0]) / 2
        p, y = (p + y + turned[1]) / 2, (p + y - turned[1]) / 2

        dq, dp = terms.vf_prod(middle, (x, p), args, h)
        q, y = q + dq / 2, y + dp / 2
        rates = terms.vf(t1, (q, y), args)
        dq, dp = terms.prod(rates, h)
        x, p = x + dq / 2, p + dp / 2
        y1 = (q, p)
        return y1, None, {"y0": y0, "y1": y1}, ((x, y), rates), RESULTS.successful  # type: ignore[return-value]
