"""Observed energies and stresses: rows for whole graphs."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import GraphScalars
from ..graphs.geometry import (
    bodies,
    count,
    distance,
    edge_mask,
    graph_mask,
    movable,
    sum_over_graphs,
)
from ..graphs.kinetic import node_kinetic_energy
from ..models.basis import Basis
from .observations import AbstractObservation, Rows
from .weights import root_mean_square

ENERGY_LENGTH = 0.04
STRESS_LENGTH = 0.2
"""Lengths, relative to the nearest-neighbour distance, that convert an error of forces into an
error of energy, or virial, per body; typical of potentials fitted to quantum mechanics."""


class Energies(AbstractObservation):
    """Measured energies (`globals["energy"]`): one row per graph, additive constants included.

    For configurations with forces but no momenta (quantum mechanics), rows have the weight
    `weight` / (sqrt(n) s) for n bodies, because errors of bodies add up at random. s is 4% of the
    root mean square force times the median nearest-neighbour distance.

    For trajectories the weight is `weight` / (n s). s is the standard deviation of the energy per
    body, but at least a tenth of the mean kinetic energy per body: total energies hardly vary along
    trajectories, and would outweigh everything else.

    `globals["energy_weight"]` multiplies the weights: 0 where the energy of a frame is missing.
    """

    weight: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    """An array, so that fits with other weights share one compiled program."""
    spread: Float[Array, ""] | None = None
    """The scale s (energy); None takes it from the weighted graphs."""
    reference: Float[Array, " c"] | None = None
    """Additive constants that explain most of the energies; rows hold the remainder."""

    def needs(self, basis: Basis) -> dict[str, set[str]]:
        return {"globals": {"energy"}}

    def calibrated(self, data: GraphsTuple, basis: Basis) -> "Energies":
        if self.reference is not None:
            return self
        spread = self.spread
        if spread is None:
            spread = ENERGY_LENGTH * _work(data) if _configurations(data) else _deviation(data)
            spread = jnp.where(spread > 0, spread, 1)
        counts = basis.constants(data)
        weight = _per_graph(data, "energy_weight")
        counts, energy = counts * weight[:, None], _real(data) * weight
        # An approximation is enough: the fit still solves for the constants.
        reference = energy @ counts
        if basis.constant_count:
            # Compositions may be proportional to one another, hence the pseudo-inverse.
            reference = jnp.linalg.pinv(counts.T @ counts, hermitian=True) @ reference
        return dataclasses.replace(self, spread=spread, reference=reference)

    def rows(self, basis: Basis, graphs: GraphsTuple) -> tuple[Rows, ...]:
        fixed = self.calibrated(graphs, basis)
        assert fixed.spread is not None and fixed.reference is not None
        weight = self.weight / fixed.spread * _per_graph(graphs, "energy_weight")
        constants = basis.constants(graphs)
        # Constants are large beside the differences: taken out first, they cost no digits.
        target = _real(graphs) - constants @ fixed.reference
        known = jnp.where(graph_mask(graphs), basis.known_energy(graphs), 0)
        return (Rows((*basis.energies(graphs), constants), target, weight, known, "energy"),)


class Stresses(AbstractObservation):
    r"""Measured stresses $\sigma = \frac{1}{V} \partial E / \partial \epsilon$
    (`globals["stress"]`): one row for each of the d (d + 1) / 2 components of a graph's virial
    $V \sigma$.

    Rows have the weight `weight` / $(\sqrt n \, s)$ for n bodies. s is `spread`, or 20% of the root
    mean square force times the median nearest-neighbour distance.
    `globals["stress_weight"]` multiplies the weights: 0 where the stress of a frame is missing.
    """

    weight: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    """An array, so that fits with other weights share one compiled program."""
    spread: Float[Array, ""] | None = None
    """The scale s (energy); None takes it from the weighted graphs."""

    def needs(self, basis: Basis) -> dict[str, set[str]]:
        return {"globals": {"stress", "cell"}}

    def calibrated(self, data: GraphsTuple, basis: Basis) -> "Stresses":
        if self.spread is not None:
            return self
        spread = STRESS_LENGTH * _work(data)
        return dataclasses.replace(self, spread=jnp.where(spread > 0, spread, 1))

    def rows(self, basis: Basis, graphs: GraphsTuple) -> tuple[Rows, ...]:
        spread = self.calibrated(graphs, basis).spread
        assert spread is not None
        real, d = graph_mask(graphs), graphs.nodes["position"].shape[1]
        first, second = np.triu_indices(d)

        def independent(virial: Float[Array, "g d d ..."]) -> Float[Array, "r ..."]:
            mean = (virial[:, first, second] + virial[:, second, first]) / 2
            mean = jnp.where(real.reshape(-1, *[1] * (mean.ndim - 1)), mean, 0)
            return mean.reshape(-1, *mean.shape[2:])

        volume = jnp.abs(jnp.linalg.det(graphs.globals["cell"]))[:, None, None]
        weight = self.weight / spread * _per_graph(graphs, "stress_weight")
        columns = [None if v is None else independent(v) for v in basis.virials(graphs)]
        return (
            Rows(
                (*columns, None),
                independent(volume * graphs.globals["stress"]),
                jnp.repeat(weight, len(first)),
                independent(basis.known_virial(graphs)),
                "stress",
            ),
        )


def _real(graphs: GraphsTuple) -> GraphScalars:
    """The energies, zero for padding."""
    return jnp.where(graph_mask(graphs), graphs.globals["energy"], 0)


def _configurations(graphs: GraphsTuple) -> bool:
    """True for configurations: joined bodies with forces, but no momenta."""
    return "force" in graphs.nodes and "momentum" not in graphs.nodes and len(graphs.senders) > 0


def _per_graph(graphs: GraphsTuple, name: str) -> GraphScalars:
    """Weights of the graphs, divided by how their errors grow with the number of bodies."""
    n = bodies(graphs)
    real = n > 0
    n = jnp.where(real, n, 1)
    size = jnp.sqrt(n) if _configurations(graphs) or name == "stress_weight" else n
    return jnp.where(real, graphs.globals.get(name, jnp.ones_like(n)) / size, 0)


def _work(data: GraphsTuple) -> Float[Array, ""]:
    """Root mean square of the force times the median distance of nearest neighbours (energy)."""
    n = count(data)
    r = jnp.where(edge_mask(data), distance(data), jnp.inf)
    nearest = jnp.full(n, jnp.inf, r.dtype).at[data.receivers].min(r)
    joined = jnp.isfinite(nearest) & movable(data)
    return root_mean_square(data, "force") * jnp.nanmedian(jnp.where(joined, nearest, jnp.nan))


def _deviation(data: GraphsTuple) -> Float[Array, ""]:
    """Standard deviation of the energy per body, at least a tenth of the mean kinetic energy."""
    number = bodies(data)
    real = number > 0
    if "energy_weight" in data.globals:
        real &= data.globals["energy_weight"] > 0
    graph_count = jnp.maximum(jnp.sum(real), 1).astype(number.dtype)

    def per_body(values: GraphScalars) -> GraphScalars:
        return jnp.where(real, values / jnp.where(real, number, 1), 0)  # padding has no bodies

    energy = per_body(data.globals["energy"])
    mean = jnp.sum(energy) / graph_count
    spread = jnp.sqrt(jnp.sum(jnp.where(real, energy - mean, 0) ** 2) / graph_count)
    if {"momentum", "mass"} <= data.nodes.keys():
        kinetic = per_body(sum_over_graphs(data, node_kinetic_energy(data)))
        spread = jnp.maximum(spread, 0.1 * jnp.sum(kinetic) / graph_count)
    return spread
