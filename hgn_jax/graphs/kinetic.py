"""Kinetic energy and degrees of freedom of mobile bodies."""

import jax.numpy as jnp
from jraph import GraphsTuple

from .._types import GraphScalars, NodeScalars, Vectors
from .geometry import movable, sum_over_graphs, velocity_of
from .rotation import angular_velocity_of

VELOCITIES = {"momentum": velocity_of, "angular_momentum": angular_velocity_of}
"""Velocities of bodies by the momenta to which they belong."""


def velocities(graphs: GraphsTuple) -> dict[str, Vectors]:
    """Velocities that belong to the momenta which the graphs hold, by the names of the momenta."""
    return {name: of(graphs) for name, of in VELOCITIES.items() if name in graphs.nodes}


def node_kinetic_energy(graphs: GraphsTuple) -> NodeScalars:
    r"""$|p_i|^2 / 2 m_i + |L_i|^2 / 2 I_i$ of every body, from the momenta that the graphs hold."""
    energy = jnp.zeros_like(graphs.nodes["position"][:, 0])
    for name, velocity in velocities(graphs).items():
        # p . v = |p|^2 / m is twice the kinetic energy.
        energy += jnp.sum(graphs.nodes[name] * velocity, axis=1) / 2
    return energy


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
