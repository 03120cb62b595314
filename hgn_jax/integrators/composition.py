"""Compositions of Störmer-Verlet steps: higher order for separable Hamiltonians."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from diffrax import RESULTS
from jaxtyping import PyTree

from .base import AbstractSeparable, State, Terms
from .stormer_verlet import kick_drift_kick


class AbstractComposition(AbstractSeparable):
    r"""Störmer-Verlet steps of the lengths $\gamma_1 h, \ldots, \gamma_s h$, one after another.

    With $\sum_i \gamma_i = 1$, $\gamma_{s+1-i} = \gamma_i$ and $\sum_i \gamma_i^k = 0$ for odd k
    (and further conditions from order 6 on) the order is higher than that of Störmer-Verlet. The
    step remains symplectic and time-reversible. It takes one force per stage.

    Hairer, Lubich and Wanner, Geometric Numerical Integration, 2nd ed., sections II.4 and V.3.
    """

    stages: eqx.AbstractClassVar[tuple[float, ...]]

    def init(self, terms: Terms, t0: Any, t1: Any, y0: State, args: Any) -> PyTree:
        """Force at the start; each stage passes its last force to the next."""
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
        dtype = jnp.result_type(*y0)
        # Scaled once: differences of the stages' times would round when t is large.
        h = [jnp.asarray(term.contr(t0, t1), dtype) for term in terms]
        t0, t1 = jnp.asarray(t0, dtype), jnp.asarray(t1, dtype)
        ends = np.cumsum(self.stages)
        # Length, start and end of each stage in units of the step.
        table = np.stack([self.stages, ends - self.stages, ends], axis=1)

        def stage(carry: tuple[State, PyTree], row: Any) -> tuple[tuple[State, PyTree], None]:
            y, force = carry
            gamma, start, end = row
            times = t0 + start * (t1 - t0), t0 + end * (t1 - t0)
            lengths = gamma * h[0], gamma * h[1]
            return kick_drift_kick(terms, *times, lengths, y, args, force), None

        # A loop rather than a sequence, so that the force is compiled once.
        (y1, force), _ = jax.lax.scan(stage, (y0, solver_state), jnp.asarray(table, dtype))
        return y1, None, {"y0": y0, "y1": y1}, force, RESULTS.successful  # type: ignore[return-value]
