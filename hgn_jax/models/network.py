"""The learned model."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import Gradient, GraphScalars, NodeScalars, Rates
from ..features.base import AbstractEnergy, AbstractRates, AbstractTerm
from ..features.pair_base import AbstractPairFeatures
from ..graphs.geometry import sum_over_graphs
from .base import AbstractModel
from .basis import Basis, by_state
from .equations_of_motion import AbstractDynamics, moving


class HamiltonianGraphNetwork(AbstractModel):
    r"""The learned Hamiltonian $H = H_{known} + \Phi(graph) \cdot \theta + c \cdot n(graph)$.

    `basis` holds the sampled terms, `theta` their coefficients from one least-squares solve; the
    constants c multiply extensive counts (pairs of each type, bodies) whose gradient is zero.
    Extensive: what is learned on 8 bodies holds on 8 million. Terms that are rates, such as
    friction, move the bodies but have no energy.
    """

    basis: Basis
    theta: tuple[Float[Array, " _"], ...]
    constants: Float[Array, " c"]

    @property
    def terms(self) -> tuple[AbstractTerm, ...]:
        """The sampled terms, in the order of `theta`."""
        return self.basis.terms

    @property
    def dynamics(self) -> AbstractDynamics:
        return self.basis.dynamics

    @property
    def separable(self) -> bool:
        known = self.basis.known
        parts = (*self.terms, *(() if known is None else (known,)))
        return self.dynamics.separable and all(part.separable for part in parts)

    @property
    def conserves_energy(self) -> bool:
        known = self.basis.known
        energies = all(isinstance(term, AbstractEnergy) for term in self.terms)
        learned = energies and not self.time_dependent and self.dynamics.conserves_energy
        return learned and (known is None or known.conserves_energy)

    @property
    def time_dependent(self) -> bool:
        known = self.basis.known
        learned = any(term.time_dependent for term in self.terms)
        return learned or (known is not None and known.time_dependent)

    @property
    def reach(self) -> float:
        known = self.basis.known
        parts = (*self.terms, *(() if known is None else (known,)))
        return max((part.reach for part in parts), default=0.0)

    @property
    def handles_padding(self) -> bool:
        return self.basis.known is None or self.basis.known.handles_padding

    def __call__(self, graphs: GraphsTuple) -> GraphScalars:
        learned = sum_over_graphs(graphs, self.node_energy(graphs))
        known = self.basis.known_energy(graphs)
        return learned + self.basis.constants(graphs) @ self.constants + known

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        self.basis.check_dimension(graphs)
        graphs = self.basis.typed(graphs)
        parts = [
            term.energy_gradient(graphs, theta)
            for term, theta in zip(self.terms, self.theta)
            if isinstance(term, AbstractEnergy)
        ]
        if self.basis.known is not None:
            parts.append(self.basis.known.gradient(graphs))
        return Gradient(*(_total(column) for column in zip(*parts))) if parts else Gradient()

    def virial(self, graphs: GraphsTuple) -> Float[Array, "g d d"]:
        self.basis.check_dimension(graphs)
        graphs = self.basis.typed(graphs)
        d, dtype = graphs.nodes["position"].shape[1], graphs.nodes["position"].dtype
        total = jnp.zeros((len(graphs.n_node), d, d), dtype)
        for term, theta in zip(self.terms, self.theta):
            if isinstance(term, AbstractEnergy):
                total += term.energy_virial(graphs, theta)
        return total if self.basis.known is None else total + self.basis.known.virial(graphs)

    def vector_field(self, graphs: GraphsTuple) -> Rates:
        graphs = self.basis.typed(graphs)
        parts = [self.dynamics.rates(graphs, self.gradient(graphs))]
        for term, theta in zip(self.terms, self.theta):
            if isinstance(term, AbstractRates):
                columns = by_state(term(graphs), self.dynamics)
                parts.append(tuple(None if c is None else c @ theta for c in columns))
        rates = tuple(_total(column) for column in zip(*parts))
        return moving(graphs, rates, self.dynamics.state)

    def node_energy(self, graphs: GraphsTuple) -> NodeScalars:
        """Each body's share of the learned energy, pairs half for either end.

        The known part and `constants` are left out (curves of a compressed model have taken theirs
        up).

        **Raises:** `ValueError` if the features are bound to another spatial dimension.
        """
        self.basis.check_dimension(graphs)
        graphs = self.basis.typed(graphs)
        position = graphs.nodes["position"]
        return sum(
            (
                term.node_energy(graphs, theta)
                for term, theta in zip(self.terms, self.theta)
                if isinstance(term, AbstractEnergy)
            ),
            start=jnp.zeros(len(position), position.dtype),
        )

    def pair_range(self, type: int = 0) -> Float[Array, " 2"]:
        """Least and greatest distance of pairs of that edge type in training (length).

        **Raises:** `ValueError` if the model has no pair features for that edge type.
        """
        for term in self.terms:
            if isinstance(term, AbstractPairFeatures) and 0 <= type < term.types:
                return term.ranges[type]
        raise ValueError(f"this model has no pair features for edge type {type}")

    def pair_energy(self, r: Float[Array, "..."], type: int = 0) -> Float[Array, "..."]:
        """The learned pair potential phi(r), per unit of coupling, its constant included.

        **Raises:** `ValueError` if the model has no pair features for that edge type.
        """
        values = [
            features.units_at(jnp.ravel(r), type) @ theta
            for features, theta in zip(self.terms, self.theta)
            if isinstance(features, AbstractPairFeatures) and 0 <= type < features.types
        ]
        if not values:
            raise ValueError(f"this model has no pair features for edge type {type}")
        constants = self._pair_constants
        constant = constants[type] if type < len(constants) else 0.0
        return jnp.reshape(sum(values[1:], start=values[0]) + constant, jnp.shape(r))

    def out_of_range(self, graphs: GraphsTuple) -> dict[str, Int[Array, " g"]]:
        """For every graph the number of sites outside of what training saw, by kind of feature.

        A model extrapolates there: errors come from a handful of pairs nearer or farther than any
        in training.
        """
        self.basis.check_dimension(graphs)
        graphs = self.basis.typed(graphs)
        counts: dict[str, Int[Array, " g"]] = {}
        for term in self.terms:
            counts[term.name] = counts.get(term.name, 0) + term.out_of_range(graphs)
        return counts

    def compress(self, *, tolerance: float = 1e-6) -> "HamiltonianGraphNetwork":
        r"""The same Hamiltonian, with pair and kinetic energies as curves that are cheap to follow.

        Each sum over K units of one variable becomes a polynomial or a cubic spline (continuous
        forces) in $r^2$, $1/r^2$ or r, or of $|v|^2$: of those that reach the tolerance, the one
        that is fastest here. Pair curves take up the model's `constants`, against which the units
        cancel: in float32 energies would lose digits. Other features stay as they are.

        Within the trained range (and from there to the cutoff) the force of a pair is wrong by no
        more than `tolerance` times its own size or its median over that range, whichever is
        greater; `terms[...].error` is what was reached. 5% of the range beyond, curves still
        follow the model, then they go on linearly in $r^2$ (force proportional to r).

        Concrete models only, one at a time.

        **Raises:** `ValueError` if the tolerance is not reached (float32, or features that jump),
        or nothing moved, or no pair was seen, in training.
        """
        if not 0 < tolerance < 1:
            raise ValueError(f"tolerance must be between 0 and 1, got {tolerance}")
        terms, theta = [], []
        constants, taken = self._pair_constants, False
        for term, coefficients in zip(self.terms, self.theta):
            if isinstance(term, AbstractEnergy):
                own = jnp.zeros_like(constants) if taken else constants
                taken = taken or isinstance(term, AbstractPairFeatures)
                term, coefficients = term.compress(coefficients, own, tolerance)
            terms.append(term)
            theta.append(coefficients)
        rest = self.constants.at[: len(constants)].set(0) if taken else self.constants
        basis = dataclasses.replace(self.basis, terms=tuple(terms))
        return HamiltonianGraphNetwork(basis, tuple(theta), rest)

    @property
    def _pair_constants(self) -> Float[Array, " T"]:
        """The constants of the pairs' types."""
        return self.constants[: self.basis.counts.pair_types]


def _total(parts: tuple[Array | None, ...]) -> Array | None:
    present = [part for part in parts if part is not None]
    return sum(present[1:], start=present[0]) if present else None
