"""Quantities of all bodies, computed on devices that hold a slab each."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import Gradient, GraphScalars, Rates
from ..graphs.dense_edges import PartialGraphs, SlottedGraphs
from ..graphs.slab_layout import BODY
from ..graphs.slab_list import SlabList
from ..graphs.slabs import SLABS
from ..graphs.strain import strained
from ..models.base import AbstractModel
from ..models.equations_of_motion import AbstractDynamics

START = "slab: start of "
"""Beginning of the names of node arrays that hold the state at the start."""


class OverSlabs(AbstractModel):
    """A model whose energy and virial are those of all slabs, for `PartialGraphs`."""

    model: AbstractModel

    @property
    def dynamics(self) -> AbstractDynamics:
        return self.model.dynamics

    @property
    def separable(self) -> bool:
        return self.model.separable

    @property
    def conserves_energy(self) -> bool:
        return self.model.conserves_energy

    @property
    def time_dependent(self) -> bool:
        return self.model.time_dependent

    @property
    def reach(self) -> float:
        return self.model.reach

    @property
    def span(self) -> int:
        return self.model.span

    @property
    def handles_padding(self) -> bool:
        return self.model.handles_padding

    def __call__(self, graphs: GraphsTuple) -> GraphScalars:
        return jax.lax.psum(self.model(SlottedGraphs(*graphs)), SLABS)

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        return self.model.gradient(SlottedGraphs(*graphs))

    def vector_field(self, graphs: GraphsTuple) -> Rates:
        return self.model.vector_field(SlottedGraphs(*graphs))

    def virial(self, graphs: GraphsTuple) -> Float[Array, "g d d"]:
        local, d = SlottedGraphs(*graphs), graphs.nodes["position"].shape[1]

        def own_energy(strain: Float[Array, "d d"]) -> Array:
            # The halo is strained with the slab, but its energies belong to other slabs.
            return self.model(strained(local, strain))[0]

        virial = jax.grad(own_energy)(jnp.zeros((d, d), graphs.nodes["position"].dtype))
        only_first = (jnp.arange(graphs.n_node.shape[0]) == 0)[:, None, None]
        return jnp.where(only_first, jax.lax.psum(virial, SLABS)[None], 0)


def over_slabs(model: AbstractModel, graph: GraphsTuple) -> tuple[AbstractModel, PartialGraphs]:
    """The model and a slab's graph such that energies and sums over bodies are those of all slabs;
    the first graph stands for the whole."""
    return OverSlabs(model), PartialGraphs(*graph)


def start_arrays(graph: GraphsTuple, state: tuple[str, ...]) -> dict[str, Array]:
    """The state at the start, under names of its own, so that it travels with the bodies."""
    return {START + name: graph.nodes[name] for name in state}


def start_of(graph: GraphsTuple, start: GraphsTuple) -> GraphsTuple:
    """The start with the bodies in the order of `graph`."""
    held = {k: v for k, v in graph.nodes.items() if k.startswith(START)}
    nodes = graph.nodes | {name.removeprefix(START): values for name, values in held.items()}
    return PartialGraphs(*graph._replace(nodes=nodes, globals=start.globals))


def whole(found: SlabList, values: Float[Array, "n ..."]) -> Float[Array, "N ..."]:
    """Values of all bodies of all slabs, in their own order, and of one body of padding."""
    number = jax.lax.all_gather(found.bodies[BODY], SLABS, tiled=True)
    every = jax.lax.all_gather(values, SLABS, tiled=True)
    rows = found.total + 2
    ordered = jnp.zeros((rows, *values.shape[1:]), values.dtype).at[number].set(every)
    # Number zero is padding, and what was written there last does not matter.
    return ordered.at[0].set(0)[1:]
