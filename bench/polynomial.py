"""Two polynomial columns of the distance, for comparison with random ones."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

import hgn_jax as hgn


class Polynomial(hgn.AbstractSiteEnergy):
    r"""$V = \sum_{pairs} c_{ij} (\theta_1 r_{ij} + \theta_2 r_{ij}^2)$, c the edges' `coupling`."""

    name: ClassVar[str] = "polynomial"
    sites: ClassVar[hgn.sites.AbstractSites] = hgn.sites.Pairs()

    def phi(self, z: Float[Array, " d"], site: hgn.sites.Site) -> Float[Array, " 2"]:
        r = jnp.linalg.norm(z)
        return jnp.stack([r, r**2])
