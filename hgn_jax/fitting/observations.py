"""Observations: measured quantities as rows of a least-squares system for theta."""

import dataclasses
from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import NodeScalars
from ..features.base import AbstractEnergy
from ..graphs.geometry import movable
from ..models.basis import Basis
from .weights import AbstractWeights, RelativeWeights, ScaledWeights, as_weights


class Rows(eqx.Module):
    """A block of equations known + sum_i columns[i] @ theta[i] = target, each with its weight.

    `columns` has one entry per term and a last one for the constants; None for terms that do not
    contribute. Masked rows have weight zero.
    """

    columns: tuple[Float[Array, "r _"] | None, ...]
    target: Float[Array, " r"]
    """Observed values."""
    weight: Float[Array, " r"]
    known: Float[Array, " r"] | None = None
    """Part of the values that is not learned."""
    name: str = eqx.field(default="observed", static=True)


class AbstractObservation(eqx.Module):
    """Measured quantities of graphs, with their own weights."""

    window: ClassVar[int | None] = 1
    """Number of consecutive frames of a trajectory that belong together: chunks and streams never
    split them. None for whole trajectories."""
    shorter_last: ClassVar[bool] = False
    """True if the last window of a trajectory may have fewer frames."""

    @abstractmethod
    def needs(self, basis: Basis) -> dict[str, set[str]]:
        """Arrays that must be present, by part of the graph: {"nodes": {"force"}}."""

    @abstractmethod
    def calibrated(self, data: GraphsTuple, basis: Basis) -> "AbstractObservation":
        """A copy with its scales fixed from `data`, for use on later batches."""

    @abstractmethod
    def rows(self, basis: Basis, graphs: GraphsTuple) -> tuple[Rows, ...]:
        """Blocks of rows.

        **Raises:** `ValueError` if the terms cannot be determined by this observation.
        """


class Derivatives(AbstractObservation):
    """Measured rates of the state: d rows for every mobile body and every array of the state.

    For Hamilton's equations these are `velocity` = dq/dt and `force` = dp/dt.

    **Arguments:**

    - `weights`: "relative" to each body's own rate, "scaled" by the root mean square of the rate
        over all bodies, "uniform" (1 for every row), or a function of the graphs that returns `[n]`
        for each rate. Pass the same function each time: jit compiles again for a new one. A
        `weight` in the data's nodes multiplies them.
    """

    weights: AbstractWeights = eqx.field(converter=as_weights, default=RelativeWeights())

    def needs(self, basis: Basis) -> dict[str, set[str]]:
        return {"nodes": {*basis.dynamics.observed, *basis.dynamics.state}}

    def calibrated(self, data: GraphsTuple, basis: Basis) -> "Derivatives":
        weights = self.weights.calibrated(data, basis.dynamics.observed)
        return dataclasses.replace(self, weights=weights)

    def rows(self, basis: Basis, graphs: GraphsTuple) -> tuple[Rows, ...]:
        names = basis.dynamics.observed
        blocks = zip(
            names, basis.rates(graphs), basis.known_rates(graphs), self.weights(graphs, names)
        )
        return tuple(_node_rows(graphs, *block) for block in blocks)


class Forces(AbstractObservation):
    """Measured forces alone, and torques of `hgn.LinearRotors`: no velocities are needed, and
    momenta only if a term reads them.

    The kinetic energy cannot be learned from forces: it is |p|^2 / 2m unless `known` is given.

    **Arguments:**

    - `weights`: as in `Derivatives`, for these rates. By default all bodies count alike, relative
        to the root mean square of the data's forces, or torques.
    """

    weights: AbstractWeights = eqx.field(converter=as_weights, default=ScaledWeights())

    def needs(self, basis: Basis) -> dict[str, set[str]]:
        return {"nodes": {"force", *_pushes(basis)}}

    def calibrated(self, data: GraphsTuple, basis: Basis) -> "Forces":
        names = _pushes(basis) or ("force",)  # `rows` refuses dynamics without forces
        return dataclasses.replace(self, weights=self.weights.calibrated(data, names))

    def rows(self, basis: Basis, graphs: GraphsTuple) -> tuple[Rows, ...]:
        for term in basis.terms:
            if isinstance(term, AbstractEnergy) and "momentum" in term.depends_on:
                raise ValueError(
                    f"forces alone cannot determine the {term.name} features: leave them out of "
                    "`terms` (the kinetic energy is |p|^2/2m then), or observe velocities too"
                )
        observed = basis.dynamics.observed
        if "force" not in observed:
            raise ValueError(
                f"{type(basis.dynamics).__name__} moves {basis.dynamics.state}, whose rates are "
                f"{observed}: there is no force to observe. Use hgn.Derivatives()"
            )
        names = _pushes(basis)
        sides, weights = [observed.index(name) for name in names], self.weights(graphs, names)
        rates, known = basis.rates(graphs), basis.known_rates(graphs)
        return tuple(
            _node_rows(graphs, name, rates[side], known[side], weight)
            for name, side, weight in zip(names, sides, weights)
        )


def _pushes(basis: Basis) -> tuple[str, ...]:
    """The observed rates of momenta: `force`, and `torque` of bodies with an axis."""
    return tuple(name for name in basis.dynamics.observed if name in ("force", "torque"))


def _node_rows(
    graphs: GraphsTuple,
    name: str,
    columns: list[Float[Array, "n d _"] | None],
    known: Float[Array, "n d"] | None,
    weight: NodeScalars,
) -> Rows:
    """d rows for every node; nodes that are not mobile have weight zero."""
    mask, target = movable(graphs), graphs.nodes[name]
    if "weight" in graphs.nodes:
        weight = weight * graphs.nodes["weight"]
    return Rows(
        # The last entry: rates do not depend on constants.
        (*(None if c is None else c.reshape(-1, c.shape[2]) for c in columns), None),
        jnp.where(mask[:, None], target, 0).ravel(),
        jnp.repeat(jnp.where(mask, weight, 0), target.shape[1]),
        None if known is None else known.ravel(),
        name,
    )
