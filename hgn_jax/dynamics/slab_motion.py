"""A motion divided between the devices of a mesh, and put together again."""

import dataclasses
from typing import TypeVar

import jax
import jax.numpy as jnp
from jraph import GraphsTuple

from .._types import Rates
from ..graphs.neighbours import Neighbours
from ..graphs.slab_layout import divided
from ..graphs.slab_list import SlabList
from .over_slabs import start_arrays, whole
from .programs import compiled
from .state import State
from .stepper import Motion

T = TypeVar("T")


def divide(motion: Motion, spec: Neighbours, y: Rates | None = None) -> Motion:
    """The motion with the bodies of each slab on its device; `y` is a later state of all bodies.

    The model's arrays are on all devices.
    """
    assert spec.sizes is not None and spec.mesh is not None
    names = motion.model.dynamics.state
    # Padding is laid out anew.
    nodes = {name: a[:-1] for name, a in motion.graph.nodes.items()}
    graph = motion.graph._replace(
        nodes=nodes, globals={name: a[:-1] for name, a in motion.graph.globals.items()}
    )
    extra = start_arrays(graph, names) if motion.observables else {}
    if y is not None:
        graph = graph._replace(nodes=nodes | {k: a[:-1] for k, a in zip(names, y)})
    graph = divided(graph, spec.sizes, spec.mesh, extra)
    return dataclasses.replace(motion, graph=graph, neighbours=spec)


@compiled
def collected(motion: Motion, state: State) -> tuple[Rates, jax.Array, jax.Array, jax.Array]:
    """State of all bodies in their own order, what the integrator passes on, the number of steps,
    and whether all could be solved."""
    found = state.neighbours
    assert isinstance(found, SlabList)
    y, solver = jax.tree.map(lambda a: whole(found, a), (state.y, state.solver))
    return y, solver, state.step, state.solved


def gathered(motion: Motion, state: State) -> State:
    """The state of all bodies, without a neighbour list."""
    y, solver, step, solved = collected(motion, state)
    return State(y, solver, None, step, jnp.array(False), solved, None)


def enlarged(motion: Motion, spec: Neighbours) -> Motion:
    """The motion with the capacities of `spec`, and as many rows for the bodies of each slab."""
    assert spec.sizes is not None and spec.sizes.slabs is not None
    graph, rows = motion.graph, spec.sizes.slabs.bodies
    more = rows - graph.nodes["position"].shape[1]
    larger: GraphsTuple = graph._replace(
        nodes={name: _padded(a, (len(a), rows, *a.shape[2:])) for name, a in graph.nodes.items()},
        n_node=graph.n_node + jnp.asarray([[0, 0, more, 0, 0]], jnp.int32),  # padding
    )
    return dataclasses.replace(motion, graph=larger, neighbours=spec)


def padded_to(shapes: T, tree: T) -> T:
    """The tree with zeros at the end of arrays that are smaller than `shapes`."""
    return jax.tree.map(lambda shape, a: _padded(a, shape.shape), shapes, tree)


def _padded(array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.pad(array, [(0, size - held) for held, size in zip(array.shape, shape)])
