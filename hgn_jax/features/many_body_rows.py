r"""Jacobians of many-body features as one matrix product for a whole batch.

By the chain rule $\partial B_k / \partial x_a = \sum_{i,zn,lm} W_{a,i,zn,lm} D_{i,zn,lm,k}$: W
holds the slopes of the densities' functions at the edges, D the derivatives of the features by the
densities. Images of one neighbour are added up in W before the product.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from jraph import GraphsTuple

from ..graphs.geometry import count, graph_index
from .densities import Densities
from .signatures import Factor, Signature

Weights = Float[Array, "_ _ Q"]
"""Radial functions `[F K Q]` of the F factors of K features: a coefficient for every species and
number n."""


def factors(
    densities: Float[Array, "LM n Q"], signature: Signature, weights: Weights
) -> list[Factor]:
    """The densities with the random radial functions of every factor, `[2l+1 n K]` each."""
    return [
        jnp.einsum("mnq,kq->mnk", densities[d * d : (d + 1) ** 2], w, precision="highest")
        for d, w in zip(signature.degrees, weights)
    ]


def derivatives(
    densities: Float[Array, "LM n Q"],
    signatures: Sequence[Signature],
    weights: Sequence[Weights],
) -> list[list[Factor]]:
    """Derivative of each signature's features by each of their own factors."""
    return [
        signature.slopes(factors(densities, signature, w))
        for signature, w in zip(signatures, weights)
    ]


def chained(
    design: Float[Array, "rows R"],
    slopes: Sequence[Sequence[Factor]],
    signatures: Sequence[Signature],
    weights: Sequence[Float[Array, "_ _ N"]],
    degree: int,
) -> Float[Array, "rows K"]:
    """W D for neighbours of one species: a product for each degree l, of the features that have a
    factor of it."""
    total: list[list[Array]] = [[] for _ in signatures]
    sites = slopes[0][0].shape[1] * weights[0].shape[2]
    for d in range(degree + 1):
        having = [k for k, signature in enumerate(signatures) if d in signature.degrees]
        if not having:
            continue
        right = jnp.concatenate(
            [
                sum(
                    slopes[k][f][:, :, None] * weights[k][f].T[None, None]
                    for f, own in enumerate(signatures[k].degrees)
                    if own == d
                )
                for k in having
            ],
            axis=3,
        )
        left = design[:, d * d * sites : (d + 1) ** 2 * sites]
        rows = jnp.dot(left, right.reshape(left.shape[1], -1), precision="highest")
        start = 0
        for k in having:
            end = start + weights[k].shape[1]
            total[k].append(rows[:, start:end])
            start = end
    return jnp.concatenate([sum(parts[1:], start=parts[0]) for parts in total], axis=1)


def designs(
    functions: Densities, graphs: GraphsTuple, dtype: jnp.dtype
) -> tuple[Float[Array, "z rows R"], Bool[Array, " z"]]:
    """W for neighbours of each species, and whether there are any: three rows for every body, then
    nine for every graph (the virial)."""
    n, g = count(graphs), len(graphs.n_node)
    vector = functions.vectors(graphs).astype(dtype)
    slopes = functions.slopes(vector).transpose(1, 0, 2, 3)  # [e 3 LM N]
    ends = graphs.senders * n + graphs.receivers, graphs.receivers * (n + 1)
    kind = functions.kind(graphs)[graphs.senders]

    def of_kind(z: Int[Array, ""]) -> Float[Array, "rows R"]:
        mine = jnp.where((kind == z)[:, None, None, None], slopes, 0)
        pulls = jax.ops.segment_sum(mine, ends[0], n * n)
        pulls -= jax.ops.segment_sum(mine, ends[1], n * n)
        strain = vector.T[:, :, None, None, None] * mine[:, None]
        virial = jax.ops.segment_sum(strain, graphs.receivers, n)
        inside = graph_index(graphs)[None] == jnp.arange(g, dtype=jnp.int32)[:, None]
        virial = jnp.where(inside.reshape(g, n, 1, 1, 1, 1), virial[None], 0)
        rows = (
            pulls.reshape(n, n, 3, *mine.shape[2:]).transpose(0, 2, 3, 1, 4),
            virial.transpose(0, 2, 3, 4, 1, 5),
        )
        return jnp.concatenate([r.reshape(-1, mine.shape[2] * n * mine.shape[3]) for r in rows])

    kinds = jnp.arange(functions.kinds, dtype=jnp.int32)
    return jax.lax.map(of_kind, kinds), jnp.any(kind[None] == kinds[:, None], axis=1)
