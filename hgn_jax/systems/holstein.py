"""Electrons on a lattice that they deform: the adiabatic Holstein model, by diagonalisation."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int
from jraph import GraphsTuple

from .._arguments import check_number
from .._types import Gradient, GraphScalars, NodeScalars
from ..graphs.geometry import edge_share, graph_index, velocity_of
from ..models.newtonian import AbstractNewtonian, Newtonian

HALVINGS = 100
"""Steps of the bisection for the chemical potential, down to rounding."""


class Holstein(AbstractNewtonian):
    r"""Semiclassical Holstein model: spinless electrons in equilibrium, classical displacements.

    $$H = -t \sum_{\langle ij \rangle} (c_i^\dagger c_j + h.c.) - g \sum_i (n_i - \tfrac12) Q_i +
    \sum_i \tfrac{K}{2} Q_i^2 + |P_i|^2 / 2 m_i$$

    The energy is the free energy of the electrons, half of the number of sites, plus that of the
    lattice. The force is $g (\langle n_i \rangle - \tfrac12) - K Q_i$. Below a critical temperature
    the square lattice forms a charge-density wave.

    Edges are the hoppings; their `coupling` multiplies t. All graphs of a batch must have equally
    many sites, and no padding. Costs grow with the cube of the number of sites.

    - `hopping`: t (energy).
    - `coupling`: g (energy / length).
    - `stiffness`: K (energy / length^2).
    - `temperature`: kT of the electrons (energy).

    Cheng, Zhang, Chern, Machine learning for phase ordering dynamics of charge density waves, Phys.
    Rev. B 108, 2023.
    """

    reach: ClassVar[float] = 0.0
    hopping: ArrayLike = eqx.field(default=1.0, kw_only=True)
    coupling: ArrayLike = eqx.field(default=1.5, kw_only=True)
    stiffness: ArrayLike = eqx.field(default=1.0, kw_only=True)
    temperature: ArrayLike = eqx.field(default=0.05, kw_only=True)

    def __check_init__(self) -> None:
        for name in ("hopping", "coupling", "stiffness", "temperature"):
            check_number(name, getattr(self, name))

    @property
    def handles_padding(self) -> bool:
        return False

    def __call__(self, graphs: GraphsTuple) -> GraphScalars:
        q = graphs.nodes["position"].reshape(len(graphs.n_node), -1)
        levels = jnp.linalg.eigvalsh(self._matrices(graphs))
        potential = self._chemical_potential(levels)[:, None]
        # log(1 + exp(-x)) without overflow.
        occupied = jax.nn.softplus((potential - levels) / self.temperature)
        electrons = jnp.mean(potential / 2 - self.temperature * occupied, axis=1) * levels.shape[1]
        # -g (n - 1/2) Q: the half is not in the matrix.
        lattice = self.stiffness / 2 * jnp.sum(q**2, axis=1) + self.coupling / 2 * jnp.sum(q, 1)
        return electrons + lattice + Newtonian()(graphs)

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        q = graphs.nodes["position"][:, 0]
        slope = self.stiffness * q - self.coupling * (self.density(graphs) - 0.5)
        moving = "momentum" in graphs.nodes
        return Gradient(slope[:, None], velocity_of(graphs) if moving else None)

    def density(self, graphs: GraphsTuple) -> NodeScalars:
        r"""Mean number of electrons $\langle n_i \rangle$ at every site."""
        levels, states = jnp.linalg.eigh(self._matrices(graphs))
        potential = self._chemical_potential(levels)[:, None]
        filling = jax.nn.sigmoid((potential - levels) / self.temperature)
        return jnp.einsum("gik,gk->gi", states**2, filling).ravel()

    def _matrices(self, graphs: GraphsTuple) -> Float[Array, "g m m"]:
        position = graphs.nodes["position"]
        count, n = len(graphs.n_node), len(position)
        if position.shape[1] != 1:
            raise ValueError(
                f"Holstein needs one displacement at each site, [n 1], got {list(position.shape)}"
            )
        sites = n // count
        position = eqx.error_if(
            position,
            jnp.any(graphs.n_node != sites),
            "Holstein needs graphs of equally many sites, without padding",
        )
        onsite = self.coupling * -position.reshape(count, sites)
        graph, local = graph_index(graphs), jnp.arange(n, dtype=jnp.int32) % sites
        # A share is half of the edge's coupling.
        hops = -2 * self.hopping * edge_share(graphs)
        index = graph[graphs.receivers], local[graphs.receivers], local[graphs.senders]
        matrices = jnp.zeros((count, sites, sites), position.dtype).at[index].add(hops)
        return matrices + jax.vmap(jnp.diag)(onsite)

    def _chemical_potential(self, levels: Float[Array, "g m"]) -> Float[Array, " g"]:
        """Chemical potential at which half of the levels are filled."""

        def halve(_: Int[Array, ""], bounds: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bounds
            middle = (low + high) / 2
            filled = jax.nn.sigmoid((middle[:, None] - levels) / self.temperature)
            few = jnp.mean(filled, axis=1) < 0.5
            return jnp.where(few, middle, low), jnp.where(few, high, middle)

        ends = levels[:, 0], levels[:, -1]
        low, high = jax.lax.fori_loop(0, HALVINGS, halve, ends)
        # The free energy is stationary in it: no derivative is needed.
        return jax.lax.stop_gradient((low + high) / 2)
