"""Data sets as one GraphsTuple: copies, batches, chunks, splits."""

from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, ArrayLike
from jraph import GraphsTuple

from .._types import Key
from .padding import PADDING_GRAPHS, pad, without_padding


def snapshots(
    graph: GraphsTuple, nodes: Mapping[str, ArrayLike], globals_: Mapping[str, ArrayLike]
) -> GraphsTuple:
    """One graph's topology repeated for s snapshots.

    `nodes` holds arrays `[s n ...]` and `globals_` arrays `[s ...]`; node arrays of `graph` that
    `nodes` does not name are repeated. jit- and vmap-able.
    """
    s = next(iter(nodes.values())).shape[0]  # type: ignore[union-attr]
    n = graph.nodes["position"].shape[0]
    offset = n * jnp.arange(s, dtype=graph.senders.dtype)[:, None]

    def repeat(array: Array) -> Array:
        return jnp.broadcast_to(array, (s, *array.shape)).reshape(-1, *array.shape[1:])

    return GraphsTuple(
        nodes={k: repeat(v) for k, v in graph.nodes.items() if k not in nodes}
        | {k: jnp.reshape(v, (s * n, *jnp.shape(v)[2:])) for k, v in nodes.items()},
        edges={k: repeat(v) for k, v in graph.edges.items()},
        senders=(graph.senders[None] + offset).ravel(),
        receivers=(graph.receivers[None] + offset).ravel(),
        globals={k: repeat(v) for k, v in graph.globals.items() if k not in globals_}
        | {k: jnp.asarray(v) for k, v in globals_.items()},
        n_node=jnp.tile(graph.n_node, s),
        n_edge=jnp.tile(graph.n_edge, s),
    )


def batch(graphs: Sequence[GraphsTuple]) -> GraphsTuple:
    """Concatenates graphs into one. All must carry the same arrays; concrete ones only.

    Padding is left out: `pad` the batch, not its members.

    **Raises:** `ValueError` naming the graph whose arrays differ from the first one's.
    """
    if not graphs:
        raise ValueError("batch needs at least one graph")
    graphs = [without_padding(graph) for graph in graphs]
    for i, graph in enumerate(graphs):
        for part in ("nodes", "edges", "globals"):
            here, first = set(getattr(graph, part)), set(getattr(graphs[0], part))
            if here != first:
                raise ValueError(
                    f"graph {i} has {part} {sorted(here)}, graph 0 has {sorted(first)}"
                )
        for name, array in _named_arrays(graph).items():
            first_array = _named_arrays(graphs[0])[name]
            if (array.shape[1:], array.dtype) != (first_array.shape[1:], first_array.dtype):
                raise ValueError(
                    f"{name} of graph {i} is {array.dtype} [_, {array.shape[1:]}], that of graph 0 "
                    f"{first_array.dtype} [_, {first_array.shape[1:]}]"
                )
    return _like(jraph.batch_np([jax.tree.map(np.asarray, g) for g in graphs]), graphs[0])


def unbatch(graphs: GraphsTuple) -> list[GraphsTuple]:
    """The graphs of a batch, one by one, without its padding."""
    graphs = without_padding(graphs)
    # Copies: jraph renumbers the senders and receivers in place.
    parts = jraph.unbatch_np(jax.tree.map(np.array, graphs))
    return [_like(part, graphs) for part in parts]


def chunks(data: GraphsTuple, size: int, window: int | None = 1) -> Iterator[GraphsTuple]:
    """The batch in pieces of `size` graphs, padded to one shape: a jitted function compiles once.

    Padding in the data is left out. Concrete arrays only.
    """
    if size < 1:
        raise ValueError(f"a piece needs at least one graph, got size {size}")
    if not len(data.n_node):
        return
    data = without_padding(jax.tree.map(np.asarray, data))
    starts = range(0, len(data.n_node), size)
    ends = [np.append(0, np.cumsum(n)) for n in (data.n_node, data.n_edge)]
    # Python's integers: NumPy's would widen the senders.
    spans = [[(int(e[a]), int(e[min(a + size, len(e) - 1)])) for a in starts] for e in ends]
    nodes, edges = (max(b - a for a, b in span) for span in spans)
    for start, (a, b), (c, d) in zip(starts, *spans):
        graphs = slice(start, start + size)
        piece = GraphsTuple(
            nodes={k: v[a:b] for k, v in data.nodes.items()},
            edges={k: v[c:d] for k, v in data.edges.items()},
            senders=data.senders[c:d] - a,
            receivers=data.receivers[c:d] - a,
            globals={k: v[graphs] for k, v in data.globals.items()},
            n_node=data.n_node[graphs],
            n_edge=data.n_edge[graphs],
        )
        yield pad(piece, n_node=nodes + 1, n_edge=edges, n_graph=size + PADDING_GRAPHS)


def split(data: GraphsTuple, fraction: float, *, key: Key) -> tuple[GraphsTuple, GraphsTuple]:
    """Splits a batch into (train, test) by trajectory, never by frame.

    Neighbouring frames of one trajectory are nearly the same state: a split by frame would test
    on the training data. `fraction` of the trajectories (at least one, not all) goes to the second
    part, drawn at random; padding goes to neither. Concrete arrays only.

    **Raises:** `ValueError` if `globals["trajectory"]` is missing or names fewer than two.
    """
    if "trajectory" not in data.globals:
        raise ValueError('split needs globals["trajectory"] (an integer per graph)')
    data = without_padding(data)
    trajectory = np.asarray(data.globals["trajectory"])
    numbers = np.unique(trajectory)
    if len(numbers) < 2:
        raise ValueError("split needs at least two trajectories; split one by time instead")
    order = np.asarray(jax.random.permutation(key, jnp.asarray(numbers)))
    count = min(max(round(fraction * len(numbers)), 1), len(numbers) - 1)
    test = np.isin(trajectory, order[:count])
    return take(data, ~test), take(data, test)


def take(data: GraphsTuple, keep: ArrayLike) -> GraphsTuple:
    """The graphs of a batch for which `keep` `[g]` is true; padding is left out.

    Concrete arrays only.
    """
    chosen = np.asarray(keep, dtype=bool)
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


def _named_arrays(graph: GraphsTuple) -> dict[str, Array]:
    return {
        f"{part}[{name!r}]": array
        for part in ("nodes", "edges", "globals")
        for name, array in getattr(graph, part).items()
    }


def _like(graphs: GraphsTuple, model: GraphsTuple) -> GraphsTuple:
    """jraph computes indices in NumPy's default integers: back to JAX arrays of the same types."""
    return jax.tree.map(lambda array, like: jnp.asarray(array, like.dtype), graphs, model)
