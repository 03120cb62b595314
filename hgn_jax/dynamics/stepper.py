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
from ..graphs.geometry import cell_of
from ..graphs.neighbour_list import NeighbourList, Neighbours, find
from ..graphs.slab_list import SlabList
from ..graphs.slab_migration import refreshed
from ..graphs.slabs import SLABS
from ..graphs.strain import stretched
from ..integrators.cell_rescaling import CellRescaling
from ..integrators.stormer_verlet import StormerVerlet
from ..integrators.thermostat import AbstractThermostat
from ..models.base import AbstractModel
from ..models.newtonian import Newtonian
from .observables import AbstractObservable
from .over_slabs import over_slabs, start_of, whole
from .state import Found, Output, State

_Carry: TypeAlias = tuple[Int[Array, ""], State, Bool[Array, ""]]
"""Steps taken, the state after them, and whether the motion can continue from it."""


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
    barostat: CellRescaling | None = None

    def begin(self) -> Rates:
        """The graph's own state."""
        return tuple(self.graph.nodes[name] for name in self.model.dynamics.state)

    @property
    def slabs(self) -> int | None:
        """Number of devices between which the bodies are divided; None if they are not."""
        spec = self.neighbours
        return None if spec is None or spec.mesh is None else spec.mesh.size

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

    def within(self, cell: Float[Array, "g d d"] | None, found: Found | None = None) -> "Motion":
        """The motion in other cells, and of the bodies of this list; the same if there are none."""
        graph = self.graph
        if cell is not None:
            graph = graph._replace(globals=graph.globals | {"cell": cell})
        if isinstance(found, SlabList):
            graph = found.settled(graph)
        return dataclasses.replace(self, graph=graph)

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
        return jax.lax.cond(state.stale, lambda: self.renewed(state), lambda: state)

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

    def find(self, y: Rates, cell: Float[Array, "g d d"] | None = None) -> NeighbourList | None:
        """The neighbour list of that state; None if the graph keeps its edges."""
        if self.neighbours is None:
            return None
        graph = jax.lax.stop_gradient(self.within(cell)._moved(y))
        assert isinstance(graph, SlottedGraphs)
        return find(self.neighbours, graph)

    def _placed(
        self, y: Rates, found: Found | None, cell: Float[Array, "g d d"] | None
    ) -> tuple[Rates, Found | None]:
        """The state and its new list; over a mesh, those of the bodies that are in the slab now."""
        spec = self.neighbours
        if spec is None or self.slabs is None:
            return y, self.find(y, cell)
        graph = jax.lax.stop_gradient(self.within(cell, found)._moved(y))
        assert isinstance(graph, SlottedGraphs) and spec.sizes is not None
        return refreshed(graph, self.model.dynamics.state, spec.reach, spec.sizes, self.slabs)

    def _initial(self, y: Rates, found: Found | None, step: Int[Array, ""]) -> PyTree:
        """What the integrator passes to the step that begins with this state."""
        return self.integrator.init(self._terms(found, step), 0.0, jnp.sign(self.dt), y, None)

    def finite(self, tree: PyTree) -> Bool[Array, ""]:
        """True if the tree is finite, on all devices of a mesh."""
        return self._everywhere(all_finite(tree))

    def _everywhere(self, flag: Bool[Array, ""]) -> Bool[Array, ""]:
        """True if the flag is true on all devices of a mesh."""
        return flag if self.slabs is None else jax.lax.pmin(flag.astype(jnp.int32), SLABS) > 0

    def at(self, y: Rates, found: Found | None, time: Float[Array, ""] | None) -> GraphsTuple:
        """The graph in that state; its positions are NaN if the list is stale there."""
        if found is None or self.neighbours is None:
            return self._moved(y, time)
        poison = jnp.where(self._stale(found, y[0]), jnp.nan, 0)
        graph = self._moved((y[0] + poison.astype(y[0].dtype), *y[1:]), time)
        assert isinstance(graph, SlottedGraphs)
        return found.joined(graph)

    def graph_at(self, state: State) -> GraphsTuple:
        """The graph in a state of the chain, at its time."""
        motion = self.within(state.cell, state.neighbours)
        return motion.at(state.y, state.neighbours, self._time(state.step, 0.0))

    def time_at_start(self) -> Float[Array, ""] | None:
        """The first time; None if the model does not depend on time."""
        return self._time(jnp.zeros((), jnp.result_type(int)), 0.0)

    def _stale(self, found: Found | None, position: Vectors) -> Bool[Array, ""]:
        """True if a pair within the cutoff might be missing from the list."""
        if found is None or self.neighbours is None:
            return jnp.array(False)
        if isinstance(found, SlabList):
            return found.stale(position, self.neighbours.skin)
        cell = None if self.barostat is None else cell_of(self.graph)
        return found.stale(position, self.neighbours, cell)

    def _rates(self, y: Rates, found: Found | None, time: Array | None) -> Rates:
        """Rates times the length of a step; NaN if the list is stale.

        NaN is added to the rates of a valid state, so that derivatives of a rejected attempt are
        zero times a finite number.
        """
        if found is None or self.neighbours is None:
            return self._scaled(self.model.vector_field(self._moved(y, time)))
        bad = self._stale(found, y[0]) | ~all_finite(y[1:])
        sound = (jnp.where(bad, found.position, y[0]), *(jnp.where(bad, 0, a) for a in y[1:]))
        graph = self._moved(sound, time)
        assert isinstance(graph, SlottedGraphs)
        rates = self.model.vector_field(found.joined(graph))
        return self._scaled(jax.tree.map(found.own, rates), bad)

    def _velocity(self, p: Array, time: Array | None) -> Array:
        """dq/dt times the length of a step for a separable Hamiltonian, which needs neither the
        list nor the positions."""
        bad = False if self.neighbours is None else ~jnp.isfinite(p)
        graph = self._moved((self.graph.nodes["position"], jnp.where(bad, 0, p)), time)
        return self._scaled(self.model.vector_field(graph)[:1], bad)[0]

    def _scaled(self, rates: Rates, bad: Bool[Array, "..."] | bool = False) -> Rates:
        poison = jnp.where(bad, jnp.nan, 0).astype(self.dt.dtype)
        return jax.tree.map(lambda rate: jnp.abs(self.dt) * rate + poison, rates)

    def _terms(self, found: Found | None, step: Int[Array, ""]) -> Any:
        """The equations of motion during one step, in the form that the integrator takes."""
        if not isinstance(self.integrator.term_structure, tuple):
            return diffrax.ODETerm(lambda t, y, args: self._rates(y, found, self._time(step, t)))
        # The force does not read the momenta: they are filled in, and compiled away.
        p0 = jnp.zeros_like(self.begin()[1])
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
