"""States of bodies with an axis for `bench.axes`."""

import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax.features.contact import surface_distance

NEAREST, FARTHEST = 0.95, 2.5
"""Range of the shifted distance of Gay and Berne in the data, in diameters."""


def square() -> GraphsTuple:
    """Four dipoles at the corners of a square."""
    corners = hgn.graphs.lattice((2, 2, 1), spacing=1.8).nodes["position"]
    return with_inertia(hgn.graphs.fully_connected(4, 3, position=corners), 0.4)


def two(distance: float, along: int) -> GraphsTuple:
    """Two bodies that nearly point along the third axis, turning and vibrating; one is displaced
    along an axis of space."""
    position = jnp.zeros((2, 3)).at[1, along].set(distance)
    graph = with_inertia(hgn.graphs.fully_connected(2, 3, position=position), 0.4)
    axis = jnp.array([[0.0, 0.0, 1.0], [0.0, np.sin(0.2), np.cos(0.2)]])
    spin = jnp.array([[0.2, 0.0, 0.0], [-0.1, 0.0, 0.0]])
    p = jnp.array([[0.1, 0.2, 0.0], [-0.1, -0.2, 0.0]])
    moving = {"axis": axis, "angular_momentum": spin, "momentum": p}
    return graph._replace(nodes=graph.nodes | moving)


def in_a_row() -> GraphsTuple:
    """Two dipoles, head to tail, near their minimum."""
    return two(1.26, 2)


def side_by_side() -> GraphsTuple:
    """Two ellipsoids, near their minimum."""
    return two(1.12, 0)


def with_inertia(graph: GraphsTuple, inertia: float) -> GraphsTuple:
    values = jnp.full(len(graph.nodes["position"]), inertia)
    return graph._replace(nodes=graph.nodes | {"inertia": values})


def pairs(system: hgn.systems.Rotors, count: int, seed: int) -> GraphsTuple:
    """Pairs in random directions, whose shifted distance is uniform, with forces and torques."""
    potential, rng = system.potential, np.random.default_rng(seed)
    assert isinstance(potential, hgn.systems.GayBerne)
    axis, along = unit(rng, (count, 2, 3)), unit(rng, (count, 3))
    a, b = np.einsum("nkd,nd->kn", axis, along)
    c = np.sum(axis[:, 0] * axis[:, 1], axis=1)
    shifted = rng.uniform(NEAREST, FARTHEST, count)
    # The shifted distance is r less a function of the cosines.
    r = shifted - surface_distance(np.stack([0 * a, a, b, c]), (potential.side, potential.end))
    position = np.stack([np.zeros((count, 3)), r[:, None] * along], axis=1)
    still = np.zeros((count, 2, 3))
    states = {"position": position, "axis": axis, "momentum": still, "angular_momentum": still}
    number = {"trajectory": jnp.arange(count, dtype=jnp.int32)}
    data = hgn.graphs.snapshots(
        side_by_side(), {k: jnp.asarray(v) for k, v in states.items()}, number
    )
    rates = dict(zip(system.dynamics.observed, system.vector_field(data)))
    return data._replace(nodes=data.nodes | rates)


def unit(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    vectors = rng.normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
