"""RATTLE, for bodies that are joined by rigid rods."""

import dataclasses
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from diffrax import RESULTS, AbstractTerm
from jaxtyping import Array, Float
from jraph import GraphsTuple

from ..models.base import AbstractModel
from ..models.constrained import Constrained
from ..models.rods import Rods
from .base import AbstractNonseparable, State
from .fixed_point import fixed_point
from .yoshida4 import Yoshida4

Carry: TypeAlias = tuple[Float[Array, "g c"], Float[Array, "n d"]]

ITERATIONS = 50


class Rattle(AbstractNonseparable):
    r"""RATTLE steps in a triple jump: fourth order, symplectic, time-reversible; rods keep their
    lengths, and their ends move across them, to rounding.

    A step of length h is $p \mathrel{+}= h f(q) / 2 - G(q)^T \mu$, $q \mathrel{+}= h v(p)$ with
    $\mu$ such that the rods keep their lengths, and $p \mathrel{+}= h f(q) / 2 - G(q)^T \nu$ with
    $\nu$ such that their ends move across them. The kinetic energy is $|p|^2 / 2m$ up to a factor.
    Models with `hgn.Constrained` dynamics only.

    Andersen, Rattle: a velocity version of the Shake algorithm, J. Comput. Phys. 52, 1983.
    Hairer, Lubich and Wanner, Geometric Numerical Integration, 2nd ed., section VII.1.
    """

    rods: Rods | None = None
    graph: GraphsTuple | None = None
    dt: Float[Array, ""] | None = None
    """All three are set by `hgn.rollout`."""

    def order(self, terms: AbstractTerm) -> int:
        return 4

    def of(self, model: AbstractModel, graph: GraphsTuple, dt: Float[Array, ""]) -> "Rattle":
        """The integrator with the model's rods, the graph's masses and the length of a step.

        **Raises:** `ValueError` for a model without rods.
        """
        if not isinstance(model.dynamics, Constrained):
            raise ValueError(
                "Rattle needs a model with rigid rods, dynamics=hgn.Constrained(hgn.Rods(...)); "
                "for other models use integrator=hgn.KahanLi8()"
            )
        return dataclasses.replace(self, rods=model.dynamics.rods, graph=graph, dt=dt)

    def init(self, terms: AbstractTerm, t0: Any, t1: Any, y0: State, args: Any) -> Carry:
        """Squared lengths of the rods, and the force at the start; each stage passes its last force
        to the next."""
        rods, graph, _ = self._bound()
        return jnp.sum(rods.vectors(graph, y0[0]) ** 2, axis=2), terms.vf(t0, y0, args)[1]

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
        squares, force = solver_state
        dtype = y0[0].dtype
        h = jnp.asarray(terms.contr(t0, t1), dtype)
        # Starts of the stages; the middle one goes back in time.
        starts = np.cumsum((0, *Yoshida4.stages[:-1]))
        table = jnp.asarray(np.stack([Yoshida4.stages, starts], axis=1), dtype)

        def stage(
            carry: tuple[State, Array, Array], row: Array
        ) -> tuple[tuple[State, Array, Array], None]:
            y, force, solved = carry
            share, start = row
            times = t0 + start * (t1 - t0), t0 + (start + share) * (t1 - t0)
            y, force, converged = self._stage(terms, times, share * h, y, force, args, squares)
            return (y, force, solved & converged), None

        (y1, force, solved), _ = jax.lax.scan(stage, (y0, force, jnp.array(True)), table)
        result = RESULTS.where(solved, RESULTS.successful, RESULTS.nonlinear_max_steps_reached)
        return y1, None, {"y0": y0, "y1": y1}, (squares, force), result

    def _stage(
        self,
        terms: AbstractTerm,
        times: tuple[Any, Any],
        h: Array,
        y: State,
        force: Array,
        args: Any,
        squares: Array,
    ) -> tuple[State, Array, Array]:
        """One RATTLE step, the force at its end, and whether it could be solved.

        Forces may be those of other momenta: their parts along the rods, which depend on momenta,
        are absorbed by the tensions.
        """
        rods, graph, dt = self._bound()
        (q, p), (t0, t1) = y, times
        x = rods.vectors(graph, q)
        # Without tensions: `corrected` adds them until the rods keep their lengths.
        kicked = p + h / 2 * force

        def moved(p: Array) -> Array:
            return q + h * terms.vf(t0, (q, p), args)[0]

        def corrected(p: Array) -> Array:
            """Momenta whose motion misses the rods' lengths by the square of what p misses."""
            after = rods.vectors(graph, moved(p))
            # d|x|^2 = 2 x dx, and dx = h |dt| v: rates are per step, tensions per time.
            missed = (jnp.sum(after**2, axis=2) - squares) / (2 * h * jnp.abs(dt))
            # Rods pull along their directions at the start of the step: G(q)^T.
            return p - rods.pulls(graph, x, rods.tensions(graph, after, x, missed))

        # Lengths fix the momenta to the rounding of positions over a step, no better.
        rounded = graph.nodes["mass"][:, None] * jnp.abs(q) / jnp.abs(dt)
        scale = jnp.maximum(jnp.maximum(jnp.abs(kicked), jnp.abs(p)), rounded)
        tolerance = 100 * float(jnp.finfo(p.dtype).eps)
        half, solved = fixed_point(corrected, kicked, scale, tolerance, ITERATIONS)
        q = moved(half)  # positions come from the final momenta: q and p agree to rounding
        force = terms.vf(t1, (q, half), args)[1]
        p = half + h / 2 * force
        x = rods.vectors(graph, q)
        along = rods.along(graph, x, p)  # velocity along the rods, which must vanish
        p = p - rods.pulls(graph, x, rods.tensions(graph, x, x, along))
        return (q, p), force, solved

    def _bound(self) -> tuple[Rods, GraphsTuple, Array]:
        if self.rods is None or self.graph is None or self.dt is None:
            raise ValueError("Rattle works only in hgn.rollout, which sets rods, masses and step")
        return self.rods, self.graph, self.dt
