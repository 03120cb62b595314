"""Explicit splitting for forces that depend on velocities."""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from diffrax import RESULTS, AbstractTerm
from jaxtyping import Array, Bool

from .._types import Vectors
from .base import AbstractNonseparable, State

Carry: TypeAlias = tuple[Vectors, Vectors, Vectors, Array]
"""Sum of the series, sum of the absolute values, last term and the number of the next."""

MOST = 48
"""Terms of the series: enough for steps of ten times the damping time."""


class Strang(AbstractNonseparable):
    r"""Drift, kick, damping or rotation of the momenta, kick, drift: explicit, second order, one
    force per step, for friction and magnetic fields.

    Half a step moves the positions, the momenta then change at fixed positions, and another half
    step moves the positions. With $\dot p = f + J p$ at those positions and at the middle time,
    where f does not depend on p,

    $$p_1 = e^{h J} (p_0 + \tfrac{h}{2} f) + \tfrac{h}{2} f.$$

    The exponential, which is exact for forces proportional to velocities, is a power series until
    rounding. It takes products with J alone: neither a matrix nor conservative forces. Friction
    that is not proportional to the velocity is linearised at $p_0$.

    In magnetic fields this is the scheme of Boris with the exact angle of rotation: it preserves
    volume, is time-reversible, and keeps the speed to rounding if no other force acts. Without
    forces that depend on velocities it is the position Verlet method, which is symplectic. dq/dt
    must depend on momenta alone.

    Strang, On the construction and comparison of difference schemes, SIAM J. Numer. Anal. 5, 1968.
    He, Sun, Liu and Qin, Volume-preserving algorithms for charged particle dynamics, J. Comput.
    Phys. 281, 2015.
    """

    def order(self, terms: AbstractTerm) -> int:
        return 2

    def init(self, terms: AbstractTerm, t0: Any, t1: Any, y0: State, args: Any) -> None:
        """None: no step needs the force of the one before."""
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

        def changes(q: Vectors, p: Vectors) -> State:
            return terms.vf_prod(middle, (q, p), args, h)

        q, p = y0
        q = q + changes(q, p)[0] / 2
        change, product = jax.linearize(lambda p: changes(q, p)[1], p)
        kick = (change - product(p)) / 2  # without what is linear in p: the exponential has it
        p, converged = _exponential(product, p + kick)
        p = p + kick
        y1 = (q + changes(q, p)[0] / 2, p)
        result = RESULTS.where(converged, RESULTS.successful, RESULTS.nonlinear_max_steps_reached)
        return y1, None, {"y0": y0, "y1": y1}, None, result


def _exponential(
    product: Callable[[Vectors], Vectors], p: Vectors
) -> tuple[Vectors, Bool[Array, ""]]:
    r"""$\sum_k A^k p / k!$ from products with A, and whether the series converged."""
    eps = float(jnp.finfo(p.dtype).eps)

    def going(carry: Carry) -> Bool[Array, ""]:
        _, size, term, _ = carry
        # Relative to each number, but for those that are nothing beside the greatest.
        return jnp.any(jnp.abs(term) > eps * (size + eps * jnp.max(size)))

    def add(carry: Carry) -> Carry:
        total, size, term, k = carry
        term = product(term) / k
        return total + term, size + jnp.abs(term), term, k + 1

    first = (p, jnp.abs(p), p, jnp.ones((), p.dtype))
    # Bounded, so that reverse mode passes through.
    last = eqxi.while_loop(going, add, first, max_steps=MOST, kind="bounded")
    return last[0], ~going(last)
