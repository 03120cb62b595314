"""User-defined classes, as in another library."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

import hgn_jax as hgn


class Tethers(hgn.AbstractSiteEnergy):
    """Each body is tied to the origin by springs, one for each of the `powers`."""

    name: ClassVar[str] = "tethers"
    sites: ClassVar[Any] = hgn.sites.Positions()
    powers: Float[Array, " K"]
    length: float = eqx.field(static=True)

    def __init__(self, powers):
        self.powers = jnp.asarray(powers)
        self.length = 2.0

    def __check_init__(self):
        if not self.length > 0:
            raise RuntimeError("the length must be positive")

    def phi(self, z, site):
        return jnp.sum((z / self.length) ** 2) ** self.powers


class Canonical(hgn.Canonical):
    """A class with the short name of one of the library's."""
