"""From blocks of rows to the linear systems that are solved."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from .observations import Rows


def independent_systems(
    blocks: Sequence[Rows],
) -> list[tuple[list[int], list[Rows]]]:
    """Groups of column sets that share no rows, each with its rows: smaller solves, not one.

    Kinetic columns meet velocity rows only and pair columns force rows only, unless another
    feature or observation ties them together.

    **Raises:** `ValueError` for rows that no column meets: they would be lost.
    """
    groups: list[tuple[set[int], list[Rows]]] = []
    for block in blocks:
        here = {i for i, c in enumerate(block.columns) if c is not None}
        if not here:
            raise ValueError(
                f"no feature sees the {block.name} rows: add Kinetic() for velocities (Kinetic(0) "
                "if the kinetic energy is |p|^2/2m), Pair() or External() for forces"
            )
        touching = [g for g in groups if g[0] & here]
        merged = (here.union(*(g[0] for g in touching)), [b for g in touching for b in g[1]])
        apart = [g for g in groups if not any(g is t for t in touching)]
        groups = [*apart, (merged[0], [*merged[1], block])]
    return [(sorted(members), rows) for members, rows in groups]


def assemble(
    blocks: Sequence[Rows], members: Sequence[int], widths: Sequence[int]
) -> tuple[Float[Array, "r K"], Float[Array, " r"]]:
    """Weighted matrix and target of one system; zeros where a set does not take part."""
    matrix = jnp.concatenate(
        [
            jnp.concatenate(
                [
                    jnp.zeros((len(b.target), widths[i]), b.target.dtype)
                    if (c := b.columns[i]) is None
                    else c * b.weight[:, None]
                    for i in members
                ],
                axis=1,
            )
            for b in blocks
        ]
    )
    return matrix, jnp.concatenate([b.target * b.weight for b in blocks])
