"""Clusters of atoms with embedded-atom potentials, which no sum over pairs can express."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax.graphs.geometry import (
    distance,
    edge_mask,
    node_mask,
    sum_over_edges,
    sum_over_graphs,
    velocity_of,
)

CUTOFF = 2.5
ATOMS = 15
EMBEDDINGS = {
    "square root": lambda rho: -jnp.sqrt(rho),
    "smooth": lambda rho: rho * jnp.log1p(rho) - rho**2 / 8,
    "second neighbours": lambda rho: rho * jnp.log1p(rho) - rho**2 / 8,
    "only second neighbours": lambda rho: jnp.zeros_like(rho),
}
"""Embedding functions F. The square root is that of Finnis and Sinclair (Phil. Mag. A 50, 1984)."""


class EmbeddedAtoms(hgn.AbstractHamiltonian):
    r"""$\sum_i |p_i|^2 / 2 m_i + \sum_{pairs} \phi(r_{ij}) + \sum_i F(\rho_i) + G(\tau_i)$.

    $\rho_i = \sum_j e^{-3 (r_{ij} - 1)}$ and $\phi = 0.3 e^{-8 (r - 1)}$. The last term,
    $G = 3 \tanh(\tau / 10)$ with $\tau_i = \sum_j e^{-2 (r_{ij} - 1)^2} \rho_j$, depends on
    neighbours of neighbours, and only the last two targets have it. All functions of r are
    multiplied by $(1 - (r / 2.5)^2)^3$.
    """

    target: str = eqx.field(static=True)

    @property
    def separable(self) -> bool:
        return True

    def __call__(self, graphs: GraphsTuple) -> Float[Array, " g"]:
        r = distance(graphs)
        fade = jnp.where(edge_mask(graphs), jnp.maximum(1 - (r / CUTOFF) ** 2, 0) ** 3, 0)
        rho = sum_over_edges(graphs, jnp.exp(-3 * (r - 1)) * fade)
        energy = EMBEDDINGS[self.target](rho)
        energy += sum_over_edges(graphs, 0.3 * jnp.exp(-8 * (r - 1)) * fade) / 2
        if "second neighbours" in self.target:
            tau = sum_over_edges(graphs, jnp.exp(-2 * (r - 1) ** 2) * fade * rho[graphs.senders])
            energy += 3 * jnp.tanh(tau / 10)
        energy += jnp.sum(graphs.nodes["momentum"] * velocity_of(graphs), axis=1) / 2
        return sum_over_graphs(graphs, jnp.where(node_mask(graphs), energy, 0))


def clusters(target: str, count: int, seed: int) -> GraphsTuple:
    """Snapshots of 15 atoms at rest on the sites of a 3 x 3 x 2 lattice, three of them vacant, each
    atom displaced by up to 0.15 along every axis; with the forces of the target."""
    rng = np.random.default_rng(seed)
    sites = np.stack(np.meshgrid(*map(np.arange, (3, 3, 2)), indexing="ij"), -1).reshape(-1, 3)
    pairs = [(i, j) for i in range(ATOMS) for j in range(i)]
    graphs = []
    for _ in range(count):
        position = sites[rng.choice(len(sites), ATOMS, replace=False)]
        position = position + rng.uniform(-0.15, 0.15, position.shape)
        graphs.append(hgn.graphs.from_pairs(position, pairs))
    data = hgn.graphs.batch(graphs)
    velocity, force = EmbeddedAtoms(target).vector_field(data)
    return data._replace(nodes=data.nodes | {"velocity": velocity, "force": force})
