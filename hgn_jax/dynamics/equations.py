"""Equations of motion of a graph in the form that an integrator takes, with a neighbour list."""

import dataclasses
from typing import Any, TypeVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree
from jraph import GraphsTuple

from .._tree import all_finite
from .._types import Rates, Vectors
from ..graphs.dense_edges import SlottedGraphs
from ..graphs.geometry import cell_of
from ..graphs.neighbour_list import NeighbourList, find
from ..graphs.neighbours import Neighbours
from ..graphs.slab_list import SlabList
from ..graphs.slab_migration import refreshed
from ..graphs.slabs import SLABS
from ..integrators.cell_rescaling import CellRescaling
from ..models.base import AbstractModel
from .observables import AbstractObservable
from .state import Found, State

MotionLike = TypeVar("MotionLike", bound="Equations")


class Equations(eqx.Module):
    """Equations of motion of `graph`, in steps of `dt` (negative: back in time).

    The integrator counts time in steps from the start of each step, down if dt is negative; models
    that depend on time get `globals["time"]`. A stale neighbour list makes rates NaN.
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

    def within(
        self: MotionLike, cell: Float[Array, "g d d"] | None, found: Found | None = None
    ) -> MotionLike:
        """The motion in other cells, and of the bodies of this list; the same if there are none."""
        graph = self.graph
        if cell is not None:
            graph = graph._replace(globals=graph.globals | {"cell": cell})
        if isinstance(found, SlabList):
            graph = found.settled(graph)
        return dataclasses.replace(self, graph=graph)

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
        """State of the integrator for the step that begins here."""
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
