r"""Jacobians of many-body features as matrix products.

By the chain rule $\partial B_k / \partial x_a = \sum_{i,zn,lm} W_{a,i,zn,lm} D_{i,zn,lm,k}$: W
holds the slopes of the densities' functions at the edges, D the derivatives of the features with
respect to the densities. For a batch of a few small graphs this is one matrix product, after a sum
over periodic images of each neighbour. In large graphs most of W is zero: every body has its own
products, each with a block of its neighbours.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from jraph import GraphsTuple

from ..graphs.geometry import count, graph_index
from .densities import Densities
from .signatures import Factor, Signature

Weights = Float[Array, "_ _ Q"]
"""Radial weights `[F K Q]` of the F factors of K features, for every species and radial index."""
Product = Callable[[int, Float[Array, "m n N K"]], Float[Array, "*rows K"]]
"""Multiplies W by the block of D that belongs to one degree."""

LARGE = 256
"""Number of bodies above which most of W is zero, and W is not formed."""
SLOTS, SITES = 32, 16
"""Neighbours in one product of a large graph, and number of such products at a time."""


def factors(
    densities: Float[Array, "LM n Q"], signature: Signature, weights: Weights
) -> list[Factor]:
    """Densities weighted with the random radial functions of each factor, `[2l+1 n K]`."""
    return [
        jnp.einsum("mnq,kq->mnk", densities[k * k : (k + 1) ** 2], w, precision="highest")
        for k, w in zip(signature.degrees, weights)
    ]


def derivatives(
    densities: Float[Array, "LM n Q"],
    signatures: Sequence[Signature],
    weights: Sequence[Weights],
) -> list[list[Factor]]:
    """Derivatives of each signature's features with respect to their factors."""
    return [
        signature.slopes(factors(densities, signature, w))
        for signature, w in zip(signatures, weights)
    ]


def chained(
    multiply: Product,
    slopes: Sequence[Sequence[Factor]],
    signatures: Sequence[Signature],
    weights: Sequence[Float[Array, "_ _ N"]],
    degree: int,
) -> Float[Array, "*rows K"]:
    """W D for neighbours of one species: for each degree, one product over the features that have a
    factor of it."""
    total: list[list[Array]] = [[] for _ in signatures]
    for own in range(degree + 1):
        # Features of all signatures side by side: one wide product instead of many narrow ones.
        having = [k for k, signature in enumerate(signatures) if own in signature.degrees]
        if not having:
            continue
        right = [
            sum(
                # Chain rule: a factor is the sum of densities times its radial weights.
                slopes[k][f][:, :, None] * weights[k][f].T[None, None]
                for f, of_factor in enumerate(signatures[k].degrees)
                if of_factor == own
            )
            for k in having
        ]
        rows, start = multiply(own, jnp.concatenate(right, axis=3)), 0
        for k in having:
            end = start + weights[k].shape[1]
            total[k].append(rows[..., start:end])
            start = end
    return jnp.concatenate([sum(blocks[1:], start=blocks[0]) for blocks in total], axis=-1)


def in_one_product(design: Float[Array, "rows LM R"]) -> Product:
    """Product with the whole W of a small batch; R runs over bodies and radial indices."""

    def multiply(own: int, right: Float[Array, "m n N K"]) -> Float[Array, "rows K"]:
        left = design[:, own * own : (own + 1) ** 2].reshape(len(design), -1)
        return jnp.dot(left, right.reshape(left.shape[1], -1), precision="highest")

    return multiply


def design(
    functions: Densities, graphs: GraphsTuple, dtype: jnp.dtype, z: Int[Array, ""]
) -> Float[Array, "rows LM R"]:
    """W for neighbours of species z: three rows for every body, then nine for every graph (the
    virial)."""
    n, g = count(graphs), len(graphs.n_node)
    vector = functions.vectors(graphs).astype(dtype)
    slopes = functions.slopes(vector).transpose(3, 0, 1, 2)  # [e 3 LM N]
    kind = functions.kind(graphs)[graphs.senders]
    mine = jnp.where((kind == z)[:, None, None, None], slopes, 0)
    # Rows are moved bodies, columns central ones. Images of one neighbour add up.
    pulls = jax.ops.segment_sum(mine, graphs.senders * n + graphs.receivers, n * n)
    # Vectors begin at the central body: its own motion, on the diagonal, has the other sign.
    pulls -= jax.ops.segment_sum(mine, graphs.receivers * (n + 1), n * n)
    strain = vector.T[:, :, None, None, None] * mine[:, None]
    virial = jax.ops.segment_sum(strain, graphs.receivers, n)
    # The virial of a graph has columns for its own bodies alone.
    inside = graph_index(graphs)[None] == jnp.arange(g, dtype=jnp.int32)[:, None]
    virial = jnp.where(inside.reshape(g, n, 1, 1, 1, 1), virial[None], 0)
    rows = (
        pulls.reshape(n, n, 3, *mine.shape[2:]).transpose(0, 2, 3, 1, 4),
        virial.transpose(0, 2, 3, 4, 1, 5),
    )
    return jnp.concatenate([r.reshape(-1, mine.shape[2], n * mine.shape[3]) for r in rows])


def by_neighbours(
    functions: Densities,
    graphs: GraphsTuple,
    z: Int[Array, ""],
    rows: Callable[[Product, Int[Array, " s"]], Float[Array, "s r K"]],
    none: Float[Array, "rows K"],
) -> Float[Array, "rows K"]:
    """The same rows for a large graph: `rows` multiplies with the blocks of W of a few bodies."""
    n, g = count(graphs), len(graphs.n_node)
    centre, edge, valid = _in_slots(graphs)
    kind, index = functions.kind(graphs)[graphs.senders], graph_index(graphs)
    vectors = functions.vectors(graphs).astype(none.dtype)

    def add(total: tuple[Array, Array], at: tuple[Array, Array, Array]) -> tuple[Any, None]:
        pulls, virial = total
        body, neighbours, real = at
        edges = neighbours.ravel()
        active = real & (kind[neighbours] == z)
        slopes = functions.slopes(vectors[:, edges])  # [3 LM N e]
        slopes = slopes.reshape(*slopes.shape[:3], *neighbours.shape).transpose(3, 4, 0, 1, 2)
        # Empty slots repeat an edge, and add zeros.
        left = jnp.where(active[:, :, None, None, None], slopes, 0)
        left = left.reshape(len(body), -1, *left.shape[3:])

        def multiply(own: int, right: Float[Array, "m s N K"]) -> Float[Array, "s r K"]:
            part = left[:, :, own * own : (own + 1) ** 2]
            return jnp.einsum("srmn,msnk->srk", part, right, precision="highest")

        by_edge = rows(multiply, body).reshape(*neighbours.shape, 3, -1)
        # A vector grows with the neighbour's position and shrinks with the central body's.
        pulls = pulls.at[graphs.senders[edges]].add(by_edge.reshape(-1, *by_edge.shape[2:]))
        pulls = pulls.at[body].add(-jnp.sum(by_edge, axis=1))
        strain = jnp.einsum("ase,sexk->saxk", vectors[:, edges].reshape(3, *active.shape), by_edge)
        return (pulls, virial.at[index[body]].add(strain)), None

    start = none[: 3 * n].reshape(n, 3, -1), none[3 * n :].reshape(g, 3, 3, -1)
    pieces = jax.tree.map(lambda a: a.reshape(-1, SITES, *a.shape[1:]), (centre, edge, valid))
    pulls, virial = jax.lax.scan(add, start, pieces)[0]
    return jnp.concatenate([pulls.reshape(3 * n, -1), virial.reshape(9 * g, -1)])


def sum_where(present: Array, of: Callable[[Array], Array], none: Array) -> Array:
    """Sum of the values of those species z that are present."""
    if len(present) == 1:
        return of(jnp.zeros((), jnp.int32))

    def add(total: Array, z: Array) -> tuple[Array, None]:
        return total + jax.lax.cond(present[z], of, lambda _: none, z), None

    return jax.lax.scan(add, none, jnp.arange(len(present), dtype=jnp.int32))[0]


def _in_slots(
    graphs: GraphsTuple,
) -> tuple[Int[Array, " s"], Int[Array, "s e"], Bool[Array, "s e"]]:
    """Edges in groups of up to `SLOTS` with one receiver: receiver, edges, and which exist."""
    n, e = count(graphs), len(graphs.receivers)
    order = jnp.argsort(graphs.receivers)
    degree = jax.ops.segment_sum(jnp.ones(e, jnp.int32), graphs.receivers, n)
    # -(-a // b) is the quotient rounded up.
    first, sites = jnp.cumsum(degree) - degree, -(-degree // SLOTS)
    ends = jnp.cumsum(sites)
    # A bound that jit knows: each body adds at most one group that is not full.
    number = jnp.arange(-(-(e // SLOTS + n) // SITES) * SITES, dtype=jnp.int32)
    # Bodies without edges have no group: "right" skips them.
    owner = jnp.searchsorted(ends, number, side="right").astype(jnp.int32)
    body = jnp.minimum(owner, n - 1)
    place = first[body] + SLOTS * (number - (ends - sites)[body])
    place = place[:, None] + jnp.arange(SLOTS, dtype=jnp.int32)[None]
    valid = (owner < n)[:, None] & (place < (first + degree)[body][:, None])
    return body, order[jnp.where(valid, place, 0)], valid  # any edge will do for an empty slot
