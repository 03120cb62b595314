"""Compiled fixed-step time integration."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree
from jraph import GraphsTuple

from .._tree import all_finite
from .._types import Rates, Vectors
from ..graphs.dense_edges import SlottedGraphs
from ..graphs.neighbour_list import NeighbourList, Neighbours, find
from ..integrators.stormer_verlet import StormerVerlet
from ..integrators.thermostat import AbstractThermostat
from ..models.base import AbstractModel
from ..models.newtonian import Newtonian
from .observables import AbstractObservable


class State(eqx.Module):
    """State of the chain of steps."""

    y: Rates
    solver: PyTree
    """State of the integrator, passed from step to step."""
    neighbours: NeighbourList | None
    step: Int[Array, ""]
    """Number of steps from the start."""
    stale: Bool[Array, ""]
    """True if the next step needs a new neighbour list: the last attempt went too far for it."""
    solved: Bool[Array, ""]
    """True if the integrator could solve all steps."""


_Carry: TypeAlias = tuple[Int[Array, ""], State, Bool[Array, ""]]
"""Steps taken, the state after them, and whether the motion can continue from it."""


class Output(eqx.Module):
    """Output at one time."""

    state: dict[str, Vectors]
    """The arrays of the state by name; empty if states are not kept."""
    energy: Float[Array, " g"]
    kinetic: Float[Array, " g"]
    """Scale of a tolerable change of the energy; zero if the state has no momenta."""
    observed: dict[str, Array]
    finite: Bool[Array, ""]


class Run(eqx.Module):
    """Outputs at all times, and the states around the step at which the motion failed."""

    outputs: Output
    end: State
    steps: Int[Array, ""]
    """Number of steps until the state was not finite, or of all steps."""
    before: State
    after: State


class Motion(eqx.Module):
    """Equations of motion of `graph`, in steps of `dt` (negative: back in time).

    The integrator counts time in steps from the start of each step, down if dt is negative; models
    that depend on time get `globals["time"]`. A step that the integrator cannot solve makes
    the state NaN. So does a stale neighbour list, until it is refreshed.
    """

    model: AbstractModel
    graph: GraphsTuple
    dt: Float[Array, ""]
    start_time: Float[Array, ""]
    integrator: diffrax.AbstractSolver
    neighbours: Neighbours | None
    observables: tuple[AbstractObservable, ...]
    states: bool = eqx.field(static=True)
    """True if positions and momenta are part of the output."""

    def begin(self) -> Rates:
        """The graph's own state."""
        return tuple(self.graph.nodes[name] for name in self.model.dynamics.state)

    def start(self, found: NeighbourList | None) -> State:
        """The first state, with its neighbour list."""
        y, step = self.begin(), jnp.zeros((), jnp.result_type(int))
        solver = self.integrator.init(self._terms(found, step), 0.0, jnp.sign(self.dt), y, None)
        return State(y, solver, found, step, jnp.array(False), jnp.array(True))

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

        def attempt(carry: _Carry, found: NeighbourList | None = None) -> _Carry:
            count, state, _ = carry
            after, reached = self._attempt(state, found)
            return count + jnp.where(after.stale, 0, 1).astype(count.dtype), after, reached

        def going(carry: _Carry) -> Bool[Array, ""]:
            return carry[2] & (carry[0] < steps)

        def with_list(carry: _Carry) -> _Carry:
            count, state, _ = carry
            found, state = self._refreshed(state), dataclasses.replace(state, neighbours=None)
            # An inner loop: the list, constant in it, is neither copied nor tested, and under vmap
            # lists are refreshed only when all motions still running need one.
            again = (count, state, jnp.array(True))
            count, state, reached = loop(going, partial(attempt, found=found), again)
            state = dataclasses.replace(state, neighbours=found)
            return count, state, reached | state.stale

        body = attempt if self.neighbours is None else with_list
        return loop(going, body, (jnp.zeros((), jnp.int32), state, all_finite(state.y)))[1]

    def output(self, state: State, part: Float[Array, ""], start: GraphsTuple) -> Output:
        """Output at a fraction `part` of a step after `state`, by one partial step that does not
        enter the trajectory; `state` must not be `late`."""
        found = state.neighbours

        def aside() -> Rates:
            motion = self
            if isinstance(self.integrator, AbstractThermostat):
                motion = dataclasses.replace(self, integrator=StormerVerlet())
            terms = motion._terms(found, state.step)
            inner = motion.integrator.init(terms, 0.0, jnp.sign(self.dt) * part, state.y, None)
            return motion._solve(terms, state.y, inner, part)[0]

        y = jax.lax.cond(part > 0, aside, lambda: state.y)
        graph = self.at(y, found, self._time(state.step, part * jnp.sign(self.dt)))
        if isinstance(self.integrator, AbstractThermostat):
            heat = {"heat": self.integrator.heat(state.solver)}
            graph = graph._replace(globals=graph.globals | heat)
        energy = self.model(graph)
        kinetic = jnp.zeros_like(energy)
        if {"momentum", "mass"} <= graph.nodes.keys():
            kinetic = Newtonian()(graph)
        observed = {o.name: o(self.model, graph, start) for o in self.observables}
        good = all_finite(y) & all_finite(energy) & all_finite(observed)
        kept = dict(zip(self.model.dynamics.state, y)) if self.states else {}
        return Output(kept, energy, kinetic, observed, good)

    def late(self, state: State) -> Bool[Array, ""]:
        """True if the list is stale at the state itself; the last step checked it only at the
        integrator's stages."""
        if self.neighbours is None or state.neighbours is None:
            return jnp.array(False)
        return state.neighbours.stale(state.y[0], self.neighbours.skin)

    def stop(self, state: State, most: Int[Array, ""]) -> tuple[Int[Array, ""], State, State]:
        """Number of steps from a finite `state` until it is not finite, at most `most`, and the
        states before and after that step."""

        def go(c: tuple[Array, State, State]) -> tuple[Array, State, State]:
            after = self._step(c[2])
            return c[0] + jnp.where(after.stale, 0, 1).astype(c[0].dtype), c[2], after

        return jax.lax.while_loop(
            lambda c: (c[0] < most) & all_finite(c[2].y), go, (jnp.zeros_like(most), state, state)
        )

    def _step(self, state: State) -> State:
        """One step; or the same state, marked `stale`, if the step went too far for its list."""
        found = self._refreshed(state)
        return dataclasses.replace(self._attempt(state, found)[0], neighbours=found)

    def _refreshed(self, state: State) -> NeighbourList | None:
        """The neighbour list, refreshed if it is stale."""
        if self.neighbours is None:
            return None
        return jax.lax.cond(state.stale, lambda: self.find(state.y), lambda: state.neighbours)

    def _attempt(self, state: State, found: NeighbourList | None) -> tuple[State, Array]:
        """Like `_step`, with a given list, and whether it reached a finite state.

        A new list is never stale.
        """
        terms = self._terms(found, state.step)
        y, inner, solved = self._solve(terms, state.y, state.solver, 1.0)
        after = dataclasses.replace(
            state, y=y, solver=inner, step=state.step + 1, solved=state.solved & solved
        )
        reached = all_finite(y)
        if self.neighbours is None:
            return after, reached
        stale = ~state.stale & ~reached
        after = jax.tree.map(lambda new, old: jnp.where(stale, old, new), after, state)
        return dataclasses.replace(after, stale=stale), reached

    def _solve(
        self, terms: Any, y: Rates, inner: PyTree, part: float | Array
    ) -> tuple[Rates, PyTree, Array]:
        y1, _, _, inner1, result = self.integrator.step(
            terms, 0.0, jnp.sign(self.dt) * part, y, None, inner, False
        )
        solved = jnp.asarray(result == diffrax.RESULTS.successful)
        return jax.tree.map(lambda a: jnp.where(solved, a, jnp.nan), y1), inner1, solved

    def find(self, y: Rates) -> NeighbourList | None:
        """The neighbour list of that state; None if the graph keeps its edges."""
        if self.neighbours is None:
            return None
        graph = self._moved(jax.lax.stop_gradient(y))
        assert isinstance(graph, SlottedGraphs)
        return find(self.neighbours, graph)

    def at(
        self, y: Rates, found: NeighbourList | None, time: Float[Array, ""] | None
    ) -> GraphsTuple:
        """The graph in that state; its positions are NaN if the list is stale there."""
        if found is None or self.neighbours is None:
            return self._moved(y, time)
        poison = jnp.where(found.stale(y[0], self.neighbours.skin), jnp.nan, 0)
        graph = self._moved((y[0] + poison.astype(y[0].dtype), *y[1:]), time)
        assert isinstance(graph, SlottedGraphs)
        return found.joined(graph)

    def graph_at(self, state: State) -> GraphsTuple:
        """The graph in a state of the chain, at its time."""
        return self.at(state.y, state.neighbours, self._time(state.step, 0.0))

    def time_at_start(self) -> Float[Array, ""] | None:
        """The first time; None if the model does not depend on time."""
        return self._time(jnp.zeros((), jnp.result_type(int)), 0.0)

    def _rates(self, y: Rates, found: NeighbourList | None, time: Array | None) -> Rates:
        """Rates times the length of a step; NaN if the list is stale.

        NaN is added to the rates of a valid state, so that derivatives of a rejected attempt are
        zero times a finite number.
        """
        if found is None or self.neighbours is None:
            return self._scaled(self.model.vector_field(self._moved(y, time)))
        bad = found.stale(y[0], self.neighbours.skin) | ~all_finite(y[1:])
        sound = (jnp.where(bad, found.position, y[0]), *(jnp.where(bad, 0, a) for a in y[1:]))
        graph = self._moved(sound, time)
        assert isinstance(graph, SlottedGraphs)
        return self._scaled(self.model.vector_field(found.joined(graph)), bad)

    def _velocity(self, p: Array, time: Array | None) -> Array:
        """dq/dt times the length of a step for a separable Hamiltonian, which needs neither the
        list nor the positions."""
        bad = False if self.neighbours is None else ~all_finite(p)
        graph = self._moved((self.graph.nodes["position"], jnp.where(bad, 0, p)), time)
        return self._scaled(self.model.vector_field(graph), bad)[0]

    def _scaled(self, rates: Rates, bad: Bool[Array, ""] | bool = False) -> Rates:
        poison = jnp.where(bad, jnp.nan, 0).astype(self.dt.dtype)
        return jax.tree.map(lambda rate: jnp.abs(self.dt) * rate + poison, rates)

    def _terms(self, found: NeighbourList | None, step: Int[Array, ""]) -> Any:
        """The equations of motion during one step, in the form that the integrator takes."""
        if not isinstance(self.integrator.term_structure, tuple):
            return diffrax.ODETerm(lambda t, y, args: self._rates(y, found, self._time(step, t)))
        # The force does not read the momenta: they are filled in, and compiled away.
        _, p0 = self.begin()
        return (
            diffrax.ODETerm(lambda t, p, args: self._velocity(p, self._time(step, t))),
            diffrax.ODETerm(lambda t, q, args: self._rates((q, p0), found, self._time(step, t))[1]),
        )

    def _time(self, step: Int[Array, ""], part: ArrayLike) -> Float[Array, ""] | None:
        """Time after a fraction of a step, negative if back in time; None if the model does not
        depend on time."""
        if not self.model.time_dependent:
            return None
        dtype = self.dt.dtype
        elapsed = self.dt * step.astype(dtype) + jnp.abs(self.dt) * jnp.asarray(part, dtype)
        return self.start_time + elapsed

    def _moved(self, y: Rates, time: Float[Array, ""] | None = None) -> GraphsTuple:
        """The graph with the arrays of that state, and its time."""
        graph = self.graph
        nodes = dict(zip(self.model.dynamics.state, y, strict=True))
        timed = {} if time is None else {"time": jnp.broadcast_to(time, graph.n_node.shape)}
        return graph._replace(nodes=graph.nodes | nodes, globals=graph.globals | timed)
