"""One liquid on several devices: agreement with one device, what is sent, and weak scaling.

Devices are virtual and share the cores of this machine, so that scaling shows the work that the
division adds, not the speed of a network: with perfect division the time per atom is the same for
any number of devices.
"""

import os
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

DEVICES = 8
flags = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={DEVICES}"  # read once

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax.dynamics import host_loop
from hgn_jax.graphs.cell import Cell

from .liquid import CUTOFF, DT, SKIN, SMOOTHED, Point, heated, lattice
from .record import Case, Record, main, seconds

CELLS = 4
"""Unit cells across the bar of liquid."""
LONG = 6
"""Unit cells along the bar for each device."""


def cases(quick: bool) -> Iterator[Case]:
    steps = (20, 60) if quick else (100, 1000)
    yield Case({"measured": "agreement", "devices": DEVICES}, partial(_agreement, *steps))
    yield Case({"measured": "program", "devices": DEVICES}, _program)
    for devices in (1, 2, DEVICES) if quick else (1, 2, 4, DEVICES):
        yield Case({"measured": "scaling", "devices": devices}, partial(_scaling, devices, quick))


def bar(devices: int) -> GraphsTuple:
    """Crystal of 4 x 4 cells across, warm enough to melt, and long in proportion to the devices."""
    cube = lattice(Point(CELLS))
    side = np.asarray(cube.globals["cell"][0, 0, 0]) / CELLS
    base = np.asarray(cube.nodes["position"])
    base = base[(base < side - 1e-9).all(axis=1)]  # one unit cell
    shape = (LONG * devices, CELLS, CELLS)
    corners = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 1, 3)
    graph = hgn.graphs.from_pairs((side * corners + base).reshape(-1, 3), [])
    graph = graph._replace(globals={"cell": jnp.asarray(side * np.diag(shape))[None]})
    return heated(graph, 1.5, jr.key(0))


def neighbours(devices: int) -> hgn.Neighbours:
    mesh = jax.sharding.Mesh(jax.devices()[:devices], ("x",)) if devices > 1 else None
    return hgn.Neighbours(CUTOFF, SKIN, mesh=mesh)


def rollout(graph: GraphsTuple, steps: int, devices: int, **options: Any) -> hgn.Trajectory:
    return hgn.rollout(
        SMOOTHED, graph, hgn.Every(steps, 1), dt=DT, neighbours=neighbours(devices), **options
    )


def _agreement(steps: int, later: int) -> Record:
    graph = bar(DEVICES)
    one, many = rollout(graph, steps, 1), rollout(graph, steps, DEVICES)
    slab = [_slabs(path, graph) for path in (one.position[0], one.position[-1])]
    late = rollout(graph, later, DEVICES, states=False).end
    # In one step momenta change by the mean of two forces.
    ends = [rollout(late, 1, devices).momentum for devices in (1, DEVICES)]
    kick = jnp.max(jnp.abs(ends[0][1] - ends[0][0]))
    return {
        "atoms": len(graph.nodes["position"]),
        "steps": steps,
        "changed_slab": int(np.sum(slab[0] != slab[1])),
        "position": float(jnp.max(jnp.abs(one.position - many.position))),
        "momentum": float(jnp.max(jnp.abs(one.momentum - many.momentum))),
        "later": later,
        "force": float(jnp.max(jnp.abs(ends[0] - ends[1])) / kick),
    }


def _slabs(position: jax.Array, graph: GraphsTuple) -> np.ndarray:
    x = Cell(np.asarray(graph.globals["cell"][0])).fractional(np.asarray(position))[:, 0]
    return np.floor(DEVICES * (x % 1)).astype(int)


def _program() -> Record:
    """Collective operations in the compiled loop of many steps."""
    found: dict[str, Any] = {}
    original = host_loop._advance

    def recorded(motion: Any, state: Any, steps: Any) -> Any:
        if not found:
            found["text"] = original.lower(motion, state, steps).compile().compiled.as_text()
        return original(motion, state, steps)

    host_loop._advance = recorded
    try:
        rollout(bar(DEVICES), 2, DEVICES, states=False)
    finally:
        host_loop._advance = original
    names = ("collective-permute", "all-reduce", "all-gather", "all-to-all", "reduce-scatter")
    return {name: len(re.findall(rf"= [^=]* {name}\(", found["text"])) for name in names}


def _scaling(devices: int, quick: bool) -> Record:
    graph, steps = bar(devices), 20 if quick else 100
    spec = neighbours(devices)
    n, side = len(graph.nodes["position"]), float(graph.globals["cell"][0, 0, 0]) / devices
    _, time = seconds(
        lambda: rollout(graph, steps, devices, states=False).energy, 1 if quick else 3
    )
    x = np.asarray(graph.nodes["position"])[:, 0] % side
    near = (x < spec.reach) | (x > side - spec.reach)
    return {
        "atoms": n,
        "ns_per_atom_step": 1e9 * time / (n * steps),
        "copies": float(near.mean()) if devices > 1 else 0.0,
    }


if __name__ == "__main__":
    main("devices", "One liquid on several devices", cases)
