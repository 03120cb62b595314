"""Layout of a graph over the devices of a mesh, made on the host: sizes and bodies of slabs."""

import math
import warnings
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jraph import GraphsTuple

from .cell import Cell
from .cell_list import Sizes, grid_index, run_lengths, with_spare
from .dense_edges import DiagonalCellGraphs, SlottedGraphs
from .pair_search import most_neighbours
from .slab_list import GRAPHS
from .slabs import PADDING, SLABS, Capacity, around_slab, from_middle, search_cell, slab_mesh

BODY = "slab: body"
"""Node array with the number of each body in the whole graph, from one; zero for padding."""
CROWDED = 2
"""Ratio to its even share above which a slab holds too many bodies."""


def check_mesh(mesh: Any) -> None:
    """Raises `ValueError` unless it is a mesh of equal devices along one axis."""
    if not isinstance(mesh, jax.sharding.Mesh):
        raise ValueError(
            f'mesh must be a mesh, such as jax.make_mesh((8,), ("x",)), got {type(mesh).__name__}'
        )
    if len(mesh.axis_names) != 1:
        raise ValueError(
            f"bodies are divided along one axis, but the mesh has {dict(mesh.shape)}: use "
            f'jax.make_mesh(({mesh.size},), ("x",))'
        )
    kinds = sorted({device.device_kind for device in mesh.devices.ravel()})
    if len(kinds) > 1:
        raise ValueError(f"all devices of the mesh must be of one kind, got {', '.join(kinds)}")


def check_slabs(graph: GraphsTuple, slabs: int) -> None:
    """Raises `ValueError` for a graph that cannot be divided into that many slabs."""
    n = len(graph.nodes["position"])
    if "cell" not in graph.globals:
        raise ValueError(
            "a mesh divides a periodic cell, but the graph has none: leave out mesh, or give a "
            "cell that is larger than the bodies' extent by the cutoff"
        )
    if n < slabs:
        raise ValueError(f"the mesh has {slabs} devices, but there are only {n} bodies")


def slab_sizes(
    position: np.ndarray, cell: Cell, reach: float, skin: float, slabs: int, span: int
) -> Sizes:
    """Sizes that suffice for these positions; slabs have some to spare.

    **Raises:** `ValueError` if slabs are thinner than twice their halo.

    **Warns** if one slab has more than twice its share of the bodies.
    """
    axis = int(np.argmax(cell.heights))
    width, thickness = span * reach, float(cell.heights[axis]) / slabs
    if thickness < 2 * width:
        raise ValueError(
            f"slabs would be {thickness:.4g} thick, but must be at least {2 * width:.4g}, twice "
            f"the distance up to which bodies act on those of a slab: use at most "
            f"{max(1, int(cell.heights[axis] / (2 * width)))} devices, or a larger cell"
        )
    box = search_cell(cell, slabs, width, axis)
    n, d = position.shape
    most_cells = max(1, int((4 * n / slabs) ** (1 / d)))
    grid = tuple(int(min(most_cells, max(1, 2 * side // reach))) for side in box.heights)
    half = thickness / 2
    bodies, halo, run = [], 0, 0
    for slab in range(slabs):
        x = from_middle(position, cell, slab, slabs, axis) * cell.heights[axis]
        own, near = abs(x) <= half, abs(x) <= half + width
        bodies.append(int(own.sum()))
        halo = max(halo, *(int((own & (s * x >= half - width)).sum()) for s in (-1, 1)))
        held = around_slab(position[near], cell, slab, slabs, axis)
        index = np.asarray(grid_index(jnp.asarray(held), box, reach, grid))
        number = np.ravel_multi_index(index.T, grid)
        filled = np.bincount(number, minlength=math.prod(grid)).reshape(-1, grid[-1])
        run = max(run, int(np.max(run_lengths(filled))))
    if max(bodies) > CROWDED * n / slabs:
        warnings.warn(
            f"slab {int(np.argmax(bodies))} of {slabs} holds {max(bodies)} of {n} bodies, and the "
            "other devices will wait for it: bodies should be spread along lattice vector "
            f"{axis + 1}, the longest",
            stacklevel=4,
        )
    # Until the next search bodies move by half the skin.
    leavers = 8 + math.ceil(halo * skin / width)
    capacity = larger(Capacity(0, 0, 0, span, axis, n), (max(bodies), halo, leavers))
    return Sizes(most_neighbours(position, reach, cell), run, grid, slabs=capacity)


def larger(capacity: Capacity, needs: tuple[int, ...]) -> Capacity:
    """The capacity, enlarged where it is less than the needs, with some to spare."""
    bodies, halo, leavers = (
        max(with_spare(need), size * 5 // 4) if need + padding > size else size
        for need, size, padding in zip(needs, capacity[:3], (PADDING, 0, 0))
    )
    return capacity._replace(bodies=bodies, halo=halo, leavers=leavers)


def divided(
    graph: GraphsTuple, sizes: Sizes, mesh: jax.sharding.Mesh, extra: dict[str, Any]
) -> GraphsTuple:
    """The bodies of each slab, on its device: arrays begin with an axis of slabs.

    `extra` are further node arrays that travel with the bodies.
    """
    capacity, slabs = sizes.slabs, mesh.size
    assert capacity is not None
    cell = Cell(np.asarray(graph.globals["cell"], float)[0])
    x = cell.fractional(np.asarray(graph.nodes["position"], float))[:, capacity.axis]
    slab = np.minimum((slabs * (x - np.floor(x))).astype(int), slabs - 1)
    own = [np.flatnonzero(slab == k) for k in range(slabs)]
    sharding = NamedSharding(slab_mesh(mesh), PartitionSpec(SLABS))

    def on_devices(parts: Iterable[np.ndarray], rows: int) -> jax.Array:
        filled = np.stack([_filled(part, rows) for part in parts])
        return jax.make_array_from_callback(filled.shape, sharding, lambda k: filled[k])

    nodes = {name: np.asarray(a) for name, a in (graph.nodes | extra).items()}
    nodes[BODY] = np.arange(1, len(x) + 1, dtype=np.int32)
    counts = [np.array([len(k), 0, capacity.bodies - 1 - len(k), 0, 1], np.int32) for k in own]
    empty = on_devices([np.zeros(0, np.int32)] * slabs, 0)
    kind = DiagonalCellGraphs if sizes.diagonal else SlottedGraphs
    return kind(
        nodes={name: on_devices((a[k] for k in own), capacity.bodies) for name, a in nodes.items()},
        edges={},
        senders=empty,
        receivers=empty,
        globals={
            name: on_devices([np.asarray(a)] * slabs, GRAPHS) for name, a in graph.globals.items()
        },
        n_node=on_devices(counts, GRAPHS),
        n_edge=on_devices([np.zeros(1, np.int32)] * slabs, GRAPHS),
    )


def _filled(values: np.ndarray, rows: int) -> np.ndarray:
    return np.concatenate([values, np.zeros((rows - len(values), *values.shape[1:]), values.dtype)])
