"""Minibatches of graphs picked inside a compiled loop."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int
from jraph import GraphsTuple

from ..graphs.batching import unbatch
from ..graphs.geometry import edge_mask, node_mask
from ..graphs.padding import PADDING_GRAPHS, pad


def stacked(data: GraphsTuple) -> GraphsTuple:
    """Every array with a leading axis of graphs; graphs that differ in size are padded."""
    sizes = np.stack([np.asarray(data.n_node), np.asarray(data.n_edge)])
    if (sizes == sizes[:, :1]).all():  # one size: no padding
        graphs = sizes.shape[1]
        first = np.cumsum(sizes[0]) - sizes[0]

        def reshaped(array: Array) -> Array:
            return jnp.reshape(array, (graphs, -1, *array.shape[1:]))

        split = jax.tree.map(reshaped, data)
        # Stacked edges count the nodes of their own graph.
        offset = first.astype(data.senders.dtype)[:, None]
        return split._replace(senders=split.senders - offset, receivers=split.receivers - offset)
    nodes, edges = int(sizes[0].max()) + 1, int(sizes[1].max())  # padding edges need a node
    padded = [
        pad(graph, n_node=nodes, n_edge=edges, n_graph=1 + PADDING_GRAPHS)
        for graph in unbatch(data)
    ]
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *padded)


def joined(stacks: GraphsTuple, chosen: Int[Array, " batch"]) -> GraphsTuple:
    """The chosen graphs as one batch."""
    picked = jax.tree.map(lambda array: array[chosen], stacks)
    nodes = picked.nodes["position"].shape[1]
    offset = nodes * jnp.arange(chosen.shape[0], dtype=picked.senders.dtype)[:, None]
    moved = picked._replace(senders=picked.senders + offset, receivers=picked.receivers + offset)
    flat = jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), moved)
    if picked.n_node.shape[1] == 1:  # stacked without padding
        return flat
    masks = (jax.vmap(mask)(picked).ravel() for mask in (node_mask, edge_mask))
    return _padding_last(flat, *masks)


def _padding_last(
    graphs: GraphsTuple, nodes: Bool[Array, " n"], edges: Bool[Array, " e"]
) -> GraphsTuple:
    """Moves the padding of graphs that were padded one by one to the end; masks are true for the
    rest."""
    # Stable: real nodes keep their order, and padding follows them.
    node_order, edge_order = (jnp.argsort(~real, stable=True) for real in (nodes, edges))
    place = jnp.argsort(node_order).astype(graphs.senders.dtype)  # inverse permutation
    stride = 1 + PADDING_GRAPHS

    def counts(number: Int[Array, " g"]) -> Int[Array, " _"]:
        # Of the padding graphs of an entry, the first holds all nodes, and the last is empty.
        padding = (
            jnp.zeros_like(number[:PADDING_GRAPHS])
            .at[0]
            .set(jnp.sum(number[1::stride], dtype=number.dtype))
        )
        return jnp.concatenate([number[::stride], padding])

    return GraphsTuple(
        nodes={k: v[node_order] for k, v in graphs.nodes.items()},
        edges={k: v[edge_order] for k, v in graphs.edges.items()},
        senders=place[graphs.senders[edge_order]],
        receivers=place[graphs.receivers[edge_order]],
        globals={
            k: jnp.concatenate([v[::stride], jnp.zeros_like(v[:PADDING_GRAPHS])])
            for k, v in graphs.globals.items()
        },
        n_node=counts(graphs.n_node),
        n_edge=counts(graphs.n_edge),
    )
