"""Selections from a batch: single graphs, some of its graphs, training and test."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Int
from jraph import GraphsTuple

from .._arguments import as_key, whole_number
from .._types import Key
from .padding import without_padding
from .schema import require


def split(
    data: GraphsTuple, fraction: float, *, key: Key | int | None = None, gap: float = 0.05
) -> tuple[GraphsTuple, GraphsTuple]:
    """Splits a batch into (train, test): by trajectory, or by time if there is only one.

    Neighbouring frames of one trajectory are nearly the same state: a split by frame would test
    on the training data. `fraction` of the trajectories (at least one, not all) is drawn at random
    for the test. Of a single trajectory, the last `fraction` of the frames is the test, and the
    frames before it, the share `gap` of all (at least one), are left out. The gap should be longer
    than the motion remembers. Padding is dropped. Concrete arrays only.

    **Arguments:**

    - `fraction`: share of the test, between 0 and 1.
    - `key`: a JAX key or a seed; needed for several trajectories.
    - `gap`: share of the frames between train and test; for a single trajectory only.

    **Raises:** `ValueError` if `globals["trajectory"]` is missing, a share is out of range, frames
    are too few, the times of a single trajectory do not increase, or the key is missing.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
    require(data, {"globals": ["trajectory"]}, "split")
    data = without_padding(data)
    trajectory = np.asarray(data.globals["trajectory"])
    numbers = np.unique(trajectory)
    if len(numbers) < 2:
        return _split_by_time(data, fraction, gap)
    if key is None:
        raise ValueError(
            f"the test is drawn at random from {len(numbers)} trajectories: give a seed, key=0"
        )
    order = np.asarray(jax.random.permutation(as_key(key), jnp.asarray(numbers)))
    count = min(max(round(fraction * len(numbers)), 1), len(numbers) - 1)
    test = np.isin(trajectory, order[:count])
    return take(data, ~test), take(data, test)


def _split_by_time(
    data: GraphsTuple, fraction: float, gap: float
) -> tuple[GraphsTuple, GraphsTuple]:
    frames = len(data.n_node)
    if not 0 <= gap < 1 - fraction:
        raise ValueError(f"gap must be from 0 to less than 1 - fraction, got {gap}")
    times = np.asarray(data.globals.get("time", np.arange(frames)))
    if (np.diff(times) <= 0).any():
        raise ValueError(
            "the times of the only trajectory do not increase: number the trajectories in "
            'globals["trajectory"]'
        )
    tested, between = max(round(fraction * frames), 1), max(round(gap * frames), 1)
    trained = frames - tested - between
    if trained < 1:
        raise ValueError(f"{frames} frames are too few to split: train, gap and test need one each")
    number = np.arange(frames)
    return take(data, number < trained), take(data, number >= trained + between)


def frame(data: GraphsTuple, number: int) -> GraphsTuple:
    """One graph of a batch, such as the start of a rollout; -1 is the last. Concrete arrays only.

    **Raises:** `ValueError` for a number that the batch does not have.
    """
    data = without_padding(data)
    frames = len(data.n_node)
    number = whole_number("the number of a frame", number, -frames)
    if number >= frames:
        raise ValueError(f"there is no frame {number}: the batch has {frames}, counted from 0")
    return picked(data, np.array([number % frames]))  # -1 % frames is the last frame


def take(data: GraphsTuple, keep: ArrayLike | Sequence[bool]) -> GraphsTuple:
    """Selects the graphs of a batch for which `keep` `[g]` is True. Padding is dropped.

    Concrete arrays only.

    **Raises:** `ValueError` unless `keep` holds one boolean per graph. Numbers of graphs are
    refused, since they would silently count as True.
    """
    chosen = np.asarray(keep)
    if chosen.dtype != bool:
        raise ValueError(
            f"keep must hold booleans, one per graph, got {chosen.dtype}: pick graphs by number "
            "with np.isin(np.arange(graphs), numbers)"
        )
    if chosen.shape != data.n_node.shape:
        raise ValueError(
            f"keep must have one entry per graph {data.n_node.shape}, got {chosen.shape}"
        )
    data = without_padding(data)
    return picked(data, np.flatnonzero(chosen[: len(data.n_node)]))  # padding comes last


def picked(data: GraphsTuple, numbers: Int[np.ndarray, " _"]) -> GraphsTuple:
    """The graphs of a batch without padding that have these numbers, in the order of the numbers.
    Concrete arrays only."""
    node, edge = (_ranges(np.asarray(n), numbers) for n in (data.n_node, data.n_edge))
    place = np.zeros(len(data.nodes["position"]), int)
    place[node] = np.arange(len(node))  # other nodes keep 0, which no chosen edge reads
    return GraphsTuple(
        nodes={k: v[node] for k, v in data.nodes.items()},
        edges={k: v[edge] for k, v in data.edges.items()},
        senders=jnp.asarray(place[np.asarray(data.senders)[edge]], data.senders.dtype),
        receivers=jnp.asarray(place[np.asarray(data.receivers)[edge]], data.receivers.dtype),
        globals={k: v[numbers] for k, v in data.globals.items()},
        n_node=data.n_node[numbers],
        n_edge=data.n_edge[numbers],
    )


def _ranges(sizes: Int[np.ndarray, " g"], numbers: Int[np.ndarray, " _"]) -> np.ndarray:
    """Indices of the entries of consecutive groups of those sizes: those of the groups with these
    numbers."""
    ends = np.cumsum(sizes)
    spans = [np.arange(ends[g] - sizes[g], ends[g]) for g in numbers]
    return np.concatenate([np.zeros(0, int), *spans])  # an empty list cannot be concatenated
