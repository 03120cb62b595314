"""Kinetic energy and degrees of freedom of mobile bodies."""

import jax.numpy as jnp
from jraph import GraphsTuple

from .._types import GraphScalars, Vectors
from .geometry import movable, sum_over_graphs


def kinetic_energy(graphs: GraphsTuple, p: Vectors) -> GraphScalars:
    r"""$\sum_i |p_i|^2 / 2 m_i$ over the mobile bodies of each graph, at the momenta p."""
    mobile = movable(graphs)
    mass = jnp.where(mobile, graphs.nodes["mass"], 1)  # zero for padding
    return sum_over_graphs(graphs, jnp.where(mobile, jnp.sum(p**2, axis=1) / mass, 0)) / 2


def degrees_of_freedom(graphs: GraphsTuple, constraints: int) -> GraphScalars:
    """d for each mobile body of each graph, less the constraints, at least one."""
    x = graphs.nodes["position"]
    free = x.shape[1] * sum_over_graphs(graphs, movable(graphs).astype(x.dtype))
    return jnp.maximum(free - constraints, 1)  # a divisor, and zero for padding
