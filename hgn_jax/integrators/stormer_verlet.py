"""Störmer-Verlet for separable Hamiltonians."""

from typing import Any

from diffrax import RESULTS
from equinox.internal import ω
from jaxtyping import PyTree

from .base import AbstractSeparable, State, Terms


def kick_drift_kick(
    terms: Terms, t0: Any, t1: Any, h: tuple[Any, Any], y0: State, args: Any, force: PyTree
) -> tuple[State, PyTree]:
    """One step of lengths h = (of q, of p), given the force at its start; returns the state and the
    force at its end."""
    drift, kick = terms
    q0, p0 = y0
    half = (p0**ω + (kick.prod(force, h[1]) ** ω) / 2).ω
    # At the middle of the step, in case T depends on time.
    q1 = (q0**ω + drift.vf_prod(t0 + (t1 - t0) / 2, half, args, h[0]) ** ω).ω
    force = kick.vf(t1, q1, args)
    return (q1, (half**ω + (kick.prod(force, h[1]) ** ω) / 2).ω), force


class StormerVerlet(AbstractSeparable):
    r"""Kick, drift, kick: second order, symplectic and time-reversible, one force per step.

    $p_{1/2} = p_0 - \frac{h}{2} \nabla V(q_0)$, $q_1 = q_0 + h \nabla T(p_{1/2})$,
    $p_1 = p_{1/2} - \frac{h}{2} \nabla V(q_1)$.

    Between steps diffrax interpolates linearly; `hgn.rollout` takes a shorter step instead.

    Hairer, Lubich and Wanner, Geometric numerical integration illustrated by the
    Störmer-Verlet method, Acta Numerica 12, 2003.
    """

    def order(self, terms: Terms) -> int:
        return 2

    def init(self, terms: Terms, t0: Any, t1: Any, y0: State, args: Any) -> PyTree:
        """Force at the start; each step passes its last force to the next."""
        return terms[1].vf(t0, y0[0], args)

    def step(
        self,
        terms: Terms,
        t0: Any,
        t1: Any,
        y0: State,
        args: Any,
        solver_state: PyTree,
        made_jump: Any,
    ) -> tuple[State, None, dict[str, State], PyTree, RESULTS]:
        h = (terms[0].contr(t0, t1), terms[1].contr(t0, t1))
        y1, force = kick_drift_kick(terms, t0, t1, h, y0, args, solver_state)
        return y1, None, {"y0": y0, "y1": y1}, force, RESULTS.successful  # type: ignore[return-value]
