"""Masses or charges of the bodies, as unknowns of a refinement beside theta."""

import dataclasses
from typing import Literal, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import NodeScalars, Rates
from ..graphs.geometry import movable
from ..graphs.schema import require
from ..models.base import AbstractModel
from ..models.network import HamiltonianGraphNetwork
from ..models.newtonian import Newtonian

Kind: TypeAlias = Literal["mass", "charge", "gravity"]
KINDS = ("mass", "charge", "gravity")
Columns: TypeAlias = list[Float[Array, "n d _"] | None]


class Unknowns(eqx.Module):
    r"""Factors of what the data give for each body, in the form in which rates are linear in them.

    $\dot v_i = F_i / m_i$ is linear in $1 / m_i$. With couplings $c_i c_j$ the force on a body is
    linear in the charge of each other one. Masses that attract are charges, too.
    """

    values: Float[Array, " G"]
    """$x_g$: $1 / m$ for "mass", otherwise the factor itself; one at the data's own values."""
    groups: Int[Array, " n"]
    """Number of each body's value; -1 for bodies that keep what the data give."""
    kind: Kind = eqx.field(static=True)

    def of_bodies(self, graphs: GraphsTuple) -> NodeScalars:
        """Factor of every body, for batches of the one system too."""
        known = jnp.ones(1, self.values.dtype)
        each = jnp.concatenate([self.values, known])[self.groups]  # -1 takes the last
        factor = 1 / each if self.kind == "mass" else each
        return jnp.tile(factor, len(graphs.nodes["position"]) // len(factor))

    def of_masses(self, graphs: GraphsTuple) -> NodeScalars:
        """Factor of every body's mass."""
        factor = self.of_bodies(graphs)
        return jnp.ones_like(factor) if self.kind == "charge" else factor

    def __call__(self, graphs: GraphsTuple) -> GraphsTuple:
        """The graphs with these masses or charges. Velocities stay: momenta follow the masses."""
        factor, nodes, edges = self.of_bodies(graphs), {}, {}
        if self.kind != "charge":
            nodes["mass"] = factor * graphs.nodes["mass"]
            if "momentum" in graphs.nodes:
                nodes["momentum"] = factor[:, None] * graphs.nodes["momentum"]
        if self.kind == "charge" and "charge" in graphs.nodes:
            nodes["charge"] = factor * graphs.nodes["charge"]
        if self.kind != "mass":
            pair = factor[graphs.senders] * factor[graphs.receivers]
            edges["coupling"] = pair * graphs.edges.get("coupling", jnp.ones_like(pair))
        return graphs._replace(nodes=graphs.nodes | nodes, edges=graphs.edges | edges)

    def moved(self, change: Float[Array, " G"]) -> "Unknowns":
        """The values after that change. Masses stay positive, and change by a limited factor: far
        from the solution, steps are too long."""
        values = self.values + change
        if self.kind != "charge":
            values = jnp.clip(values, self.values / LARGEST, self.values * LARGEST)
        return dataclasses.replace(self, values=values)


LARGEST = 8
"""Greatest factor by which a step may change a mass."""


class Rescaled(eqx.Module):
    """A network that moves bodies whose masses or charges are unknown.

    Its momenta are velocities times the data's own masses. So a change of the masses changes
    neither the measured states nor the starts.
    """

    network: HamiltonianGraphNetwork
    unknowns: Unknowns

    def vector_field(self, graphs: GraphsTuple) -> Rates:
        rates = self.network.vector_field(self.unknowns(graphs))
        names = self.network.dynamics.state
        return tuple(self._own(graphs, name, rate) for name, rate in zip(names, rates))

    def columns(self, graphs: GraphsTuple) -> tuple[Columns, ...]:
        """Derivatives of the rates by theta, as `Basis.rates` has them."""
        rates = self.network.basis.rates(self.unknowns(graphs))
        return tuple(
            [None if column is None else self._own(graphs, name, column) for column in of_terms]
            for name, of_terms in zip(self.network.dynamics.state, rates)
        )

    def _own(self, graphs: GraphsTuple, name: str, rate: Array) -> Array:
        """The rate of an array of the state in units of the data's own masses."""
        if name != "momentum":
            return rate
        return rate / self.unknowns.of_masses(graphs).reshape(-1, *[1] * (rate.ndim - 1))


Mover: TypeAlias = AbstractModel | Rescaled
"""Gives the rates of a state."""


def network_of(mover: Mover) -> HamiltonianGraphNetwork:
    network = mover.network if isinstance(mover, Rescaled) else mover
    assert isinstance(network, HamiltonianGraphNetwork)
    return network


def columns_of(mover: Mover, graphs: GraphsTuple) -> tuple[Columns, ...]:
    """Derivatives of the rates by theta."""
    if isinstance(mover, Rescaled):
        return mover.columns(graphs)
    return network_of(mover).basis.rates(graphs)


def values_of(mover: Mover, dtype: jnp.dtype) -> Float[Array, " G"]:
    """Values of masses or charges that are unknown; none if all are known."""
    return mover.unknowns.values if isinstance(mover, Rescaled) else jnp.zeros(0, dtype)


def with_values(mover: Mover, values: Float[Array, " G"]) -> Mover:
    """The same with other values of what is unknown."""
    if not isinstance(mover, Rescaled):
        return mover
    return dataclasses.replace(mover, unknowns=dataclasses.replace(mover.unknowns, values=values))


def unknowns_of(kind: Kind, graph: GraphsTuple, network: HamiltonianGraphNetwork) -> Unknowns:
    """Unknowns of the bodies of a graph, all at the data's own values.

    Bodies of one `species` share a value. The first keeps what the data give, since the learned
    forces leave that scale open, unless forces of the known part set it.

    **Raises:** `ValueError` for another kind, dynamics without momenta, missing couplings of
    gravity, or if nothing is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown must be one of {KINDS} or None, got {kind!r}")
    if "momentum" not in network.dynamics.state:
        raise ValueError(f"unknown={kind!r} needs dynamics with momenta")
    if kind == "gravity":
        require(graph, {"edges": ["coupling"]}, 'refine(unknown="gravity")')
    # A fixed body attracts and repels, but its mass has no effect.
    takes_part = np.asarray(movable(graph) if kind == "mass" else graph.nodes["mass"] > 0)
    names = np.asarray(graph.nodes.get("species", np.arange(len(takes_part))))
    scale_is_open = network.basis.known is None or isinstance(network.basis.known, Newtonian)
    # True is 1: the first name keeps its value where the scale is open.
    free = np.unique(names[takes_part])[int(scale_is_open) :]
    if not len(free):
        raise ValueError(
            f"unknown={kind!r}: the first body or species keeps its value, and there is no other"
        )
    groups = np.where(takes_part & np.isin(names, free), np.searchsorted(free, names), -1)
    values = jnp.ones(len(free), graph.nodes["position"].dtype)
    return Unknowns(values, jnp.asarray(groups, jnp.int32), kind)
