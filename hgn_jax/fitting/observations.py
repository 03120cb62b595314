"""What was observed, as rows of a least-squares system for theta."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import NodeScalars
from ..features.base import AbstractEnergy
from ..graphs.geometry import bodies, movable
from ..models.equations_of_motion import AbstractDynamics
from .weights import Weights


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

    def settled(self, data: GraphsTuple) -> "AbstractObservation":
        """The same with every scale taken from these data, to be used on further batches."""
        return self

    @abstractmethod
    def rows(
        self,
        features: tuple[AbstractEnergy, ...],
        structure: AbstractDynamics,
        graphs: GraphsTuple,
        weights: Weights,
    ) -> tuple[Rows, ...]:
        """Blocks of rows. Raises `ValueError` if the data lack what was to be observed."""


class Derivatives(AbstractObservation):
    """Observed dq/dt (`velocity`) and dp/dt (`force`): 2d rows for every body that moves."""

    def rows(
        self,
        features: tuple[AbstractEnergy, ...],
        structure: AbstractDynamics,
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
        features: tuple[AbstractEnergy, ...],
        structure: AbstractDynamics,
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
    spread: Float[Array, ""] | None = None
    """Standard deviation of the energy per body; None takes it from the graphs at hand."""

    def settled(self, data: GraphsTuple) -> "Energies":
        if self.spread is not None:
            return self
        _require(data, "globals", "energy")
        count = bodies(data)
        real = count > 0
        per_body = jnp.where(real, data.globals["energy"] / jnp.where(real, count, 1), 0)
        graph_count = jnp.maximum(jnp.sum(real), 1).astype(count.dtype)
        mean = jnp.sum(per_body) / graph_count
        spread = jnp.sqrt(jnp.sum(jnp.where(real, per_body - mean, 0) ** 2) / graph_count)
        return Energies(self.weight, jnp.where(spread > 0, spread, 1))

    def rows(
        self,
        features: tuple[AbstractEnergy, ...],
        structure: AbstractDynamics,
        graphs: GraphsTuple,
        weights: Weights,
    ) -> tuple[Rows, ...]:
        _require(graphs, "globals", "energy")
        count = bodies(graphs)
        real = count > 0
        spread = self.settled(graphs).spread
        assert spread is not None
        constants = jnp.concatenate([f.constants(graphs) for f in features], axis=1)
        weight = jnp.where(real, self.weight / (spread * jnp.where(real, count, 1)), 0)
        columns = (*(f(graphs) for f in features), constants)
        return (Rows(columns, jnp.where(real, graphs.globals["energy"], 0), weight, "energy"),)


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


def _require(graphs: GraphsTuple, part: str, *names: str) -> None:
    if missing := [name for name in names if name not in getattr(graphs, part)]:
        raise ValueError(f"the data lack {part} {missing}: nothing to learn from")
