"""A Lennard-Jones liquid in a periodic box, melted from a lattice and cooled; reduced units."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray
from jraph import GraphsTuple

import hgn_jax as hgn

CUTOFF, ONSET, SKIN, DT = 2.5, 2.0, 0.4, 0.004
SMOOTHED = hgn.systems.lennard_jones(cutoff=CUTOFF, onset=ONSET)
NEIGHBOURS = hgn.Neighbours(CUTOFF, SKIN)
STEPS = 12
"""Steps between two draws of momenta."""


class Point(NamedTuple):
    """A state of the liquid: 4 cells^3 atoms, repeated `copies` times along each axis."""

    cells: int
    density: float = 0.8442
    temperature: float = 0.72
    copies: int = 1


def lattice(point: Point) -> GraphsTuple:
    """Face-centred cubic lattice at rest, without edges."""
    base = np.array([(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)])
    side = (4 / point.density) ** (1 / 3)
    graph = hgn.graphs.from_pairs(side * (_corners(point.cells) + base).reshape(-1, 3), [])
    return graph._replace(globals={"cell": side * point.cells * jnp.eye(3)[None]})


def heated(graph: GraphsTuple, temperature: float, key: PRNGKeyArray) -> GraphsTuple:
    """Momenta drawn at that temperature, with zero total."""
    p = jnp.sqrt(temperature) * jr.normal(key, graph.nodes["position"].shape)
    return graph._replace(nodes=graph.nodes | {"momentum": p - jnp.mean(p, axis=0)})


def thermostat(
    graph: GraphsTuple, temperature: float, segments: int, key: PRNGKeyArray
) -> GraphsTuple:
    """Andersen's thermostat: momenta are drawn again at the start of every segment."""
    room = NEIGHBOURS.allocate(graph)
    for k in jr.split(key, segments):
        start = heated(graph, temperature, k)
        graph = hgn.rollout(SMOOTHED, start, hgn.Every(STEPS, 1), dt=DT, neighbours=room,
                            states=False).end  # fmt: skip
    return graph


def tiled(graph: GraphsTuple, copies: int) -> GraphsTuple:
    """The state repeated along each axis."""
    cell, momentum = graph.globals["cell"], graph.nodes["momentum"]
    steps = _corners(copies) * np.diagonal(cell[0])
    wide = hgn.graphs.from_pairs(
        (np.asarray(graph.nodes["position"]) + steps).reshape(-1, 3),
        [],
        momentum=np.tile(momentum, (copies**3, 1)),
    )
    return wide._replace(globals={"cell": copies * cell})


def joined(graph: GraphsTuple, reach: float) -> GraphsTuple:
    """The atoms with edges between all pairs within reach."""
    cell = jax.device_get(graph.globals["cell"][0])
    edges = hgn.graphs.radius(graph.nodes["position"], reach, cell=cell)
    return edges._replace(nodes=edges.nodes | {"momentum": graph.nodes["momentum"]})


def _corners(cells: int) -> np.ndarray:
    """Corners of that many cubes along each axis, `[cells^3 1 3]`."""
    return np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
