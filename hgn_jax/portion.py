"""How much is worked on in one go: what stays near a processor's cores, or fills an accelerator."""

from typing import NamedTuple

import jax


class Portion(NamedTuple):
    """Work on more than this is cut into pieces, one after the other."""

    slots: int | None
    """Whose edges are summed, those of all bodies side by side; None: all, some bodies at a
    time."""
    edges: int
    """Of the bodies whose edges are summed at a time,"""
    bodies: int
    """but not fewer bodies."""
    units: int
    """Units times sites."""
    candidates: int
    """Pairs that may be neighbours."""


NEAR = Portion(slots=None, edges=2**13, bodies=2**9, units=2**18, candidates=2**18)
WIDE = Portion(slots=8, edges=0, bodies=0, units=2**26, candidates=2**25)


def portion() -> Portion:
    """Of the device that is computed on by default."""
    return NEAR if jax.default_backend() == "cpu" else WIDE
