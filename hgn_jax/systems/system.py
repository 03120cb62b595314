"""Known Hamiltonians: source of training data, and of reference values in tests."""

import itertools
import math
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int
from jraph import GraphsTuple

from .._types import EdgeScalars, Gradient, GraphScalars, NodeScalars
from ..graphs.geometry import node_mask, sum_over_graphs, velocity_of
from ..graphs.pair_sums import pair_energy, pair_gradient
from ..models.newtonian import AbstractNewtonian
from .potentials import (
    ZBL,
    AbstractPotential,
    Anharmonic,
    DoubleWell,
    LennardJones,
    Morse,
    Newton,
    Smoothed,
    Spring,
)

ExternalPotential = Callable[[Float[Array, " d"], Float[Array, ""]], Float[Array, ""]]
"""Potential energy of one body from its position and mass."""


class System(AbstractNewtonian):
    r"""$H = \sum_i |p_i|^2 / 2 m_i + \sum_{pairs} c_{ij} \phi(r_{ij}) + \sum_i U(q_i, m_i)$.

    c is the edges' `coupling` (one if absent), or $m_i m_j$ with `couples_masses`. Edge `type`
    selects the potential's parameters. `external` is U for one body. Graphs without momenta are at
    rest.
    """

    potential: AbstractPotential
    external: ExternalPotential | None = None
    couples_masses: bool = eqx.field(default=False, static=True)

    @property
    def span(self) -> int:
        return 1

    @property
    def reach(self) -> float:
        cutoff = getattr(self.potential, "cutoff", None)
        return math.inf if cutoff is None else float(cutoff)

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        graphs = self.couple(graphs)
        nodes = graphs.nodes

        def slope(kinds: Int[Array, " e"], square: EdgeScalars) -> EdgeScalars:
            distinct = square > 0
            # The slope of a root is infinite at 0: coincident bodies get r = 1 first, then 0.
            r = jnp.sqrt(jnp.where(distinct, square, 1))
            _, force = jax.jvp(
                lambda r: jax.vmap(self.potential)(r, kinds),
                (jnp.where(distinct, r, 0),),
                (jnp.ones_like(r),),
            )
            # Zero where bodies coincide, if the potential allows that.
            return jnp.where(distinct, force / (2 * r), 0 * force)

        by_position = pair_gradient(graphs, slope)
        if self.external is not None:
            # Masked, since a field may act even on padding at the origin.
            outer = jax.vmap(jax.grad(self.external))(nodes["position"], nodes["mass"])
            by_position += jnp.where(node_mask(graphs)[:, None], outer, 0)
        return Gradient(by_position, velocity_of(graphs) if "momentum" in nodes else None)

    def __call__(self, graphs: GraphsTuple) -> GraphScalars:
        return sum_over_graphs(graphs, self.node_energy(graphs))

    def node_energy(self, graphs: GraphsTuple) -> NodeScalars:
        """Energy of each body: its own, and half that of each of its pairs."""
        graphs = self.couple(graphs)
        nodes = graphs.nodes
        energy = pair_energy(graphs, lambda kinds, r: jax.vmap(self.potential)(r, kinds))
        if "momentum" in nodes:
            # p . v = |p|^2 / m
            energy += jnp.sum(nodes["momentum"] * velocity_of(graphs), axis=1) / 2
        if self.external is None:
            return energy
        outer = jax.vmap(self.external)(nodes["position"], nodes["mass"])
        return energy + jnp.where(node_mask(graphs), outer, 0)

    def pair_energy(self, r: Float[Array, "..."], type: int = 0) -> Float[Array, "..."]:
        """Pair potential phi(r) per unit of coupling, for edges of that type."""
        one = jnp.asarray(type)  # potentials index their parameters by an array
        return jnp.reshape(jax.vmap(lambda x: self.potential(x, one))(jnp.ravel(r)), jnp.shape(r))

    def couple(self, graphs: GraphsTuple) -> GraphsTuple:
        """The graphs with `coupling` m_i m_j if this system couples masses, else unchanged."""
        if not self.couples_masses:
            return graphs
        mass = graphs.nodes["mass"]
        coupling = mass[graphs.senders] * mass[graphs.receivers]
        return graphs._replace(edges=graphs.edges | {"coupling": coupling})


_SPRINGS: dict[str, type[AbstractPotential]] = {
    "spring": Spring,
    "anharmonic": Anharmonic,
    "morse": Morse,
    "double_well": DoubleWell,
}


def mass_spring(
    potential: str | AbstractPotential = "spring",
    *,
    external: ExternalPotential | None = None,
    **parameters: ArrayLike,
) -> System:
    """Masses joined by springs: "spring", "anharmonic", "morse", or "double_well" (the ring of the
    NeurIPS 2022 benchmark, V = (r^2 - 1)^2).

    `parameters` are the potential's fields (`stiffness`, `rest_length`, ...), one number or one
    per edge type. `external(position, mass)` adds a potential for every body.

    **Raises:** `ValueError` for an unknown potential or parameter.
    """
    if isinstance(potential, str):
        if potential not in _SPRINGS:
            raise ValueError(f"unknown potential {potential!r}; known are {sorted(_SPRINGS)}")
        kind = _SPRINGS[potential]
        if unknown := sorted(set(parameters) - set(kind.__dataclass_fields__)):
            raise ValueError(
                f"{potential} has no {unknown}; it has {sorted(kind.__dataclass_fields__)}"
            )
        potential = kind(**parameters)
    elif parameters:
        raise ValueError("give parameters to the potential itself, or name it by a string")
    return System(potential, external)


def lennard_jones(
    *,
    epsilon: ArrayLike = 1.0,
    sigma: ArrayLike = 1.0,
    cutoff: float | None = None,
    onset: float | None = None,
) -> System:
    """Atoms with 4 epsilon ((sigma/r)^12 - (sigma/r)^6) on every edge of the graph.

    With a `cutoff` (length) it is smoothed to zero between `onset` (0.8 cutoff if not given) and
    the cutoff.

    **Raises:** `ValueError` unless 0 < onset < cutoff, or for an onset alone.
    """
    atoms = LennardJones(epsilon, sigma)
    if cutoff is not None:
        return System(Smoothed(atoms, 0.8 * cutoff if onset is None else onset, cutoff))
    if onset is not None:
        raise ValueError(f"onset {onset} needs a cutoff")
    return System(atoms)


def zbl(species: Sequence[int], *, onset: float, cutoff: float) -> System:
    """Repulsion of nuclei at short distances, for atomic numbers `species` in increasing order.

    The core of a potential for atoms, as the known part of a fit: `fit(..., known=zbl(...))`.
    Choose the cutoff below the distances that the data describe. Types of edges are the pairs of
    species (0, 0), (0, 1), .., (1, 1), .., as fits number them. Lengths in A, energies in eV.

    **Raises:** `ValueError` unless 0 < onset < cutoff, or for species that do not increase.
    """
    if list(species) != sorted(set(species)) or not len(species):
        raise ValueError(f"species must be strictly increasing, got {tuple(species)}")
    pairs = np.array(list(itertools.combinations_with_replacement(species, 2)), dtype=float)
    return System(Smoothed(ZBL(pairs[:, 0], pairs[:, 1]), onset, cutoff))


def gravity(*, gravitational_constant: ArrayLike = 1.0) -> System:
    """Newton's law: -G m_i m_j / r on every edge. With masses given as G m, the constant is one."""
    return System(Newton(gravitational_constant), couples_masses=True)
