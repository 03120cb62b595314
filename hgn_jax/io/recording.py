"""One trajectory of bodies as plain arrays: what readers return and writers take."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jraph import GraphsTuple

from ..graphs.padding import without_padding

MOVING = (
    "position", "momentum", "velocity", "force", "axis", "angular_momentum", "axis_velocity",
    "torque",
)  # fmt: skip
"""Arrays `[t n d]`."""
OF_BODIES = ("mass", "inertia", "species", "charge", "fixed")
"""Arrays `[n]`, the same at all times."""
OF_PAIRS = ("coupling", "type")


@dataclasses.dataclass(frozen=True)
class Recording:
    """A trajectory of n bodies at t times, under this library's names."""

    where: str
    """Name in errors, such as "run.h5, trajectory 0"."""
    times: np.ndarray | None
    """`[t]`; None if the source states none."""
    moving: Mapping[str, np.ndarray]
    """`position`, `momentum`, `velocity`, `force`, and those of axes, each `[t n d]`."""
    bodies: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """`mass`, `inertia`, `species`, `charge`, `fixed`, each `[n]`; `names`, a list, in tables."""
    pairs: np.ndarray | None = None
    """Pairs that interact `[p 2]`, each once; None if unknown, or if they change."""
    of_pairs: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """`coupling` and `type`, each `[p]`."""
    cell: np.ndarray | None = None
    """Lattice vectors as rows, `[d d]` or `[t d d]`; None if nothing is periodic."""
    observed: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """Further quantities `[t ...]`, such as `energy`."""
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Unit of each array that the source states one for."""


@runtime_checkable
class HasRecordings(Protocol):
    """A source of trajectories that can be written, such as the result of a rollout."""

    def recordings(self) -> list[Recording]:
        """One recording per graph."""
        ...


def of_motion(
    graph: GraphsTuple,
    times: np.ndarray,
    moving: Mapping[str, np.ndarray],
    observed: Mapping[str, np.ndarray],
    cells: np.ndarray | None,
    keeps_edges: bool,
) -> list[Recording]:
    """One recording per graph of a batch that moved.

    `moving` holds arrays `[t n d]` of all bodies, `observed` arrays `[t g ...]`, `cells` those that
    moved with the bodies `[t g d d]`, if they did.
    """
    graphs: Any = without_padding(graph)
    nodes, edges = _ends(graphs.n_node), _ends(graphs.n_edge)
    recordings = []
    for k in range(len(graphs.n_node)):
        pairs, of_pairs = _pairs(graphs, k, nodes, edges) if keeps_edges else (None, {})
        cell = np.asarray(graphs.globals["cell"])[k] if "cell" in graphs.globals else None
        recordings.append(
            Recording(
                where=f"graph {k}",
                times=times,
                moving={name: a[:, nodes[k] : nodes[k + 1]] for name, a in moving.items()},
                bodies={
                    name: np.asarray(graphs.nodes[name])[nodes[k] : nodes[k + 1]]
                    for name in OF_BODIES
                    if name in graphs.nodes
                },
                pairs=pairs,
                of_pairs=of_pairs,
                cell=cell if cells is None else cells[:, k],
                observed={name: a[:, k] for name, a in observed.items()},
            )
        )
    return recordings


def recordings_of(data: GraphsTuple) -> list[Recording]:
    """One recording per trajectory of a data set.

    **Raises:** `ValueError` if the bodies of a trajectory change.
    """
    graphs: Any = without_padding(data)
    numbers = np.asarray(graphs.globals.get("trajectory", np.zeros(len(graphs.n_node), int)))
    return [
        _of_frames(graphs, np.flatnonzero(numbers == number), f"trajectory {number}")
        for number in np.unique(numbers)
    ]


def _of_frames(graphs: Any, frames: np.ndarray, where: str) -> Recording:
    nodes, edges = _ends(graphs.n_node), _ends(graphs.n_edge)
    sizes = np.diff(nodes)[frames]
    if len(set(sizes)) > 1:
        raise ValueError(
            f"the frames of {where} have {sizes.min()} to {sizes.max()} bodies: number "
            'trajectories of equal bodies in globals["trajectory"], or write .npz, which holds any '
            "data set"
        )

    def stacked(name: str) -> np.ndarray:
        values = np.asarray(graphs.nodes[name])
        return np.stack([values[nodes[k] : nodes[k + 1]] for k in frames])

    bodies = {name: stacked(name) for name in OF_BODIES if name in graphs.nodes}
    for name, values in bodies.items():
        if (values != values[:1]).any():
            raise ValueError(f"{name} changes in {where}: write .npz, which holds any data set")
    globals_ = {name: np.asarray(array)[frames] for name, array in graphs.globals.items()}
    joined = [_pairs(graphs, int(k), nodes, edges) for k in frames]
    same = all(_equal(pairs, joined[0]) for pairs in joined)
    times, cell = globals_.pop("time", None), globals_.pop("cell", None)
    globals_.pop("trajectory", None)
    return Recording(
        where=where,
        times=times,
        moving={name: stacked(name) for name in MOVING if name in graphs.nodes},
        bodies={name: values[0] for name, values in bodies.items()},
        pairs=joined[0][0] if same else None,
        of_pairs=joined[0][1] if same else {},
        cell=cell,
        observed=globals_,
    )


def _pairs(
    graphs: Any, k: int, nodes: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    """Pairs `[p 2]` of graph k, each once, and their arrays; None for edges to images."""
    if "shift" in graphs.edges:
        return None, {}
    own = slice(edges[k], edges[k + 1])
    senders, receivers = (np.asarray(a)[own] - nodes[k] for a in (graphs.senders, graphs.receivers))
    once = senders < receivers
    pairs = np.stack([senders[once], receivers[once]], axis=1)
    return pairs, {q: np.asarray(graphs.edges[q])[own][once] for q in OF_PAIRS if q in graphs.edges}


def _equal(a: Any, b: Any) -> bool:
    return np.array_equal(a[0], b[0]) and all(np.array_equal(a[1][k], b[1][k]) for k in a[1])


def _ends(counts: Any) -> np.ndarray:
    return np.cumsum(np.concatenate([[0], np.asarray(counts)]))
