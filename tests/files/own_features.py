"""Classes of a user's own, as of another library."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import hgn_jax as hgn
from hgn_jax.features.base import AbstractEnergy


class Tethers(AbstractEnergy):
    """Each body is tied to the origin by a spring, of as many strengths as `powers`."""

    name: ClassVar[str] = "tethers"
    separable: ClassVar[bool] = True
    powers: Float[Array, " K"]
    length: float = eqx.field(static=True)

    def __init__(self, powers):
        self.powers = jnp.asarray(powers)
        self.length = 2.0

    def __check_init__(self):
        if not self.length > 0:
            raise RuntimeError("the length must be positive")

    @property
    def dimension(self):
        return None

    def sites(self, graphs):
        x = graphs.nodes["position"] / self.length
        return jnp.sum(x**2, axis=1)[:, None] ** self.powers[None], jnp.arange(len(x))

    def gradient(self, graphs):
        raise NotImplementedError

    def constants(self, graphs):
        return jnp.zeros((graphs.n_node.shape[0], 0), graphs.nodes["position"].dtype)

    def out_of_range(self, graphs):
        return jnp.zeros(graphs.n_node.shape[0], int)

    def trained_range(self):
        return jnp.zeros((0, 2))

    def node_energy(self, graphs, theta):
        return self.sites(graphs)[0] @ theta

    def energy_gradient(self, graphs, theta):
        def energy(position):
            moved = graphs._replace(nodes=graphs.nodes | {"position": position})
            return jnp.sum(self.node_energy(moved, theta))

        return jax.grad(energy)(graphs.nodes["position"]), None


class Canonical(hgn.Canonical):
    """A class with the short name of one of the library's."""
