"""Potential energy of a body in its surroundings: walls, gravity on Earth."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import JacobianPair, Key, NodeIndex
from ..graphs.geometry import bodies, movable, node_mask, sum_over_graphs
from .base import AbstractFeatures, AbstractFeatureSpec, Fitted
from .dense import Dense
from .sampling import AbstractSampling, Swim, extent, outside


class ExternalFeatures(AbstractFeatures):
    r"""$V = \sum_i f(q_i) + m_i g(q_i)$ of absolute positions, with the exact columns $m_i q_i$.

    f acts on every body alike (walls), g in proportion to its mass (gravity); the exact columns
    are a uniform field. Translation and rotation invariance are given up on purpose.
    """

    name: ClassVar[str] = "external"
    separable: ClassVar[bool] = True
    alike: Dense
    by_mass: Dense
    box: Float[Array, "d 2"]

    @property
    def dimension(self) -> int | None:
        return int(self.box.shape[-2])

    def sites(self, graphs: GraphsTuple) -> tuple[Float[Array, "s K"], NodeIndex]:
        x, m = graphs.nodes["position"], graphs.nodes["mass"][:, None]
        columns = jnp.concatenate([self.alike(x), m * self.by_mass(x), m * x], axis=1)
        return jnp.where(node_mask(graphs)[:, None], columns, 0), jnp.arange(len(m))

    def gradient(self, graphs: GraphsTuple) -> JacobianPair:
        x, m = graphs.nodes["position"], graphs.nodes["mass"][:, None, None]
        uniform = m * jnp.eye(x.shape[1], dtype=x.dtype)[None]
        rows = jnp.concatenate(
            [self.alike.jacobian(x), m * self.by_mass.jacobian(x), uniform], axis=2
        )
        return jnp.where(node_mask(graphs)[:, None, None], rows, 0), None

    def constants(self, graphs: GraphsTuple) -> Float[Array, "g c"]:
        return bodies(graphs)[:, None]

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        x, mask = graphs.nodes["position"], node_mask(graphs)
        out = [outside(x[:, k], mask, self.box[k]) for k in range(x.shape[1])]
        return sum_over_graphs(graphs, jnp.any(jnp.stack(out), axis=0).astype(jnp.int32))

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.box


class External(AbstractFeatureSpec):
    """External features: half of the units act alike on all bodies, half in proportion to mass."""

    units: int = eqx.field(default=256, static=True)
    sampling: AbstractSampling = Swim()
    activation: str = eqx.field(default="tanh", static=True)

    def __check_init__(self) -> None:
        if self.units < 2 or self.units % 2:
            raise ValueError(f"units must be even and at least 2, got {self.units}")

    @property
    def guided(self) -> bool:
        return self.sampling.guided

    def resolve(self, data: GraphsTuple) -> "External":
        return self

    def sample(
        self, key: Key, data: GraphsTuple, previous: Fitted | None = None
    ) -> ExternalFeatures:
        x, mask = data.nodes["position"], movable(data)
        energy = None
        if previous is not None:
            fitted, theta = previous
            energy = fitted.sites(data)[0] @ theta
        one, two = jr.split(key)
        half, args = self.units // 2, (self.activation, energy)
        return ExternalFeatures(
            self.sampling(one, x, mask, half, *args),
            self.sampling(two, x, mask, half, *args),
            jnp.stack([extent(x[:, k], mask) for k in range(x.shape[1])]),
        )
