"""Species of bodies, and the types of pairs that follow from them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int
from jraph import GraphsTuple

from .._tree import is_concrete
from .geometry import node_mask


def species_of(data: GraphsTuple) -> tuple[int, ...]:
    """Species of all bodies in increasing order; empty if bodies have none.

    **Raises:** `ValueError` inside jit, where they are unknown.
    """
    if "species" not in data.nodes:
        return ()
    if not is_concrete((data.nodes["species"], data.n_node)):
        raise ValueError(
            'inside jit nodes["species"] are unknown: fit outside of jit, or leave species out'
        )
    with jax.ensure_compile_time_eval():  # inside jit the data may be constants
        real = np.asarray(node_mask(data))
    return tuple(np.unique(np.asarray(data.nodes["species"])[real]).tolist())


def typed_by_species(graphs: GraphsTuple, species: tuple[int, ...]) -> GraphsTuple:
    """The graphs with an edge `type` for every unordered pair of species, unless edges have one.

    Types number the pairs (0, 0), (0, 1), ..., (1, 1), ... of indices into `species`. A pair with
    any other species gets the next number after them.
    """
    if len(species) < 2 or "type" in graphs.edges:
        return graphs
    types = pair_types(graphs, species)
    return graphs._replace(edges=graphs.edges | {"type": types})


def pair_types(graphs: GraphsTuple, species: tuple[int, ...]) -> Int[Array, " e"]:
    """Type of each edge by the species of its ends."""
    count = len(species)
    known = jnp.asarray(species, graphs.nodes["species"].dtype)
    index = jnp.searchsorted(known, graphs.nodes["species"]).astype(jnp.int32)
    # `searchsorted` also gives unknown species an index, or `count` beyond the last one.
    is_known = known[jnp.minimum(index, count - 1)] == graphs.nodes["species"]
    ends = index[graphs.senders], index[graphs.receivers]
    low, high = jnp.minimum(*ends), jnp.maximum(*ends)
    # Row `low` of the upper triangle follows rows of count, count - 1, ... pairs.
    types = low * count - low * (low - 1) // 2 + high - low
    both = is_known[graphs.senders] & is_known[graphs.receivers]
    return jnp.where(both, types, count * (count + 1) // 2)


def by_composition(data: GraphsTuple) -> Int[np.ndarray, " g"]:
    """Numbers of the graphs of a batch without padding, those with the same species together."""
    graph = np.repeat(np.arange(len(data.n_node)), np.asarray(data.n_node))
    _, kind = np.unique(np.asarray(data.nodes["species"]), return_inverse=True)
    held = np.zeros((len(data.n_node), kind.max(initial=0) + 1), bool)
    held[graph, kind] = True
    return np.lexsort(held.T[::-1])  # sorted by which species a graph has
