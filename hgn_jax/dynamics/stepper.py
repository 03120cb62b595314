"""Fixed steps of a model's motion, compiled: what `rollout` is made of."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree
from jraph import GraphsTuple

from .._tree import all_finite
from .._types import Rates
from ..graphs.dense_edges import SlottedGraphs
from ..graphs.geometry import sum_over_graphs, velocity_of
from ..graphs.neighbour_list import NeighbourList, Neighbours, find
from ..models.hamiltonian import AbstractHamiltonian
from .observables import AbstractObservable


class State(eqx.Module):
    """Where the chain of steps has come to."""

    y: Rates
    solver: PyTree
    """What the solver hands on from step to step."""
    neighbours: NeighbourList | None
    stale: Bool[Array, ""]
    """Whether the next step needs new neighbours: the last attempt went too far for those."""
    solved: Bool[Array, ""]
    """Whether the solver could solve all steps."""


_Carry: TypeAlias = tuple[Int[Array, ""], State, Bool[Array, ""]]
"""Steps taken, where they led, and whether that is a state to go on from."""


class Output(eqx.Module):
    """What is seen of a state."""

    position: Float[Array, "n d"] | None
    momentum: Float[Array, "n d"] | None
    energy: Float[Array, " g"]
    kinetic: Float[Array, " g"]
    observed: dict[str, Array]
    finite: Bool[Array, ""]


class Run(eqx.Module):
    """Outputs of all times, and where the motion stopped being finite."""

    outputs: Output
    end: State
    steps: Int[Array, ""]
    """Taken until the state was not finite, or all."""
    before: State
    after: State


class Motion(eqx.Module):
    """Hamilton's equations of `graph`, in steps of `dt` (negative: back in time).

    Time is counted in steps, down if dt is negative. A step that the integrator cannot solve makes
    the state NaN. So does a neighbour list that does not suffice, until it is found anew.
    """

    model: AbstractHamiltonian
    graph: GraphsTuple
    dt: Float[Array, ""]
    integrator: diffrax.AbstractSolver
    neighbours: Neighbours | None
    observables: tuple[AbstractObservable, ...]
    states: bool = eqx.field(static=True)
    """Whether positions and momenta are part of the output."""

    def begin(self) -> Rates:
        """The graph's own positions and momenta."""
        return self.graph.nodes["position"], self.graph.nodes["momentum"]

    def start(self, found: NeighbourList | None) -> State:
        """The first state, with the neighbours found in it."""
        y = self.begin()
        solver = self.integrator.init(self._terms(found), 0.0, jnp.sign(self.dt), y, None)
        return State(y, solver, found, jnp.array(False), jnp.array(True))

    def advance(self, state: State, steps: int | Int[Array, ""], most: int | None = None) -> State:
        """`steps` further, or less if the state ceases to be finite.

        A fixed number is differentiable in both modes, a traced one in reverse mode if `most`
        bounds it; with neighbours both are differentiable in reverse mode, if bounded.
        """
        if isinstance(steps, int) and self.neighbours is None:
            # Of every step, reverse mode keeps the state alone.
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
            # A loop of its own: what does not change in it is neither copied nor tested, and vmap
            # finds lists only when all motions that still go on need one.
            again = (count, state, jnp.array(True))
            count, state, reached = loop(going, partial(attempt, found=found), again)
            state = dataclasses.replace(state, neighbours=found)
            return count, state, reached | state.stale

        body = attempt if self.neighbours is None else with_list
        return loop(going, body, (jnp.zeros((), jnp.int32), state, all_finite(state.y)))[1]

    def output(self, state: State, part: Float[Array, ""], start: GraphsTuple) -> Output:
        """What is seen `part` of a step later, by a step to the side; of a state that is not
        `late`."""
        found = state.neighbours

        def aside() -> Rates:
            inner = self.integrator.init(
                self._terms(found), 0.0, jnp.sign(self.dt) * part, state.y, None
            )
            return self._solve(found, state.y, inner, part)[0]

        y = jax.lax.cond(part > 0, aside, lambda: state.y)
        graph = self.at(y, found)
        energy = self.model(graph)
        kinetic = sum_over_graphs(
            graph, jnp.sum(graph.nodes["momentum"] * velocity_of(graph), axis=1) / 2
        )
        observed = {o.name: o(self.model, graph, start) for o in self.observables}
        q, p = y if self.states else (None, None)
        good = all_finite(y) & all_finite(energy) & all_finite(observed)
        return Output(q, p, energy, kinetic, observed, good)

    def late(self, state: State) -> Bool[Array, ""]:
        """Whether the neighbours do not suffice for the state itself: its last step needed them
        only where its stages were."""
        if self.neighbours is None or state.neighbours is None:
            return jnp.array(False)
        return state.neighbours.stale(state.y[0], self.neighbours.skin)

    def stop(self, state: State, most: Int[Array, ""]) -> tuple[Int[Array, ""], State, State]:
        """Steps until the state is not finite, at most so many, and the states before and after;
        for a finite `state`."""

        def go(c: tuple[Array, State, State]) -> tuple[Array, State, State]:
            after = self._step(c[2])
            return c[0] + jnp.where(after.stale, 0, 1).astype(c[0].dtype), c[2], after

        return jax.lax.while_loop(
            lambda c: (c[0] < most) & all_finite(c[2].y), go, (jnp.zeros_like(most), state, state)
        )

    def _step(self, state: State) -> State:
        """One step; or none, but `stale`, if it went farther than the neighbours were found for."""
        found = self._refreshed(state)
        return dataclasses.replace(self._attempt(state, found)[0], neighbours=found)

    def _refreshed(self, state: State) -> NeighbourList | None:
        """The neighbours, found anew if they are stale."""
        if self.neighbours is None:
            return None
        return jax.lax.cond(state.stale, lambda: self.find(state.y), lambda: state.neighbours)

    def _attempt(self, state: State, found: NeighbourList | None) -> tuple[State, Array]:
        """As `_step`, and whether it came to a finite state; neighbours that are new suffice."""
        y, inner, solved = self._solve(found, state.y, state.solver, 1.0)
        after = dataclasses.replace(state, y=y, solver=inner, solved=state.solved & solved)
        reached = all_finite(y)
        if self.neighbours is None:
            return after, reached
        stale = ~state.stale & ~reached
        after = jax.tree.map(lambda new, old: jnp.where(stale, old, new), after, state)
        return dataclasses.replace(after, stale=stale), reached

    def _solve(
        self, found: NeighbourList | None, y: Rates, inner: PyTree, part: float | Array
    ) -> tuple[Rates, PyTree, Array]:
        y1, _, _, inner1, result = self.integrator.step(
            self._terms(found), 0.0, jnp.sign(self.dt) * part, y, None, inner, False
        )
        solved = jnp.asarray(result == diffrax.RESULTS.successful)
        return jax.tree.map(lambda a: jnp.where(solved, a, jnp.nan), y1), inner1, solved

    def find(self, y: Rates) -> NeighbourList | None:
        """The neighbours in that state, if they are looked for."""
        if self.neighbours is None:
            return None
        graph = _moved(self.graph, *jax.lax.stop_gradient(y))
        assert isinstance(graph, SlottedGraphs)
        return find(self.neighbours, graph)

    def at(self, y: Rates, found: NeighbourList | None) -> GraphsTuple:
        """The graph in that state; positions NaN if the neighbours do not suffice for it."""
        if found is None or self.neighbours is None:
            return _moved(self.graph, *y)
        poison = jnp.where(found.stale(y[0], self.neighbours.skin), jnp.nan, 0)
        graph = _moved(self.graph, y[0] + poison.astype(y[0].dtype), y[1])
        assert isinstance(graph, SlottedGraphs)
        return found.joined(graph)

    def _rates(self, y: Rates, found: NeighbourList | None) -> Rates:
        """Those of one step; NaN if the neighbours do not suffice.

        NaN is added to what a sound state has: derivatives of an attempt that is cast away are then
        zero times something finite.
        """
        if found is None or self.neighbours is None:
            return self._scaled(self.model.vector_field(_moved(self.graph, *y)))
        bad = found.stale(y[0], self.neighbours.skin) | ~all_finite(y[1])
        graph = _moved(self.graph, jnp.where(bad, found.position, y[0]), jnp.where(bad, 0, y[1]))
        assert isinstance(graph, SlottedGraphs)
        return self._scaled(self.model.vector_field(found.joined(graph)), bad)

    def _velocity(self, p: Array) -> Array:
        """Of one step, for a Hamiltonian that separates: it asks for neither neighbours nor
        positions."""
        bad = False if self.neighbours is None else ~all_finite(p)
        graph = _moved(self.graph, self.graph.nodes["position"], jnp.where(bad, 0, p))
        return self._scaled(self.model.vector_field(graph), bad)[0]

    def _scaled(self, rates: Rates, bad: Bool[Array, ""] | bool = False) -> Rates:
        poison = jnp.where(bad, jnp.nan, 0).astype(self.dt.dtype)
        return jax.tree.map(lambda rate: jnp.abs(self.dt) * rate + poison, rates)

    def _terms(self, found: NeighbourList | None) -> Any:
        if not isinstance(self.integrator.term_structure, tuple):
            return diffrax.ODETerm(lambda t, y, args: self._rates(y, found))
        # What the force does not look at is filled in, and compiled away.
        p0 = self.graph.nodes["momentum"]
        return (
            diffrax.ODETerm(lambda t, p, args: self._velocity(p)),
            diffrax.ODETerm(lambda t, q, args: self._rates((q, p0), found)[1]),
        )


def _moved(graph: GraphsTuple, position: Array, momentum: Array) -> GraphsTuple:
    return graph._replace(nodes=graph.nodes | {"position": position, "momentum": momentum})
