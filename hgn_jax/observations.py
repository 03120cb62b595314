"""What was observed, as rows of a least-squares system for theta."""

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from ._types import NodeMask, NodeScalars
from .features.base import AbstractFeatures
from .graphs.geometry import movable, node_mask, norm, sum_over_graphs
from .structure import AbstractStructure

Weights: TypeAlias = Callable[[GraphsTuple], tuple[NodeScalars, NodeScalars]]
"""Weights of every node's velocity rows and force rows, before its own `weight`."""


class Rows(eqx.Module):
    """A block of equations sum_i columns[i] @ theta[i] = target, each row times its weight.

    `columns` has one entry per feature set and a last one for the constants; None where a set does
    not take part. Masked rows have weight zero.
    """

    columns: tuple[Float[Array, "r _"] | None, ...]
    target: Float[Array, " r"]
    weight: Float[Array, " r"]
    name: str = eqx.field(default="observed", static=True)


class AbstractObservation(eqx.Module):
    """Turns data into rows, given the features and the structure."""

    @abstractmethod
    def rows(
        self,
        features: tuple[AbstractFeatures, ...],
        structure: AbstractStructure,
        graphs: GraphsTuple,
        weights: Weights,
    ) -> tuple[Rows, ...]:
        """Blocks of rows. Raises `ValueError` if the data lack what was to be observed."""


def relative_weights(graphs: GraphsTuple) -> tuple[NodeScalars, NodeScalars]:
    """1 / max(|v_i|, floor) and 1 / (m_i max(|a_i|, floor)): every body counts by its own motion.

    The floors are a hundredth of the data's median speed and acceleration: bodies at rest do not
    dominate. So springs and planets, which differ by 10^7 in force, are fitted alike.
    """
    mass = jnp.where(node_mask(graphs), graphs.nodes["mass"], 1)
    return tuple(  # type: ignore[return-value]
        1 / (scale * _floored(norm(rate) / scale, movable(graphs)))
        for rate, scale in (
            (graphs.nodes["velocity"], jnp.ones_like(mass)),
            (graphs.nodes["force"], mass),
        )
    )


def uniform_weights(graphs: GraphsTuple) -> tuple[NodeScalars, NodeScalars]:
    """One for every row: plain least squares in the data's units."""
    return jnp.ones_like(graphs.nodes["mass"]), jnp.ones_like(graphs.nodes["mass"])


class Derivatives(AbstractObservation):
    """Observed dq/dt (`velocity`) and dp/dt (`force`): 2d rows for every body that moves."""

    def rows(
        self,
        features: tuple[AbstractFeatures, ...],
        structure: AbstractStructure,
        graphs: GraphsTuple,
        weights: Weights,
    ) -> tuple[Rows, ...]:
        _require(graphs, "nodes", "velocity", "force")
        rates = [structure.rates(graphs, f.gradient(graphs)) for f in features]
        return tuple(
            _node_rows(name, [r[side] for r in rates], graphs, graphs.nodes[name], weight)
            for side, (name, weight) in enumerate(
                zip(("velocity", "force"), weights(graphs), strict=True)
            )
        )


class Forces(AbstractObservation):
    """Forces alone, with known masses: the kinetic energy is exactly |p|^2 / 2m.

    To be used with `Kinetic(units=0)`, whose one coefficient is then set by the definition
    v = p / m; the values of momenta and velocities in the data are not looked at (zeros do).
    """

    def rows(
        self,
        features: tuple[AbstractFeatures, ...],
        structure: AbstractStructure,
        graphs: GraphsTuple,
        weights: Weights,
    ) -> tuple[Rows, ...]:
        _require(graphs, "nodes", "force")
        mass = graphs.nodes["mass"][:, None]
        unit = jnp.ones_like(graphs.nodes["position"])
        graphs = graphs._replace(nodes=graphs.nodes | {"momentum": mass * unit, "velocity": unit})
        rates = [structure.rates(graphs, f.gradient(graphs)) for f in features]
        for f, (velocity, _) in zip(features, rates):
            learned = velocity is not None and velocity.shape[2] > 1
            if learned or not f.separable:
                raise ValueError(
                    f"forces alone cannot determine the {f.name} features: use Kinetic(units=0) "
                    "and features of positions"
                )
        velocity_weight, force_weight = weights(graphs)
        return (
            _node_rows("velocity", [r[0] for r in rates], graphs, unit, velocity_weight),
            _node_rows("force", [r[1] for r in rates], graphs, graphs.nodes["force"], force_weight),
        )


class Energies(AbstractObservation):
    """Observed total energies (`globals["energy"]`), one row per graph, constants included.

    Rows count by `weight` over the number of bodies and over the spread of the energy per body.
    """

    weight: float = eqx.field(default=1.0, static=True)

    def rows(
        self,
        features: tuple[AbstractFeatures, ...],
        structure: AbstractStructure,
        graphs: GraphsTuple,
        weights: Weights,
    ) -> tuple[Rows, ...]:
        _require(graphs, "globals", "energy")
        energy = graphs.globals["energy"]
        count = sum_over_graphs(graphs, node_mask(graphs).astype(energy.dtype))
        real = count > 0
        per_body = jnp.where(real, energy / jnp.where(real, count, 1), 0)
        graph_count = jnp.maximum(jnp.sum(real), 1).astype(energy.dtype)
        mean = jnp.sum(per_body) / graph_count
        spread = jnp.sqrt(jnp.sum(jnp.where(real, per_body - mean, 0) ** 2) / graph_count)
        spread = jnp.where(spread > 0, spread, 1)
        constants = jnp.concatenate([f.constants(graphs) for f in features], axis=1)
        weight = jnp.where(real, self.weight / (spread * jnp.where(real, count, 1)), 0)
        columns = (*(f(graphs) for f in features), constants)
        return (Rows(columns, jnp.where(real, energy, 0), weight, "energy"),)


def _node_rows(
    name: str,
    columns: list[Float[Array, "n d _"] | None],
    graphs: GraphsTuple,
    target: Float[Array, "n d"],
    weight: NodeScalars,
) -> Rows:
    mask = movable(graphs)
    if "weight" in graphs.nodes:
        weight = weight * graphs.nodes["weight"]
    weight = jnp.where(mask, weight, 0)
    d = target.shape[1]
    return Rows(
        (*(None if c is None else c.reshape(-1, c.shape[2]) for c in columns), None),
        jnp.where(mask[:, None], target, 0).ravel(),
        jnp.repeat(weight, d),
        name,
    )


def _floored(size: NodeScalars, mask: NodeMask) -> NodeScalars:
    median = jnp.nanmedian(jnp.where(mask, size, jnp.nan))
    floor = jnp.where(median > 0, 1e-2 * median, jnp.max(jnp.where(mask, size, 0)))
    floor = jnp.where(floor > 0, floor, 1)
    return jnp.maximum(size, floor)


def _require(graphs: GraphsTuple, part: str, *names: str) -> None:
    if missing := [name for name in names if name not in getattr(graphs, part)]:
        raise ValueError(f"the data lack {part} {missing}: nothing to learn from")
