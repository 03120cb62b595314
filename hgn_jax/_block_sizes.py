"""Sizes of blocks of work: what fits into the cache of a CPU, or fills an accelerator."""

from typing import NamedTuple

import jax


class Portion(NamedTuple):
    """Limits on the work that is done at once. More work is divided into successive blocks."""

    edges: int
    """Edges of the dense layout that are summed at once."""
    bodies: int
    """Least number of bodies in a block, even if they have more edges than `edges`."""
    slots: int | None
    """Slots that are summed at once, for all bodies; None for blocks of bodies instead."""
    units: int
    """Random units times sites."""
    candidates: int
    """Candidate pairs of a neighbour search."""
    entries: int
    """Entries of the rows that are factorised at once."""


NEAR = Portion(edges=2**13, bodies=2**9, slots=None, units=2**18, candidates=2**18, entries=2**17)
"""For CPUs."""
WIDE = Portion(edges=2**22, bodies=1, slots=8, units=2**26, candidates=2**25, entries=2**29)
"""For accelerators."""


def portion() -> Portion:
    """Limits for JAX's default backend."""
    return NEAR if jax.default_backend() == "cpu" else WIDE
