"""FIRE: descent to a minimum of the energy, by damped motion."""

import dataclasses
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from jraph import GraphsTuple

from .._tree import all_finite
from .._types import Vectors
from ..graphs.cell import Cell
from ..graphs.dense_edges import SlottedGraphs
from ..graphs.geometry import bodies, cell_of, distance, edge_mask, movable
from ..graphs.neighbour_list import NeighbourList, find
from ..graphs.neighbours import Neighbours
from ..graphs.strain import strained
from ..models.base import AbstractModel

SLOWEST = 0.1
"""First mixing of velocity and force."""
PATIENCE = 5
"""Steps downhill before the time step grows."""
FIRST = 0.6
"""First time step, times the square root of the stiffness along the force."""
PROBE = 1e-3
"""Move that measures this stiffness, in units of the longest move."""

Pull: TypeAlias = tuple[Vectors, Float[Array, "d d"]]
"""Force, velocity or move: of positions, and of the strain times `size`."""


class Place(eqx.Module):
    """Positions, cell and neighbours."""

    graph: GraphsTuple
    found: NeighbourList | None


class Walk(eqx.Module):
    """State of the descent."""

    place: Place
    pull: Pull
    velocity: Pull
    dt: Float[Array, ""]
    mixing: Float[Array, ""]
    downhill: Int[Array, ""]
    """Steps since the last one uphill."""
    steps: Int[Array, ""]


class Descent(eqx.Module):
    """Energy of a single graph as a function of positions, and of the cell if `size` is given."""

    model: AbstractModel
    neighbours: Neighbours | None
    force: Float[Array, ""]
    """Tolerance of forces (energy / length)."""
    stress: Float[Array, ""] | None
    """Tolerance of stresses; None if the cell stays."""
    longest: Float[Array, ""]
    """Longest move of a body in one step."""
    size: Float[Array, ""]
    """Length that makes strains comparable with positions: sqrt(n) times the bodies' spacing."""

    def begin(self, graph: GraphsTuple) -> Walk:
        """The start, at rest."""
        place = self.first(graph)
        pull = self.pull(place)
        length = jnp.sqrt(_dot(pull, pull))
        probe = jax.tree.map(lambda f: f * self.longest * PROBE / _positive(length), pull)
        pull_after = self.pull(self.moved(place, probe))
        change = jax.tree.map(jnp.subtract, pull_after, pull)
        stiffness = jnp.sqrt(_dot(change, change) / _positive(_dot(probe, probe)))
        dt = FIRST / jnp.sqrt(_positive(stiffness))
        none, at_rest = jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, pull)
        return Walk(place, pull, at_rest, dt, jnp.full_like(dt, SLOWEST), none, none)

    def first(self, graph: GraphsTuple) -> Place:
        """The place of a graph, with a new list."""
        if self.neighbours is None:
            return Place(graph, None)
        assert isinstance(graph, SlottedGraphs)  # as `Neighbours.prepare` lays it out
        return Place(graph, find(self.neighbours, graph))

    @eqx.filter_jit
    def again(self, walk: Walk, graph: GraphsTuple) -> Walk:
        """The walk on the same graph, laid out for another capacity."""
        place = self.first(graph)
        return dataclasses.replace(walk, place=place, pull=self.pull(place))

    @eqx.filter_jit
    def run(self, walk: Walk, most: Int[Array, ""]) -> Walk:
        """The walk until it converges, has taken `most` steps, ceases to be finite, or its
        neighbour list overflows."""

        def going(walk: Walk) -> Bool[Array, ""]:
            complete = walk.place.found is None or walk.place.found.complete
            fine = all_finite(walk.pull) & complete
            return fine & ~self.converged(walk) & (walk.steps < most)

        return jax.lax.while_loop(going, lambda w: self.step(w), walk)

    def step(self, walk: Walk) -> Walk:
        """One step of FIRE."""
        power = _dot(walk.pull, walk.velocity)
        down = power > 0
        ratio = jnp.sqrt(_dot(walk.velocity, walk.velocity) / _positive(_dot(walk.pull, walk.pull)))

        def turned(v: Array, f: Array) -> Array:
            return jnp.where(down, (1 - walk.mixing) * v + walk.mixing * ratio * f, 0)

        eager = down & (walk.downhill > PATIENCE)
        uphill = ~down & (walk.steps > 0)  # at rest, the first step has no power
        dt = walk.dt * jnp.where(eager, 1.1, jnp.where(uphill, 0.5, 1)).astype(walk.dt.dtype)
        mixing = jnp.where(down, jnp.where(eager, 0.99 * walk.mixing, walk.mixing), SLOWEST)
        velocity = jax.tree.map(turned, walk.velocity, walk.pull)
        velocity = jax.tree.map(lambda v, f: v + dt * f, velocity, walk.pull)
        move = jax.tree.map(lambda v: dt * v, velocity)  # by the new velocity: symplectic Euler
        count = _count(walk.place.graph).astype(dt.dtype)
        # A strain moves neighbours by its norm times their spacing, which is size / sqrt(n).
        farthest = jnp.maximum(_greatest(move[0]), jnp.linalg.norm(move[1]) / jnp.sqrt(count))
        share = jnp.minimum(1, self.longest / _positive(farthest))
        place = self.listed(self.moved(walk.place, jax.tree.map(lambda m: share * m, move)))
        downhill = jnp.where(down, walk.downhill + 1, 0)
        return Walk(
            place, self.pull(place), velocity, dt, mixing.astype(dt.dtype), downhill, walk.steps + 1
        )

    def converged(self, walk: Walk) -> Bool[Array, ""]:
        """True if forces, and stresses if the cell may change, are within their tolerances."""
        small = self.greatest_force(walk) <= self.force
        if self.stress is None:
            return small
        return small & (jnp.max(jnp.abs(self.stresses(walk))) <= self.stress)

    def greatest_force(self, walk: Walk) -> Float[Array, ""]:
        """Greatest force on a mobile body (energy / length)."""
        return _greatest(walk.pull[0])

    def stresses(self, walk: Walk) -> Float[Array, "d d"]:
        """Symmetric stress of the cell (energy / length^d)."""
        volume = Cell(walk.place.graph.globals["cell"][0]).volume
        return -walk.pull[1] * self.size / volume  # the pull is -virial / size

    def pull(self, place: Place) -> Pull:
        """Forces on mobile bodies, and the force on the scaled strain; zero if the cell stays."""
        graph = self.joined(place)
        slope = self.model.gradient(graph).position
        position = graph.nodes["position"]
        d = position.shape[1]
        force = jnp.zeros_like(position) if slope is None else -slope
        force = jnp.where(movable(graph)[:, None], force, 0)
        if self.stress is None:
            return force, jnp.zeros((d, d), position.dtype)
        virial = self.model.virial(graph)[0]
        return force, -(virial + virial.T) / 2 / self.size  # symmetric: the cell does not turn

    def moved(self, place: Place, move: Pull) -> Place:
        """The place after a move of the bodies, and then of the cell with them."""
        graph = place.graph
        position = graph.nodes["position"] + move[0]
        graph = graph._replace(nodes=graph.nodes | {"position": position})
        if self.stress is None:
            return dataclasses.replace(place, graph=graph)
        return Place(strained(graph, move[1] / self.size), place.found)

    def joined(self, place: Place) -> GraphsTuple:
        """The graph with its edges."""
        if place.found is None:
            return place.graph
        assert isinstance(place.graph, SlottedGraphs)
        return place.found.joined(place.graph)

    def listed(self, place: Place) -> Place:
        """The place with a neighbour list that holds every pair within the cutoff."""
        spec, graph, found = self.neighbours, place.graph, place.found
        if spec is None or found is None:
            return place
        cell = None if self.stress is None else cell_of(graph)
        stale = found.stale(graph.nodes["position"], spec, cell)
        return jax.lax.cond(stale, lambda: self.first(graph), lambda: place)


def shortest_edge(graph: GraphsTuple) -> Float[Array, ""]:
    """Length of the shortest edge; inf without edges."""
    return jnp.min(jnp.where(edge_mask(graph), distance(graph), jnp.inf), initial=jnp.inf)


def _dot(a: Pull, b: Pull) -> Float[Array, ""]:
    return jnp.sum(a[0] * b[0]) + jnp.sum(a[1] * b[1])


def _greatest(vectors: Vectors) -> Float[Array, ""]:
    return jnp.sqrt(jnp.max(jnp.sum(vectors**2, axis=1)))  # one root: of the greatest


def _positive(x: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(x > 0, x, 1)


def _count(graph: GraphsTuple) -> Float[Array, ""]:
    return bodies(graph)[0]
