"""The learned model."""

import dataclasses
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import Gradient, GraphScalars, NodeScalars, Rates, gradient_of
from ..features.base import AbstractEnergy, AbstractRates, AbstractTerm
from ..features.pair_base import AbstractPairFeatures
from ..features.power_tails import with_power_tails
from ..graphs.geometry import sum_over_graphs
from .addition import joined_constants, summed
from .base import AbstractModel
from .basis import Basis, by_state
from .equations_of_motion import AbstractDynamics, moving, total


class HamiltonianGraphNetwork(AbstractModel):
    r"""The learned Hamiltonian $H = H_{known} + \Phi(graph) \cdot \theta + c \cdot n(graph)$.

    `basis` holds the sampled terms, `theta` their coefficients from one least-squares solve. The
    constants c multiply extensive counts (pairs of each type, bodies of each species), whose
    gradient is zero. The energy is extensive: a model learned on 8 bodies applies to 8 million.
    Terms that are rates, such as friction, move the bodies but have no energy.
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
    def separable_drift(self) -> bool:
        known = self.basis.known
        learned = all(
            term.moves == ("momentum",) if isinstance(term, AbstractRates) else term.separable
            for term in self.terms
        )
        return learned and self.dynamics.separable and (known is None or known.separable_drift)

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
    def span(self) -> int:
        known = self.basis.known
        parts = (*self.terms, *(() if known is None else (known,)))
        return max((part.span for part in parts if part.reach > 0), default=1)

    @property
    def handles_padding(self) -> bool:
        return self.basis.known is None or self.basis.known.handles_padding

    def __add__(self, other: "HamiltonianGraphNetwork") -> "HamiltonianGraphNetwork":
        """Sum of the learned Hamiltonians: the terms of both, which act on the same bodies.

        A known part that both share, such as the kinetic energy |p|^2/2m, counts once.

        **Raises:** `ValueError` for other spatial dimensions, species, dynamics or known parts, or
        if the sum would hold two kinetic energies.
        """
        if not isinstance(other, HamiltonianGraphNetwork):
            return NotImplemented
        basis, parts = summed(self.basis, other.basis), (self, other)
        constants = joined_constants(basis, [(part.basis, part.constants) for part in parts])
        return HamiltonianGraphNetwork(basis, (*self.theta, *other.theta), constants)

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
        slopes = [part._asdict() for part in parts]
        names = dict.fromkeys(name for slope in slopes for name in slope)
        return gradient_of({name: total(tuple(s.get(name) for s in slopes)) for name in names})

    def virial(self, graphs: GraphsTuple) -> Float[Array, "g d d"]:
        self.basis.check_dimension(graphs)
        graphs = self.basis.typed(graphs)
        d, dtype = graphs.nodes["position"].shape[1], graphs.nodes["position"].dtype
        virial = jnp.zeros((len(graphs.n_node), d, d), dtype)
        for term, theta in zip(self.terms, self.theta):
            if isinstance(term, AbstractEnergy):
                virial += term.energy_virial(graphs, theta)
        return virial if self.basis.known is None else virial + self.basis.known.virial(graphs)

    def vector_field(self, graphs: GraphsTuple) -> Rates:
        graphs = self.basis.typed(graphs)
        parts = [self.dynamics.rates(graphs, self.gradient(graphs)), self.dynamics.offset(graphs)]
        for term, theta in zip(self.terms, self.theta):
            if isinstance(term, AbstractRates):
                parts.append(_contracted(term, graphs, theta, self.dynamics))
        rates = tuple(map(total, zip(*parts)))
        return moving(graphs, rates, self.dynamics.state)

    def power(self, graphs: GraphsTuple) -> dict[str, GraphScalars]:
        r"""Energy per time that each term of rates gives to every graph, by the name of the term.

        $P = \sum_i \partial_{q_i} H \cdot \dot q_i + \partial_{p_i} H \cdot \dot p_i$ with the
        rates of that term alone: negative for friction, zero for a magnetic field. The sum over
        all terms is dH/dt.
        """
        graphs = self.basis.typed(graphs)
        slopes = by_state(self.gradient(graphs), self.dynamics)
        by_name: dict[str, GraphScalars] = {}
        for term, theta in zip(self.terms, self.theta):
            if isinstance(term, AbstractRates):
                rates = _contracted(term, graphs, theta, self.dynamics)
                moved = moving(graphs, rates, self.dynamics.state)
                parts = [jnp.sum(s * r, axis=1) for s, r in zip(slopes, moved) if s is not None]
                power = sum_over_graphs(graphs, jnp.sum(jnp.stack(parts), axis=0))
                # Two terms of one kind share a name.
                by_name[term.name] = by_name[term.name] + power if term.name in by_name else power
        return by_name

    def node_energy(self, graphs: GraphsTuple) -> NodeScalars:
        """Learned energy of each body; a pair's energy is split in halves between its bodies.

        The known part and `constants` are left out. Curves of a compressed model, however, include
        the constants of pairs.

        **Raises:** `ValueError` if the features were trained in another spatial dimension.
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
        # With a cutoff, pairs have no constants.
        constant = constants[type] if type < len(constants) else 0.0
        return jnp.reshape(sum(values[1:], start=values[0]) + constant, jnp.shape(r))

    def out_of_range(self, graphs: GraphsTuple) -> dict[str, Int[Array, " g"]]:
        """Number of sites of every graph outside of the trained range, by kind of feature.

        The model extrapolates there: a few pairs nearer or farther than any in training can cause
        most of the error.
        """
        self.basis.check_dimension(graphs)
        graphs = self.basis.typed(graphs)
        counts: dict[str, Int[Array, " g"]] = {}
        for term in self.terms:
            counts[term.name] = counts.get(term.name, 0) + term.out_of_range(graphs)
        return counts

    def compress(
        self, *, tolerance: float = 1e-6, smallest: bool = False
    ) -> "HamiltonianGraphNetwork":
        r"""Replaces pair and kinetic energies by curves that are cheap to evaluate.

        Each sum over K units of one variable becomes a polynomial or a cubic spline (continuous
        forces) in $r^2$, $1/r^2$, r or log r, or in $|v|^2$. Among those that reach the tolerance,
        the fastest on this device is taken, or with `smallest` the one of the fewest numbers: for
        files, if forces vary by decades. Pair curves include the model's `constants`: the units
        cancel against them, so that energies in float32 would otherwise lose digits. An `AxisPair`
        becomes polynomials of log s. Other features are kept.

        Within the trained range (and from there to the cutoff) the error of a pair's force is at
        most `tolerance` times the force or its median over that range, whichever is greater;
        `terms[...].error` is the error that was reached. Curves follow the model for another 5% of
        the range, and are linear in $r^2$ farther out (force proportional to r).

        Concrete models only, one at a time.

        **Raises:** `ValueError` if the tolerance is not reached (float32, or features that jump),
        or if the training data had no moving body or no pair.
        """
        if not 0 < tolerance < 1:
            raise ValueError(f"tolerance must be between 0 and 1, got {tolerance}")
        terms, theta = [], []
        # Only the first pair term takes the constants, or they would count several times; one that
        # is compressed already, and returns itself, takes none.
        constants, taken = self._pair_constants, False
        for term, coefficients in zip(self.terms, self.theta):
            if isinstance(term, AbstractEnergy):
                own = jnp.zeros_like(constants) if taken else constants
                short, coefficients = term.compress(coefficients, own, tolerance, smallest)
                taken |= isinstance(term, AbstractPairFeatures) and short is not term
                term = short
            terms.append(term)
            theta.append(coefficients)
        remaining = self.constants.at[: len(constants)].set(0) if taken else self.constants
        basis = dataclasses.replace(self.basis, terms=tuple(terms))
        return HamiltonianGraphNetwork(basis, tuple(theta), remaining)

    def tails(
        self, law: Literal["power"], *, below: float | None = None, above: float | None = None
    ) -> "HamiltonianGraphNetwork":
        r"""Continues pair potentials outside of the trained range, by the power laws inside.

        Random units bend away where no data hold them. With a tail the force is
        $\phi'(r) = \phi'(a) (r/a)^m$ beyond the distance a. It is continuous, and the exponent m is
        measured over the nearest factor of two in distance, or over half of a narrow range. A
        warning reports the exponents. `out_of_range` does not count the pairs that a tail covers.

        Concrete models only.

        **Arguments:**

        - `law`: "power", the only law.
        - `below`, `above`: distances of pairs where the tails begin (length); None for the least
            and the greatest in training. Few pairs come as near as the nearest one, so that a
            greater `below` is often more accurate. 0 and inf leave out a tail. Potentials with a
            cutoff have no tail above.

        **Raises:** `ValueError` for another law, for distances outside of the trained range, for
        models without pairs in training, or where the force follows no power law: where it changes
        sign, or is 10% off any.
        """
        if law != "power":
            raise ValueError(f'law must be "power", got {law!r}')
        terms = with_power_tails(self.terms, self.theta, below, above)
        basis = dataclasses.replace(self.basis, terms=terms)
        return HamiltonianGraphNetwork(basis, self.theta, self.constants)

    @property
    def _pair_constants(self) -> Float[Array, " T"]:
        """Constants of the pair types."""
        return self.constants[: self.basis.counts.pair_types]


def _contracted(
    term: AbstractRates, graphs: GraphsTuple, theta: Float[Array, " K"], dynamics: AbstractDynamics
) -> tuple[Array | None, ...]:
    """The rates of one term, in the order of the state."""
    columns = by_state(term(graphs), dynamics)
    return tuple(None if c is None else c @ theta for c in columns)
