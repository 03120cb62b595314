"""What known systems and learned models share, and the learned model."""

import dataclasses
from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import GraphScalars, NodeScalars, Rates
from ..features.base import AbstractEnergy
from ..features.compression import compressed
from ..features.pair_base import AbstractPairFeatures
from ..graphs.geometry import sum_over_graphs
from .equations_of_motion import AbstractDynamics, Canonical


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

    features: tuple[AbstractEnergy, ...]
    theta: tuple[Float[Array, " _"], ...]
    constants: tuple[Float[Array, " _"], ...]
    structure: AbstractDynamics = Canonical()

    @property
    def separable(self) -> bool:
        return all(f.separable for f in self.features)

    def __call__(self, graphs: GraphsTuple) -> GraphScalars:
        energy = sum_over_graphs(graphs, self.node_energy(graphs))
        for features, c in zip(self.features, self.constants):
            energy = energy + features.constants(graphs) @ c
        return energy

    def vector_field(self, graphs: GraphsTuple) -> Rates:
        self._check_dimension(graphs)
        totals = [jnp.zeros_like(graphs.nodes[name]) for name in ("position", "momentum")]
        for f, theta in zip(self.features, self.theta):
            for k, part in enumerate(f.energy_gradient(graphs, theta)):
                totals[k] = totals[k] if part is None else totals[k] + part
        return self.structure.rates(graphs, (totals[0], totals[1]))

    def node_energy(self, graphs: GraphsTuple) -> NodeScalars:
        """Each body's share of the energy, `constants` left out (curves of a compressed model have
        taken theirs up): pairs count half for either end.

        **Raises:** `ValueError` if the features are bound to another spatial dimension.
        """
        self._check_dimension(graphs)
        return sum(
            (f.node_energy(graphs, theta) for f, theta in zip(self.features, self.theta)),
            start=jnp.zeros_like(graphs.nodes["position"][:, 0]),
        )

    def pair_energy(self, r: Float[Array, "..."], type: int = 0) -> Float[Array, "..."]:
        """The learned pair potential phi(r), per unit of coupling, its constant included.

        **Raises:** `ValueError` if the model has no pair features for that edge type.
        """
        values = [
            features.units_at(jnp.ravel(r), type) @ theta + (c[type] if len(c) else 0)
            for features, theta, c in zip(self.features, self.theta, self.constants)
            if isinstance(features, AbstractPairFeatures) and 0 <= type < features.types
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

    def compress(self, *, tolerance: float = 1e-6) -> "HamiltonianGraphNetwork":
        r"""The same Hamiltonian, with pair and kinetic energies as curves that are cheap to follow.

        Each sum over K units of one variable becomes a polynomial or a cubic spline (continuous
        forces) in $r^2$, $1/r^2$ or r, or of $|v|^2$: of those that reach the tolerance, the one
        that is fastest here. Pair curves take up the model's `constants`, against which the units
        cancel: in float32 energies would lose digits. Other features stay as they are.

        Within the trained range (and from there to the cutoff) the force of a pair is wrong by no
        more than `tolerance` times its own size or its median over that range, whichever is
        greater; `features[...].error` is what was reached. 5% of the range beyond, curves still
        follow the model, then they go on linearly in $r^2$ (force proportional to r).

        Concrete models only, one at a time.

        **Raises:** `ValueError` if the tolerance is not reached (float32, or features that jump),
        or nothing moved, or no pair was seen, in training.
        """
        if not 0 < tolerance < 1:
            raise ValueError(f"tolerance must be between 0 and 1, got {tolerance}")
        parts = [
            compressed(*part, tolerance) for part in zip(self.features, self.theta, self.constants)
        ]
        features, theta, constants = (tuple(column) for column in zip(*parts))
        return dataclasses.replace(self, features=features, theta=theta, constants=constants)

    def _check_dimension(self, graphs: GraphsTuple) -> None:
        d = graphs.nodes["position"].shape[1]
        for f in self.features:
            if f.dimension not in (None, d):
                raise ValueError(
                    f"the {f.name} features were trained in {f.dimension} dimensions, but the "
                    f"graph has {d}"
                )
