"""Data sets cut into pieces of one shape."""

import itertools
from collections.abc import Iterator

import jax
import numpy as np
from jraph import GraphsTuple

from .._arguments import whole_number
from .padding import PADDING_GRAPHS, pad, without_padding
from .schema import require


def chunks(data: GraphsTuple, size: int, window: int | None = 1) -> Iterator[GraphsTuple]:
    """The batch in pieces of at most `size` graphs, padded to one shape: a jitted function compiles
    once.

    A window of frames stays together: pieces are cut only at multiples of `window` frames from the
    start of each trajectory (consecutive graphs of equal `globals["trajectory"]`), or only between
    trajectories if it is None. A piece holds at least one window, even if that is longer than
    `size`. Padding in the data is left out. Concrete arrays only.

    **Raises:** `ValueError` if a trajectory is not a whole number of windows.
    """
    size = whole_number("size", size, 1)
    data = without_padding(jax.tree.map(np.asarray, data))
    cuts = _cuts(_windows(data, window), size)
    starts = [np.append(0, np.cumsum(n)) for n in (data.n_node, data.n_edge)]
    # Python's integers: NumPy's would widen the senders.
    spans = [
        (slice(a, b), *(slice(int(s[a]), int(s[b])) for s in starts))
        for a, b in itertools.pairwise(cuts)
    ]
    most = [max((s.stop - s.start for s in parts), default=0) for parts in zip(*spans)]
    for graphs, nodes, edges in spans:
        piece = GraphsTuple(
            nodes={k: v[nodes] for k, v in data.nodes.items()},
            edges={k: v[edges] for k, v in data.edges.items()},
            senders=data.senders[edges] - nodes.start,
            receivers=data.receivers[edges] - nodes.start,
            globals={k: v[graphs] for k, v in data.globals.items()},
            n_node=data.n_node[graphs],
            n_edge=data.n_edge[graphs],
        )
        yield pad(piece, n_graph=most[0] + PADDING_GRAPHS, n_node=most[1] + 1, n_edge=most[2])


def _windows(data: GraphsTuple, window: int | None) -> np.ndarray:
    """The graphs before which a piece may begin, and the number of graphs."""
    graphs = len(data.n_node)
    if window == 1:
        return np.arange(graphs + 1)
    require(data, {"globals": ["trajectory"]}, f"window={window}")
    number = data.globals["trajectory"]
    trajectories = np.concatenate([[0], np.flatnonzero(np.diff(number)) + 1, [graphs]])
    if window is None:
        return trajectories
    window = whole_number("window", window, 1)
    lengths = np.diff(trajectories)
    if (lengths % window).any():
        k = int(np.argmax(lengths % window > 0))
        raise ValueError(
            f"trajectory {int(number[trajectories[k]])} has {lengths[k]} frames, which is no "
            f"multiple of the window {window}"
        )
    return np.arange(0, graphs + 1, window)


def _cuts(windows: np.ndarray, size: int) -> list[int]:
    """Ends of pieces of whole windows, as many as fit into `size` graphs."""
    ends = windows.tolist()
    cuts = ends[:1]
    for end, following in zip(ends[1:], [*ends[2:], None]):
        if following is None or following - cuts[-1] > size:
            cuts.append(end)
    return cuts
