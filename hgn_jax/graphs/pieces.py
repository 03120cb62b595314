"""Data sets cut into chunks of equal shape."""

import itertools
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jaxtyping import Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .padding import PADDING_GRAPHS, pad, without_padding
from .schema import require

WORTH = 2000
"""Bodies whose rows take about as long as the compilation of a program."""


def chunks(
    data: GraphsTuple, size: int, window: int | None = 1, *, shorter_last: bool = False
) -> Iterator[GraphsTuple]:
    """Splits a batch into chunks of at most `size` graphs, padded to one shape.

    A jitted function of the chunks therefore compiles once. Padding of the batch itself is dropped.
    Concrete arrays only.

    Windows of frames stay together: cuts are made only at multiples of `window` frames from the
    start of each trajectory (consecutive graphs of equal `globals["trajectory"]`), or only between
    trajectories if `window` is None. A chunk holds at least one window, even if that is longer than
    `size`. With `shorter_last` the last window of a trajectory may have fewer frames.

    **Raises:** `ValueError` if a trajectory is not a whole number of windows, and `shorter_last` is
    False.
    """
    size = whole_number("size", size, 1)
    data = without_padding(jax.tree.map(np.asarray, data))
    pieces = list(_pieces(data, _cuts(_windows(data, window, shorter_last), size)))
    yield from _padded(pieces, [0] * len(pieces))


def packs(
    data: GraphsTuple, bodies: int, window: int | None = 1, *, shorter_last: bool = False
) -> Iterator[GraphsTuple]:
    """Splits a batch into chunks of at most `bodies` bodies, or of one window that has more.

    Chunks are padded to one of a few shapes, so that chunks of small graphs stay small beside a
    large graph: sizes differ by factors of 1.5 at least, and a size is left out if the padding to
    the next one adds fewer than `WORTH` bodies in all. Otherwise like `chunks`.
    """
    data = without_padding(jax.tree.map(np.asarray, data))
    ends = np.append(0, np.cumsum(data.n_node))
    windows = _windows(data, window, shorter_last)
    cuts = windows[:1].tolist()
    for end, following in itertools.pairwise([*windows[1:].tolist(), None]):
        if following is None or ends[following] - ends[cuts[-1]] > bodies:
            cuts.append(end)
    pieces = list(_pieces(data, cuts))
    yield from _padded(pieces, _levels(np.array([len(p.nodes["position"]) for p in pieces])))


def _levels(sizes: Int[np.ndarray, " p"]) -> list[int]:
    """Chunks of equal level are padded to one shape."""
    # The summand keeps factors of exactly 1.5 above the rounding of the logarithms.
    levels = np.floor(np.log(sizes.max() / sizes) / np.log(1.5) + 1e-9).astype(int)
    # From the smallest chunks up, so that merged levels may merge once more.
    for level in range(levels.max(), 0, -1):
        own, larger = levels == level, levels[levels < level].max()
        if np.sum(sizes[levels == larger].max() - sizes[own]) < WORTH:
            levels[own] = larger
    return levels.tolist()


def _pieces(data: GraphsTuple, cuts: list[int]) -> Iterator[GraphsTuple]:
    """The graphs between consecutive cuts."""
    starts = [np.append(0, np.cumsum(n)) for n in (data.n_node, data.n_edge)]
    # Python's integers: NumPy's int64 would widen the dtype of the senders.
    spans = [
        (slice(a, b), *(slice(int(s[a]), int(s[b])) for s in starts))
        for a, b in itertools.pairwise(cuts)
    ]
    for graphs, nodes, edges in spans:
        yield GraphsTuple(
            nodes={k: v[nodes] for k, v in data.nodes.items()},
            edges={k: v[edges] for k, v in data.edges.items()},
            senders=data.senders[edges] - nodes.start,
            receivers=data.receivers[edges] - nodes.start,
            globals={k: v[graphs] for k, v in data.globals.items()},
            n_node=data.n_node[graphs],
            n_edge=data.n_edge[graphs],
        )


def _padded(pieces: Sequence[GraphsTuple], levels: Sequence[int]) -> Iterator[GraphsTuple]:
    """Pads the pieces of each level to one shape."""
    largest: dict[int, tuple[int, int, int]] = {}
    for piece, level in zip(pieces, levels):
        sizes = (len(piece.n_node), len(piece.nodes["position"]), len(piece.senders))
        before = largest.get(level, (0, 0, 0))
        largest[level] = (
            max(sizes[0], before[0]),
            max(sizes[1], before[1]),
            max(sizes[2], before[2]),
        )
    for piece, level in zip(pieces, levels):
        graphs, nodes, edges = largest[level]
        yield pad(piece, n_graph=graphs + PADDING_GRAPHS, n_node=nodes + 1, n_edge=edges)


def _windows(data: GraphsTuple, window: int | None, shorter_last: bool) -> np.ndarray:
    """Numbers of the graphs that begin a window, and the number of all graphs at the end."""
    graphs = len(data.n_node)
    if window == 1:  # needs no trajectories
        return np.arange(graphs + 1)
    require(data, {"globals": ["trajectory"]}, f"window={window}")
    number = data.globals["trajectory"]
    trajectories = np.concatenate([[0], np.flatnonzero(np.diff(number)) + 1, [graphs]])
    if window is None:
        return trajectories
    window = whole_number("window", window, 1)
    lengths = np.diff(trajectories)
    if not shorter_last and (lengths % window).any():
        k = int(np.argmax(lengths % window > 0))
        raise ValueError(
            f"trajectory {int(number[trajectories[k]])} has {lengths[k]} frames, which is not a "
            f"multiple of the window {window}"
        )
    starts = [np.arange(a, b, window) for a, b in itertools.pairwise(trajectories.tolist())]
    return np.concatenate([*starts, [graphs]])


def _cuts(windows: np.ndarray, size: int) -> list[int]:
    """Ends of chunks, each of as many whole windows as fit into `size` graphs."""
    ends = windows.tolist()
    cuts = ends[:1]
    # Cut where the next window would no longer fit.
    for end, following in zip(ends[1:], [*ends[2:], None]):
        if following is None or following - cuts[-1] > size:
            cuts.append(end)
    return cuts
