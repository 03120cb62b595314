"""Data sets as one GraphsTuple: snapshots of one graph, batches of several graphs."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, ArrayLike
from jraph import GraphsTuple

from .padding import without_padding


def snapshots(
    graph: GraphsTuple, nodes: Mapping[str, ArrayLike], globals_: Mapping[str, ArrayLike]
) -> GraphsTuple:
    """Repeats the topology of one graph for s snapshots.

    `nodes` holds arrays `[s n ...]` and `globals_` arrays `[s ...]`. Arrays of `graph` that they do
    not name are repeated. Works under jit and vmap.
    """
    s = next(iter(nodes.values())).shape[0]  # type: ignore[union-attr]
    n = graph.nodes["position"].shape[0]
    offset = n * jnp.arange(s, dtype=graph.senders.dtype)[:, None]  # int64 would widen the senders

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
    """Concatenates graphs into one batch. All must carry the same arrays, and be concrete.

    Padding is dropped: `pad` the batch, not its members.

    **Raises:** `ValueError` naming the first graph whose arrays differ from those of graph 0 in
    name, shape or dtype.
    """
    if not graphs:
        raise ValueError("batch needs at least one graph")
    graphs = [without_padding(graph) for graph in graphs]
    for i, graph in enumerate(graphs):
        for part in ("nodes", "edges", "globals"):
            names, first_names = set(getattr(graph, part)), set(getattr(graphs[0], part))
            if names != first_names:
                raise ValueError(
                    f"graph {i} has {part} {sorted(names)}, graph 0 has {sorted(first_names)}"
                )
        # Otherwise `_like` would round a graph in float64 to the precision of graph 0.
        for name, array in _named_arrays(graph).items():
            first_array = _named_arrays(graphs[0])[name]
            if (array.shape[1:], array.dtype) != (first_array.shape[1:], first_array.dtype):
                raise ValueError(
                    f"{name} of graph {i} is {array.dtype} [_, {array.shape[1:]}], that of graph 0 "
                    f"{first_array.dtype} [_, {first_array.shape[1:]}]"
                )
    # On the host: on a device, concatenation is compiled for every set of shapes.
    return _like(jraph.batch_np([jax.tree.map(np.asarray, g) for g in graphs]), graphs[0])


def unbatch(graphs: GraphsTuple) -> list[GraphsTuple]:
    """Splits a batch into its graphs; padding is dropped."""
    graphs = without_padding(graphs)
    # Copied, because jraph renumbers senders and receivers in place.
    parts = jraph.unbatch_np(jax.tree.map(np.array, graphs))
    return [_like(part, graphs) for part in parts]


def _named_arrays(graph: GraphsTuple) -> dict[str, Array]:
    return {
        f"{part}[{name!r}]": array
        for part in ("nodes", "edges", "globals")
        for name, array in getattr(graph, part).items()
    }


def _like(graphs: GraphsTuple, model: GraphsTuple) -> GraphsTuple:
    """Converts to JAX arrays of `model`'s dtypes: jraph returns NumPy's default integers."""
    return jax.tree.map(lambda array, like: jnp.asarray(array, like.dtype), graphs, model)
