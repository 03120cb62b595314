"""Data sets as one GraphsTuple: copies, batches, padding to fixed shapes, splits."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, ArrayLike
from jraph import GraphsTuple

from .._types import Key
from .geometry import bodies


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

    **Raises:** `ValueError` naming the graph whose arrays differ from the first one's.
    """
    if not graphs:
        raise ValueError("batch needs at least one graph")
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
    """The graphs of a batch, one by one, padding left out."""
    mass = np.asarray(graphs.nodes["mass"])
    ends = np.cumsum(np.asarray(graphs.n_node))
    real = [bool((mass[e - k : e] > 0).any()) for e, k in zip(ends, np.asarray(graphs.n_node))]
    # Copies: jraph renumbers the senders and receivers in place.
    parts = jraph.unbatch_np(jax.tree.map(np.array, graphs))
    return [_like(graph, graphs) for graph, keep in zip(parts, real) if keep]


def pad(graphs: GraphsTuple, *, n_node: int, n_edge: int, n_graph: int) -> GraphsTuple:
    """Pads to fixed totals, so that a jitted function compiles once.

    The padding is a trailing graph of massless nodes with self-loops (jraph's convention), which
    energies, fits and checks ignore. `n_node` and `n_graph` must exceed the batch's own numbers by
    at least one, `n_edge` must not be less. Concrete arrays only.

    **Raises:** `ValueError` if the batch does not fit.
    """
    have = (len(graphs.nodes["mass"]), len(graphs.senders), len(graphs.n_node))
    if n_node <= have[0] or n_edge < have[1] or n_graph <= have[2]:
        raise ValueError(
            f"cannot pad {have[0]} nodes, {have[1]} edges, {have[2]} graphs to {n_node}, {n_edge}, "
            f"{n_graph}: need at least {have[0] + 1}, {have[1]}, {have[2] + 1}"
        )

    def fill(total: int, value: int = 0) -> Callable[[ArrayLike], Array]:
        def filled(array: ArrayLike) -> Array:
            values = np.asarray(array)
            rest = np.full((total - len(values), *values.shape[1:]), value, values.dtype)
            return jnp.asarray(np.concatenate([values, rest]), values.dtype)

        return filled

    def counts(number: ArrayLike, rest: int) -> Array:
        return fill(n_graph)(np.append(np.asarray(number), np.asarray(number).dtype.type(rest)))

    first = fill(n_edge, have[0])
    return GraphsTuple(
        nodes={k: fill(n_node)(v) for k, v in graphs.nodes.items()},
        edges={k: fill(n_edge)(v) for k, v in graphs.edges.items()},
        senders=first(graphs.senders),
        receivers=first(graphs.receivers),
        globals={k: fill(n_graph)(v) for k, v in graphs.globals.items()},
        n_node=counts(graphs.n_node, n_node - have[0]),
        n_edge=counts(graphs.n_edge, n_edge - have[1]),
    )


def chunks(data: GraphsTuple, size: int, window: int | None = 1) -> Iterator[GraphsTuple]:
    """The batch in pieces of `size` graphs, padded to one shape: a jitted function compiles once.

    Padding in the data is left out. Concrete arrays only.
    """
    if size < 1:
        raise ValueError(f"a piece needs at least one graph, got size {size}")
    if not len(data.n_node):
        return
    data = jax.tree.map(np.asarray, data)
    owner = np.repeat(np.arange(len(data.n_node)), data.n_node)
    real = np.bincount(owner, data.nodes["mass"] > 0, minlength=len(data.n_node)) > 0
    data = jax.tree.map(np.asarray, data if real.all() else take(data, real))
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
        yield pad(piece, n_node=int(nodes) + 1, n_edge=int(edges), n_graph=size + 1)


def split(data: GraphsTuple, fraction: float, *, key: Key) -> tuple[GraphsTuple, GraphsTuple]:
    """Splits a batch into (train, test) by trajectory, never by frame.

    Neighbouring frames of one trajectory are nearly the same state: a split by frame would test
    on the training data. `fraction` of the trajectories (at least one, not all) goes to the second
    part, drawn at random; padding goes to neither. Concrete arrays only.

    **Raises:** `ValueError` if `globals["trajectory"]` is missing or names fewer than two.
    """
    if "trajectory" not in data.globals:
        raise ValueError('split needs globals["trajectory"] (an integer per graph)')
    trajectory = np.asarray(data.globals["trajectory"])
    real = np.asarray(bodies(data)) > 0
    numbers = np.unique(trajectory[real])
    if len(numbers) < 2:
        raise ValueError("split needs at least two trajectories; split one by time instead")
    order = np.asarray(jax.random.permutation(key, jnp.asarray(numbers)))
    count = min(max(round(fraction * len(numbers)), 1), len(numbers) - 1)
    test = np.isin(trajectory, order[:count])
    return take(data, real & ~test), take(data, real & test)


def take(data: GraphsTuple, keep: ArrayLike) -> GraphsTuple:
    """The graphs of a batch for which `keep` `[g]` is true. Concrete arrays only."""
    chosen = np.asarray(keep, dtype=bool)
    n_node, n_edge = np.asarray(data.n_node), np.asarray(data.n_edge)
    if chosen.shape != n_node.shape:
        raise ValueError(f"keep must have one entry per graph {n_node.shape}, got {chosen.shape}")
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
