"""`check`: what is wrong with a data set, and where. Runs on concrete arrays, outside of jit."""

import warnings
from collections import Counter
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

from .._tree import is_concrete
from .cell import is_singular, require_cell, require_shift

_NODES = {
    "position": "n d", "momentum": "n d", "velocity": "n d", "force": "n d",
    "mass": "n", "weight": "n", "species": "n", "fixed": "n",
}  # fmt: skip
_EDGES = {"shift": "e d", "coupling": "e", "type": "e"}
_GLOBALS = {"energy": "g", "cell": "g d d", "time": "g", "trajectory": "g"}
_INTEGER = {"species", "type", "trajectory", "shift"}
_FLOATING = {"position", "momentum", "velocity", "force", "mass", "weight", "coupling", "energy"}


def warn_about_precision(data: GraphsTuple) -> None:
    """Says what a fit in float32 costs."""
    if jax.dtypes.canonicalize_dtype(data.nodes["position"].dtype) == jnp.float32:
        warnings.warn(
            "fitting in float32: expect relative errors of about 1e-6 instead of 1e-13. For 64-bit "
            'call jax.config.update("jax_enable_x64", True) before the data are made.',
            stacklevel=3,
        )


def check(data: GraphsTuple) -> None:
    """Raises `ValueError` for bad data, naming array, frame (graph) and node or edge.

    Checked: keys and shapes; NaN and Inf; positive masses; cells that span a volume,
    and shifts beside them; edges inside their graph, each with its reverse of equal coupling, type
    and opposite shift, and only once; no two joined bodies in one place; weights, and species that
    are not negative.
    Padding (a trailing massless graph of self-loops) is passed over.

    `fit` calls it when its data are concrete. Inside jit no value can be inspected.
    """
    if not isinstance(data, GraphsTuple):
        raise ValueError(f"expected a jraph GraphsTuple, got {type(data).__name__}")
    if not is_concrete(data):
        raise ValueError("check needs concrete arrays: call it outside of jit, vmap and grad")
    graphs = jax.tree.map(np.asarray, data)
    if not all(isinstance(p, Mapping) for p in (graphs.nodes, graphs.edges, graphs.globals)):
        raise ValueError("nodes, edges and globals must be dicts of arrays ({} if there are none)")
    _check_shapes(graphs)
    padding = _padding_graphs(graphs)
    frame_of_node = np.repeat(np.arange(len(graphs.n_node)), graphs.n_node)
    frame_of_edge = np.repeat(np.arange(len(graphs.n_node)), graphs.n_edge)
    _check_finite(graphs, frame_of_node, frame_of_edge)
    _check_masses(graphs, padding[frame_of_node], frame_of_node)
    _check_signs(graphs, frame_of_node, frame_of_edge)
    _check_cells(graphs, padding)
    _check_edges(graphs, frame_of_node, frame_of_edge)
    _check_pairs(graphs, padding[frame_of_edge], frame_of_node, frame_of_edge)


def _check_shapes(graphs: GraphsTuple) -> None:
    for part, known, required in (
        ("nodes", _NODES, ("position", "momentum", "mass")),
        ("edges", _EDGES, ()),
        ("globals", _GLOBALS, ()),
    ):
        arrays = getattr(graphs, part)
        if missing := [name for name in required if name not in arrays]:
            raise ValueError(f"{part} lacks {missing}; it has {sorted(arrays)}")
        if unknown := sorted(set(arrays) - set(known)):
            raise ValueError(f"{part} has unknown keys {unknown}; known are {sorted(known)}")
    position = graphs.nodes["position"]
    if position.ndim != 2:
        raise ValueError(f'nodes["position"] must be [n d], got {position.shape}')
    sizes = {
        "n": position.shape[0], "d": position.shape[1],
        "e": len(graphs.senders), "g": len(graphs.n_node),
    }  # fmt: skip
    for part, known in (("nodes", _NODES), ("edges", _EDGES), ("globals", _GLOBALS)):
        for name, array in getattr(graphs, part).items():
            expected = tuple(sizes[axis] for axis in known[name].split())
            if array.shape != expected:
                raise ValueError(
                    f"{part}[{name!r}] must be [{known[name]}] = {expected}, got {array.shape}"
                )
            if name == "fixed" and array.dtype != bool:
                raise ValueError(f'nodes["fixed"] must hold booleans, got {array.dtype}')
            if name in _FLOATING and not np.issubdtype(array.dtype, np.floating):
                raise ValueError(f"{part}[{name!r}] must hold floats, got {array.dtype}")
            if name in _INTEGER and not np.issubdtype(array.dtype, np.integer):
                raise ValueError(f"{part}[{name!r}] must hold integers, got {array.dtype}")
    if "shift" in graphs.edges and "cell" not in graphs.globals:
        raise ValueError('edges["shift"] counts images of globals["cell"], which is missing')
    require_shift(graphs)
    for name in ("senders", "receivers", "n_node", "n_edge"):
        if not np.issubdtype(getattr(graphs, name).dtype, np.integer):
            raise ValueError(f"{name} must hold integers, got {getattr(graphs, name).dtype}")
    if (graphs.n_node < 0).any() or (graphs.n_edge < 0).any():
        raise ValueError("n_node and n_edge must not be negative")
    if graphs.receivers.shape != graphs.senders.shape:
        raise ValueError(f"{sizes['e']} senders but {len(graphs.receivers)} receivers")
    if graphs.n_node.sum() != sizes["n"] or graphs.n_edge.sum() != sizes["e"]:
        raise ValueError(
            f"n_node and n_edge sum to {graphs.n_node.sum()} and {graphs.n_edge.sum()}, but there "
            f"are {sizes['n']} nodes and {sizes['e']} edges"
        )


def _padding_graphs(graphs: GraphsTuple) -> np.ndarray:
    """Graphs at the end of the batch as `pad` appends them: massless, self-loops only, and not the
    whole batch."""
    count = len(graphs.n_node)
    frame = np.repeat(np.arange(count), graphs.n_node)
    edge_frame = np.repeat(np.arange(count), graphs.n_edge)
    real = np.bincount(frame, graphs.nodes["mass"] != 0, minlength=count) > 0
    real |= np.bincount(edge_frame, graphs.senders != graphs.receivers, minlength=count) > 0
    padding = np.cumsum(real[::-1])[::-1] == 0
    # Only `pad` makes massless nodes that nothing joins and nothing moves.
    still = np.bincount(frame, (graphs.nodes["position"] != 0).any(axis=1), minlength=count) == 0
    return padding & still if real.any() else np.zeros(count, dtype=bool)


def _check_finite(
    graphs: GraphsTuple, frame_of_node: np.ndarray, frame_of_edge: np.ndarray
) -> None:
    frames = {
        "nodes": frame_of_node,
        "edges": frame_of_edge,
        "globals": np.arange(len(graphs.n_node)),
    }
    for part, frame in frames.items():
        for name, array in getattr(graphs, part).items():
            bad = np.argwhere(~np.isfinite(array))
            if len(bad):
                where = _locate(part, frame, int(bad[0, 0]))
                raise ValueError(
                    f"{part}[{name!r}] is NaN or Inf in {where} ({len(bad)} such entries)"
                )


def _locate(part: str, frame: np.ndarray, i: int) -> str:
    """Frame, and number within it, of entry i; `frame` holds the frame of every entry, sorted."""
    if part == "globals":
        return f"frame {i}"
    return f"frame {frame[i]}, {part[:-1]} {i - int(np.searchsorted(frame, frame[i]))}"


def _check_masses(graphs: GraphsTuple, padding: np.ndarray, frame: np.ndarray) -> None:
    bad = ~(graphs.nodes["mass"] > 0) & ~padding
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(
            f'nodes["mass"] must be positive; it is {graphs.nodes["mass"][i]} in '
            f"{_locate('nodes', frame, i)} ({bad.sum()} such nodes)"
        )


def _check_cells(graphs: GraphsTuple, padding: np.ndarray) -> None:
    if "cell" not in graphs.globals:
        return
    bad = is_singular(graphs.globals["cell"]) & ~padding
    if bad.any():
        frame = int(np.argmax(bad))
        require_cell(graphs.globals["cell"][frame], f'globals["cell"] of frame {frame}')


def _check_signs(graphs: GraphsTuple, frame: np.ndarray, edge_frame: np.ndarray) -> None:
    for part, name, frames in (
        ("nodes", "weight", frame),
        ("nodes", "species", frame),
        ("edges", "type", edge_frame),
    ):
        array = getattr(graphs, part).get(name, np.zeros(0))
        if (array < 0).any():
            i = int(np.argmax(array < 0))
            raise ValueError(f"{part}[{name!r}] is negative in {_locate(part, frames, i)}")


def _check_edges(graphs: GraphsTuple, frame_of_node: np.ndarray, frame_of_edge: np.ndarray) -> None:
    n = len(frame_of_node)
    for name in ("senders", "receivers"):
        index = getattr(graphs, name)
        outside = (index < 0) | (index >= n)
        if not outside.any():
            outside = frame_of_node[index] != frame_of_edge
        if outside.any():
            e = int(np.argmax(outside))
            raise ValueError(
                f"{name} of edge {e} points to node {index[e]}, outside its graph "
                f"(frame {frame_of_edge[e]})"
            )


def _check_pairs(
    graphs: GraphsTuple, padding: np.ndarray, frame_of_node: np.ndarray, frame_of_edge: np.ndarray
) -> None:
    keep = ~padding
    sender, receiver = graphs.senders[keep], graphs.receivers[keep]
    shift = graphs.edges.get("shift", np.zeros((len(keep), 0)))[keep]
    kind = [graphs.edges[k][keep] for k in ("type", "coupling") if k in graphs.edges]
    starts = np.concatenate([[0], np.cumsum(graphs.n_node)])

    def locate(e: int) -> str:
        frame = frame_of_node[sender[e]]
        a, b = sender[e] - starts[frame], receiver[e] - starts[frame]
        return f"frame {frame}, edge {a} -> {b}"

    there = np.lexsort([*kind, *shift.T, receiver, sender])
    back = np.lexsort([*kind, *-shift.T, sender, receiver])
    same = (sender[there] == receiver[back]) & (receiver[there] == sender[back])
    same &= (shift[there] == -shift[back]).all(axis=1)
    if not same.all():
        edge = _without_reverse(sender, receiver, shift)
        raise ValueError(f"every pair must stand in both directions: no match in {locate(edge)}")
    twice = (np.diff(sender[there]) == 0) & (np.diff(receiver[there]) == 0)
    twice &= (np.diff(shift[there], axis=0) == 0).all(axis=1)
    if twice.any():
        raise ValueError(
            f"a pair stands more than once: {locate(int(there[np.argmax(twice)]))}; each pair "
            "once, in both directions"
        )
    for name, values in zip([k for k in ("type", "coupling") if k in graphs.edges], kind):
        same = values[there] == values[back]
        if not same.all():
            raise ValueError(
                f"edges[{name!r}] differs between the two directions of a pair in "
                f"{locate(_first(there, same))}"
            )
    position = graphs.nodes["position"]
    vector = position[receiver] - position[sender]
    if "cell" in graphs.globals and shift.size:
        vector = vector + np.einsum(
            "ek,ekd->ed", shift, graphs.globals["cell"][frame_of_edge[keep]]
        )
    together = ~(vector != 0).any(axis=1)
    if together.any():
        raise ValueError(
            f"two bodies in one place: {locate(int(np.argmax(together)))} has length zero"
        )


def _without_reverse(sender: np.ndarray, receiver: np.ndarray, shift: np.ndarray) -> int:
    """The first edge that stands more often than its reverse."""
    edges = np.column_stack([sender, receiver, shift]).tolist()
    count = Counter(map(tuple, edges))
    back = np.column_stack([receiver, sender, -shift]).tolist()
    return next(e for e, r in enumerate(back) if count[tuple(r)] < count[tuple(edges[e])])


def _first(order: np.ndarray, same: np.ndarray) -> int:
    return int(order[np.argmin(same)])
