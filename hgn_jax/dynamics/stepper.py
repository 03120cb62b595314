"""Compiled fixed-step time integration."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import diffrax
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree
from jraph import GraphsTuple

from .._tree import all_finite
from .._types import Rates
from ..graphs.slab_list import SlabList
from ..graphs.strain import stretched
from ..integrators.stormer_verlet import StormerVerlet
from ..integrators.thermostat import AbstractThermostat
from ..models.newtonian import Newtonian
from .equations import Equations
from .over_slabs import over_slabs, start_of, whole
from .state import Found, Output, State

_Carry: TypeAlias = tuple[Int[Array, ""], State, Bool[Array, ""]]
"""Steps taken, the state after them, and whether the motion can continue from it."""


class Motion(Equations):
    """Steps of the equations of motion.

    A step that the integrator cannot solve makes the state NaN. So does a stale neighbour list,
    until it is refreshed.
    """

    def start(self) -> State:
        """The first state, with its neighbour list."""
        y, step = self.begin(), jnp.zeros((), jnp.result_type(int))
        y, found = self._placed(y, None, None)
        cell = None if self.barostat is None else self.graph.globals["cell"]
        solver = self.within(cell, found)._initial(y, found, step)
        return State(y, solver, found, step, jnp.array(False), jnp.array(True), cell)

    def renewed(self, state: State) -> State:
        """The state with a new list. Bodies that have left their slab change devices."""
        y, found = self._placed(state.y, state.neighbours, state.cell)
        state = dataclasses.replace(state, y=y, neighbours=found)
        if self.slabs is None:
            return state
        # What the integrator passes from step to step belongs to bodies that have moved.
        return dataclasses.replace(
            state, solver=self.within(state.cell, found)._initial(y, found, state.step)
        )

    def advance(self, state: State, steps: int | Int[Array, ""], most: int | None = None) -> State:
        """The state after `steps` steps, or fewer if it ceases to be finite.

        A fixed number is differentiable in both modes, a traced one in reverse mode if `most`
        bounds it; with neighbours both are differentiable in reverse mode, if bounded.
        """
        if isinstance(steps, int) and self.neighbours is None:
            # Reverse mode keeps only the state of every step, and repeats the rest.
            step = jax.checkpoint(lambda s, _: (self._step(s), None), prevent_cse=False)
            return jax.lax.scan(step, state, None, length=steps)[0]

        def loop(going: Callable, body: Callable, carry: _Carry) -> _Carry:
            if most is None:
                return jax.lax.while_loop(going, body, carry)
            return eqxi.while_loop(going, body, carry, max_steps=most + 1, kind="checkpointed")

        def attempt(carry: _Carry, found: Found | None = None) -> _Carry:
            count, state, _ = carry
            after, reached = self._attempt(state, found)
            return count + jnp.where(after.stale, 0, 1).astype(count.dtype), after, reached

        def going(carry: _Carry) -> Bool[Array, ""]:
            return carry[2] & (carry[0] < steps)

        def with_list(carry: _Carry) -> _Carry:
            count, state, _ = carry
            state = self._refreshed(state)
            found, state = state.neighbours, dataclasses.replace(state, neighbours=None)
            # An inner loop: the list, constant in it, is neither copied nor tested, and under vmap
            # lists are refreshed only when all motions still running need one.
            again = (count, state, jnp.array(True))
            count, state, reached = loop(going, partial(attempt, found=found), again)
            state = dataclasses.replace(state, neighbours=found)
            return count, state, reached | state.stale

        body = attempt if self.neighbours is None else with_list
        return loop(going, body, (jnp.zeros((), jnp.int32), state, self.finite(state.y)))[1]

    def output(self, state: State, part: Float[Array, ""], start: GraphsTuple) -> Output:
        """Output at a fraction `part` of a step after `state`, by one partial step that does not
        enter the trajectory; `state` must not be `late`."""
        found, model = state.neighbours, self.model
        within = self.within(state.cell, found)

        def aside() -> Rates:
            motion = within
            if isinstance(self.integrator, AbstractThermostat):
                motion = dataclasses.replace(within, integrator=StormerVerlet())
            terms = motion._terms(found, state.step)
            inner = motion.integrator.init(terms, 0.0, jnp.sign(self.dt) * part, state.y, None)
            return motion._solve(terms, state.y, inner, part)[0]

        y = jax.lax.cond(part > 0, aside, lambda: state.y)
        graph = within.at(y, found, self._time(state.step, part * jnp.sign(self.dt)))
        if isinstance(self.integrator, AbstractThermostat):
            heat = {"heat": self.integrator.heat(state.solver)}
            graph = graph._replace(globals=graph.globals | heat)
        kept = dict(zip(model.dynamics.state, y)) if self.states else {}
        if isinstance(found, SlabList):
            start = start_of(graph, start)
            kept = {name: whole(found, values) for name, values in kept.items()}
            model, graph = over_slabs(model, graph)
        energy = model(graph)
        kinetic = jnp.zeros_like(energy)
        if {"momentum", "mass"} <= graph.nodes.keys():
            kinetic = Newtonian()(graph)
        observed = {o.name: o(model, graph, start) for o in self.observables}
        if isinstance(found, SlabList):  # the whole, and a graph of padding
            energy, kinetic, observed = jax.tree.map(lambda a: a[:2], (energy, kinetic, observed))
        good = self.finite((y, energy, observed))
        return Output(kept, energy, kinetic, state.cell, observed, good)

    def late(self, state: State) -> Bool[Array, ""]:
        """True if the list is stale at the state itself; the last step checked it only at the
        integrator's stages."""
        stale = self.within(state.cell)._stale(state.neighbours, state.y[0])
        return ~self._everywhere(~stale)

    def stop(self, state: State, most: Int[Array, ""]) -> tuple[Int[Array, ""], State, State]:
        """Number of steps from a finite `state` until it is not finite, at most `most`, and the
        states before and after that step."""

        def go(c: tuple[Array, State, State]) -> tuple[Array, State, State]:
            after = self._step(c[2])
            return c[0] + jnp.where(after.stale, 0, 1).astype(c[0].dtype), c[2], after

        return jax.lax.while_loop(
            lambda c: (c[0] < most) & self.finite(c[2].y), go, (jnp.zeros_like(most), state, state)
        )

    def _step(self, state: State) -> State:
        """One step; or the same state, marked `stale`, if the step went too far for its list."""
        state = self._refreshed(state)
        return self._attempt(state, state.neighbours)[0]

    def _refreshed(self, state: State) -> State:
        """The state with its neighbour list refreshed if it is stale."""
        if self.neighbours is None:
            return state
        if self.slabs is not None:
            return jax.lax.cond(state.stale, lambda: self.renewed(state), lambda: state)
        # Bodies stay in their rows: only the list passes through the condition, which copies.
        new = partial(self.find, state.y, state.cell)
        found = jax.lax.cond(state.stale, new, lambda: state.neighbours)
        return dataclasses.replace(state, neighbours=found)

    def _attempt(self, state: State, found: Found | None) -> tuple[State, Array]:
        """Like `_step`, with a given list, and whether it reached a finite state.

        A new list is never stale.
        """
        terms = self.within(state.cell, found)._terms(found, state.step)
        y, inner, solved = self._solve(terms, state.y, state.solver, 1.0)
        after = dataclasses.replace(
            state, y=y, solver=inner, step=state.step + 1, solved=state.solved & solved
        )
        if self.barostat is not None:
            due = after.step % self.barostat.every == 0
            # One branch for all motions under vmap.
            after = jax.lax.cond(
                eqxi.unvmap_any(due),
                lambda: jax.tree.map(partial(jnp.where, due), self.rescaled(after, found), after),
                lambda: after,
            )
        reached = self.finite(after.y)
        if self.neighbours is None:
            return after, reached
        stale = ~state.stale & ~reached
        after = jax.tree.map(lambda new, old: jnp.where(stale, old, new), after, state)
        return dataclasses.replace(after, stale=stale), reached

    def rescaled(self, state: State, found: Found | None) -> State:
        """The state after a move of the barostat, whose work counts as heat."""
        assert self.barostat is not None and isinstance(self.integrator, AbstractThermostat)
        time = self._time(state.step, 0.0)
        graph = self.within(state.cell).at(state.y, found, time)
        virial, kt = self.model.virial(graph), self.integrator.temperature
        strain = self.barostat.strain(graph, virial, kt, state.step, self.dt)
        solved = state.solved & (all_finite(strain) | ~all_finite(virial))
        free = stretched(graph, strain)
        motion = self.within(cell := free.globals["cell"])
        moved = motion.at((free.nodes["position"], *state.y[1:]), found, time)
        y = (moved.nodes["position"], *state.y[1:])  # NaN if the list is stale there
        _, bath, heat = state.solver
        work = self.model(moved) - self.model(graph)
        solver = motion._rates(y, found, time)[1], bath, heat + work
        return dataclasses.replace(state, y=y, solver=solver, cell=cell, solved=solved)

    def _solve(
        self, terms: Any, y: Rates, inner: PyTree, part: float | Array
    ) -> tuple[Rates, PyTree, Array]:
        y1, _, _, inner1, result = self.integrator.step(
            terms, 0.0, jnp.sign(self.dt) * part, y, None, inner, False
        )
        solved = jnp.asarray(result == diffrax.RESULTS.successful)
        return jax.tree.map(lambda a: jnp.where(solved, a, jnp.nan), y1), inner1, solved
