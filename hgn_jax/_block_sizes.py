"""How much is worked on in one go: what stays near a processor's cores, or fills an accelerator."""

from typing import NamedTuple

import jax


class Portion(NamedTuple):
    """Work on more than this is cut into pieces, one after the other."""

    edges: int
    """In slots, whose values are summed."""
    bodies: int
    """The fewest whose edges are summed at a time, where there are more edges."""
    slots: int | None
    """So many slots of all bodies are summed at a time instead."""
    units: int
    """Units times sites."""
    candidates: int
    """Pairs that may be neighbours."""


NEAR = Portion(edges=2**13, bodies=2**9, slots=None, units=2**18, candidates=2**18)
WIDE = Portion(edges=2**22, bodies=1, slots=8, units=2**26, candidates=2**25)


def portion() -> Portion:
    """Of the device that is computed on by default."""
    return NEAR if jax.default_backend() == "cpu" else WIDE
