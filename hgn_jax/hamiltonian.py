"""What known systems and learned models share, and the learned model."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from ._types import GraphScalars, NodeScalars, Rates
from .features.base import AbstractFeatures
from .features.pair import PairFeatures
from .graphs.geometry import sum_over_graphs
from .structure import AbstractStructure, Hamiltonian


class AbstractHamiltonian(eqx.Module):
    """H(q, p) of a GraphsTuple (mass * length^2 / time^2), with its equations of motion."""

    @property
    @abstractmethod
    def separable(self) -> bool:
        """Whether H = T(p) + V(q), as explicit symplectic integrators need."""

    @abstractmethod
    def __call__(self, graphs: GraphsTuple) -> GraphScalars:
        """Energy of every graph, `[g]`."""

    @abstractmethod
    def vector_field(self, graphs: GraphsTuple) -> Rates:
        """(dq/dt, dp/dt), each `[n d]` (length / time, mass * length / time^2)."""

    def gradient(self, graphs: GraphsTuple) -> Rates:
        """(dH/dq, dH/dp), each `[n d]`, by reverse-mode differentiation."""

        def energy(position: Float[Array, "n d"], momentum: Float[Array, "n d"]) -> Array:
            moved = graphs.nodes | {"position": position, "momentum": momentum}
            return jnp.sum(self(graphs._replace(nodes=moved)))

        return jax.grad(energy, (0, 1))(graphs.nodes["position"], graphs.nodes["momentum"])


class HamiltonianGraphNetwork(AbstractHamiltonian):
    r"""The learned Hamiltonian $H = \Phi(graph) \cdot \theta + c \cdot n(graph)$.

    `features` are sampled random features, `theta` their coefficients from one least-squares
    solve; the constants multiply extensive counts (number of pairs) whose gradient is zero.
    Extensive: what is learned on 8 bodies holds on 8 million.
    """

    features: tuple[AbstractFeatures, ...]
    theta: tuple[Float[Array, " _"], ...]
    constants: tuple[Float[Array, " _"], ...]
    structure: AbstractStructure = Hamiltonian()

    @property
    def separable(self) -> bool:
        return all(f.separable for f in self.features)

    def __call__(self, graphs: GraphsTuple) -> GraphScalars:
        energy = sum_over_graphs(graphs, self.node_energy(graphs))
        for features, c in zip(self.features, self.constants):
            energy = energy + features.constants(graphs) @ c
        return energy

    def vector_field(self, graphs: GraphsTuple) -> Rates:
        return self.structure.rates(graphs, self.gradient(graphs))

    def node_energy(self, graphs: GraphsTuple) -> NodeScalars:
        """Each body's share of the energy, constants left out: pairs count half for either end.

        **Raises:** `ValueError` if the features are bound to another spatial dimension.
        """
        self._check_dimension(graphs)
        return sum(
            (f.node_energy(graphs, theta) for f, theta in zip(self.features, self.theta)),
            start=jnp.zeros_like(graphs.nodes["mass"]),
        )

    def pair_energy(self, r: Float[Array, "..."], type: int = 0) -> Float[Array, "..."]:
        """The learned pair potential phi(r), per unit of coupling, its constant included.

        **Raises:** `ValueError` if the model has no pair features for that edge type.
        """
        values = [
            features.units_at(jnp.ravel(r), type) @ theta + (c[type] if len(c) else 0)
            for features, theta, c in zip(self.features, self.theta, self.constants)
            if isinstance(features, PairFeatures) and 0 <= type < len(features.layers)
        ]
        if not values:
            raise ValueError(f"this model has no pair features for edge type {type}")
        return jnp.reshape(sum(values[1:], start=values[0]), jnp.shape(r))

    def out_of_range(self, graphs: GraphsTuple) -> dict[str, Int[Array, " g"]]:
        """For every graph the number of sites outside of what training saw, by kind of feature.

        A model extrapolates there: errors come from a handful of pairs nearer or farther than any
        in training.
        """
        self._check_dimension(graphs)
        counts: dict[str, Int[Array, " g"]] = {}
        for f in self.features:
            counts[f.name] = counts.get(f.name, 0) + f.out_of_range(graphs)
        return counts

    def _check_dimension(self, graphs: GraphsTuple) -> None:
        d = graphs.nodes["position"].shape[1]
        for f in self.features:
            if f.dimension not in (None, d):
                raise ValueError(
                    f"the {f.name} features were trained in {f.dimension} dimensions, but the "
                    f"graph has {d}"
                )
