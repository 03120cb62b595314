"""Selections from a batch: some of its graphs, or training and test trajectories."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Int
from jraph import GraphsTuple

from .._types import Key
from .padding import without_padding
from .schema import require


def split(data: GraphsTuple, fraction: float, *, key: Key) -> tuple[GraphsTuple, GraphsTuple]:
    """Splits a batch into (train, test) by trajectory, never by frame.

    Neighbouring frames of one trajectory are nearly the same state: a split by frame would test
    on the training data. `fraction` of the trajectories (at least one, not all) is drawn at random
    for the test. Padding is dropped. Concrete arrays only.

    **Raises:** `ValueError` if `globals["trajectory"]` is missing or holds fewer than two
    trajectories, or if the fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
    require(data, {"globals": ["trajectory"]}, "split")
    data = without_padding(data)
    trajectory = np.asarray(data.globals["trajectory"])
    numbers = np.unique(trajectory)
    if len(numbers) < 2:
        raise ValueError("split needs at least two trajectories; split one by time instead")
    order = np.asarray(jax.random.permutation(key, jnp.asarray(numbers)))
    count = min(max(round(fraction * len(numbers)), 1), len(numbers) - 1)
    test = np.isin(trajectory, order[:count])
    return take(data, ~test), take(data, test)


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
    n_node, n_edge = np.asarray(data.n_node), np.asarray(data.n_edge)
    chosen = chosen[: len(n_node)]
    node, edge = np.repeat(chosen, n_node), np.repeat(chosen, n_edge)
    renumber = np.cumsum(node) - 1
    return GraphsTuple(
        nodes={k: v[node] for k, v in data.nodes.items()},
        edges={k: v[edge] for k, v in data.edges.items()},
        senders=jnp.asarray(renumber[np.asarray(data.senders)[edge]], data.senders.dtype),
        receivers=jnp.asarray(renumber[np.asarray(data.receivers)[edge]], data.receivers.dtype),
        globals={k: v[chosen] for k, v in data.globals.items()},
        n_node=data.n_node[chosen],
        n_edge=data.n_edge[chosen],
    )


def permuted(data: GraphsTuple, order: Int[np.ndarray, " g"]) -> GraphsTuple:
    """The graphs of a batch without padding, in the given order. Concrete arrays only."""
    node, edge = (_ranges(np.asarray(n), order) for n in (data.n_node, data.n_edge))
    place = np.empty_like(node)
    place[node] = np.arange(len(node))
    return GraphsTuple(
        nodes={k: v[node] for k, v in data.nodes.items()},
        edges={k: v[edge] for k, v in data.edges.items()},
        senders=jnp.asarray(place[np.asarray(data.senders)[edge]], data.senders.dtype),
        receivers=jnp.asarray(place[np.asarray(data.receivers)[edge]], data.receivers.dtype),
        globals={k: v[order] for k, v in data.globals.items()},
        n_node=data.n_node[order],
        n_edge=data.n_edge[order],
    )


def _ranges(sizes: Int[np.ndarray, " g"], order: Int[np.ndarray, " g"]) -> Int[np.ndarray, " _"]:
    """Indices of the entries of consecutive groups of those sizes, group after group in order."""
    ends = np.cumsum(sizes)
    return np.concatenate([np.arange(ends[g] - sizes[g], ends[g]) for g in order])
