"""`Basis`: a learned model without its coefficients theta, in which it is linear."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import Gradient, GraphScalars, RotorGradient
from ..features.base import AbstractEnergy, AbstractRates, AbstractTerm, Counts
from ..graphs.geometry import (
    edge_kinds,
    edge_share,
    graph_index,
    node_mask,
    sum_over_graphs,
)
from ..graphs.species import typed_by_species
from ..graphs.strain import strained
from .base import AbstractModel
from .equations_of_motion import AbstractDynamics, Canonical, at_rest_where_fixed, total

_Columns = list[Float[Array, "n d _"] | None]


class Basis(eqx.Module):
    r"""Sampled terms, the dynamics that turn their energies into motion, and a known part.

    Rates of the state are $known + \sum_{terms} columns \cdot \theta$. Energies have the same form,
    plus extensive `constants` that do not change the rates.
    """

    terms: tuple[AbstractTerm, ...]
    dynamics: AbstractDynamics = Canonical()
    known: AbstractModel | None = None
    """Part of the energy that is not learned."""
    species: tuple[int, ...] = eqx.field(default=(), static=True)
    """Species of the bodies in increasing order, each with a constant of its own; empty if all
    bodies are alike. Edges without a `type` get one for every pair of species."""

    def __check_init__(self) -> None:
        # `pair_types` finds species by binary search, so they must be sorted.
        if list(self.species) != sorted(set(self.species)):
            raise ValueError(f"species must be strictly increasing, got {self.species}")
        for term in self.terms:
            needs_axes = isinstance(term, AbstractEnergy) and "axis" in term.depends_on
            if needs_axes and "axis" not in self.dynamics.state:
                raise ValueError(
                    f"the {term.name} features turn axes, but {type(self.dynamics).__name__} moves "
                    f"{self.dynamics.state}: give dynamics=hgn.LinearRotors()"
                )

    @property
    def counts(self) -> Counts:
        """Counts that the constants of all energies multiply."""
        of_terms = [term.counts for term in self.terms if isinstance(term, AbstractEnergy)]
        pair_types = max((c.pair_types for c in of_terms), default=0)
        # Constants of several terms cannot be told apart: they share one for each count.
        return Counts(pair_types, any(c.bodies for c in of_terms))

    @property
    def constant_count(self) -> int:
        """Number of constants of the energy."""
        return self.counts.pair_types + self.counts.bodies * max(1, len(self.species))

    @property
    def needs(self) -> dict[str, set[str]]:
        """Arrays that the terms read, by part of the graph."""
        energies = [t for t in self.terms if isinstance(t, AbstractEnergy)]
        nodes = itertools.chain(*(t.needs for t in self.terms), *(e.depends_on for e in energies))
        timed = any(t.time_dependent for t in self.terms)
        return {"nodes": {"position", *nodes}, "globals": {"time"} if timed else set()}

    def constants(self, graphs: GraphsTuple) -> Float[Array, "g c"]:
        """Extensive counts with zero gradient: pairs of each type, then bodies of each species."""
        graphs = self.typed(graphs)
        columns = []
        counts, dtype = self.counts, graphs.nodes["position"].dtype
        if counts.pair_types:
            # A pair counts with its coupling, half of it for each direction.
            kinds, share = edge_kinds(graphs), edge_share(graphs)
            of_type = kinds[:, None] == jnp.arange(counts.pair_types, dtype=kinds.dtype)[None]
            pairs = jnp.where(of_type, share[:, None], 0)
            # `n_edge` does not partition edges in slots: each belongs to its receiver's graph.
            index = graph_index(graphs)[graphs.receivers]
            columns.append(jax.ops.segment_sum(pairs, index, graphs.n_node.shape[0]))
        if counts.bodies:
            real = node_mask(graphs)[:, None]
            if self.species:
                known = jnp.asarray(self.species, graphs.nodes["species"].dtype)
                real = real & (graphs.nodes["species"][:, None] == known[None])
            columns.append(sum_over_graphs(graphs, real.astype(dtype)))
        no_columns = jnp.zeros((graphs.n_node.shape[0], 0), dtype)
        return jnp.concatenate(columns, axis=1) if columns else no_columns

    def energies(self, graphs: GraphsTuple) -> list[Float[Array, "g _"] | None]:
        """Columns of the energy, one entry per term; None for rates."""
        graphs = self.typed(graphs)
        return [t(graphs) if isinstance(t, AbstractEnergy) else None for t in self.terms]

    def known_energy(self, graphs: GraphsTuple) -> GraphScalars:
        """Energy of the known part, zero without one."""
        if self.known is None:
            return jnp.zeros(graphs.n_node.shape, graphs.nodes["position"].dtype)
        return self.known(self.typed(graphs))

    def virials(self, graphs: GraphsTuple) -> list[Float[Array, "g d d _"] | None]:
        """Columns of the virial, dE/dstrain, one entry per term; None for rates."""
        graphs = self.typed(graphs)
        return [t.virial(graphs) if isinstance(t, AbstractEnergy) else None for t in self.terms]

    def known_virial(self, graphs: GraphsTuple) -> Float[Array, "g d d"]:
        """Virial of the known part, zero without one."""
        d, dtype = graphs.nodes["position"].shape[1], graphs.nodes["position"].dtype
        unstrained = jnp.zeros((d, d), dtype)
        # Forward mode: one strain of d x d entries, many graphs.
        return jax.jacfwd(lambda strain: self.known_energy(strained(graphs, strain)))(unstrained)

    def rates(self, graphs: GraphsTuple) -> tuple[_Columns, ...]:
        """Columns of the rates, for every array of the state: a list with one entry per term."""
        graphs = self.typed(graphs)
        by_term = [at_rest_where_fixed(graphs, self._rates(t, graphs)) for t in self.terms]
        return tuple([rates[k] for rates in by_term] for k in range(len(self.dynamics.state)))

    def known_rates(self, graphs: GraphsTuple) -> tuple[Any, ...]:
        """Rates of the known part and of the dynamics alone, `[n d]` for every array of the state;
        None means zero."""
        graphs = self.typed(graphs)
        # Motion without any energy has no coefficient, and so belongs to the known part.
        parts = [self.dynamics.offset(graphs)]
        if self.known is not None:
            parts.append(self.dynamics.rates(graphs, self.known.gradient(graphs)))
        return at_rest_where_fixed(graphs, tuple(map(total, zip(*parts))))

    def accepts(self, graphs: GraphsTuple) -> None:
        """Raises `ValueError` for species and types that training never saw; concrete only."""
        if self.species:
            mask = np.asarray(node_mask(graphs))
            present = np.unique(np.asarray(graphs.nodes["species"])[mask]).tolist()
            if unknown := sorted(set(present) - set(self.species)):
                raise ValueError(
                    f"species {unknown} were not in the first data, which held {self.species}"
                )
        self.dynamics.accepts(graphs)
        for term in self.terms:
            term.accepts(self.typed(graphs))

    def typed(self, graphs: GraphsTuple) -> GraphsTuple:
        """The graphs with edge types from species, if species differ and edges have no `type`."""
        return typed_by_species(graphs, self.species)

    def check_dimension(self, graphs: GraphsTuple) -> None:
        """Raises `ValueError` if a term was trained in another spatial dimension."""
        d = graphs.nodes["position"].shape[1]
        for term in self.terms:
            if term.dimension not in (None, d):
                raise ValueError(
                    f"the {term.name} features were trained in {term.dimension} dimensions, but "
                    f"the graph has {d}"
                )

    def _rates(self, term: AbstractTerm, graphs: GraphsTuple) -> tuple[Any, ...]:
        if isinstance(term, AbstractEnergy):
            return self.dynamics.rates(graphs, term.gradient(graphs))
        assert isinstance(term, AbstractRates)
        # Terms of rates are motion already: the dynamics do not act on them.
        return by_state(term(graphs), self.dynamics)


def by_state(rates: Gradient, dynamics: AbstractDynamics) -> tuple[Any, ...]:
    """Rates by name as a tuple in the order of the state."""
    by_name = RotorGradient.of(rates)
    return tuple(getattr(by_name, name) for name in dynamics.state)
