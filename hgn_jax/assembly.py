"""From a batch of graphs to the linear systems that are solved."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .checks import check
from .features.base import AbstractFeatures
from .observations import AbstractObservation, Energies, Rows
from .structure import AbstractStructure
from .weights import AbstractWeights, Weights, as_weights


class System(eqx.Module):
    """Weighted equations Z theta = u of column sets that no other system meets."""

    matrix: Float[Array, "r K"]
    target: Float[Array, " r"]
    rows: Int[Array, ""]
    """Equations of positive weight."""
    members: tuple[tuple[int, int], ...] = eqx.field(static=True)
    """The column sets, each with its width: feature sets by number, constants after the last."""


class Equations(eqx.Module):
    """How observed motion becomes equations for theta, in the first data and any further batch:
    every scale of weights and observations is settled by the first."""

    features: tuple[AbstractFeatures, ...]
    structure: AbstractStructure
    observations: tuple[AbstractObservation, ...]
    weights: AbstractWeights
    energies: Energies | None
    """How observed energies determine the constants that rates do not see; None without either."""
    constants: tuple[int, ...] = eqx.field(static=True)
    """Number of constants of each feature set."""
    arrays: tuple[tuple[str, str, str], ...] = eqx.field(static=True)
    """Part, name, dtype and trailing shape of every array of the data."""

    def __init__(
        self,
        features: tuple[AbstractFeatures, ...],
        structure: AbstractStructure,
        observations: tuple[AbstractObservation, ...],
        weights: Weights | AbstractWeights,
        data: GraphsTuple,
    ) -> None:
        self.features = features
        self.structure = structure
        self.observations = tuple(o.settled(data) for o in observations)
        self.weights = as_weights(weights).settled(data)
        self.constants = tuple(f.constants(data).shape[1] for f in features)
        self.arrays = _arrays(data)
        energies = [o for o in self.observations if isinstance(o, Energies)]
        if not energies and "energy" in data.globals:
            energies = [Energies().settled(data)]
        self.energies = energies[0] if energies and any(self.constants) else None

    def check(self, batch: GraphsTuple) -> None:
        """Raises `ValueError` for bad data, other arrays than those of the first data, or what the
        features never saw; concrete data only."""
        check(batch)
        for part in ("nodes", "edges", "globals"):
            first, here = (
                {name: rest for p, name, rest in arrays if p == part}
                for arrays in (self.arrays, _arrays(batch))
            )
            if here.keys() != first.keys():
                raise ValueError(f"{part} hold {sorted(here)}, those before {sorted(first)}")
            for name in here:
                if here[name] != first[name]:
                    raise ValueError(
                        f"{part}[{name!r}] is {here[name]}, before it was {first[name]}"
                    )
        for features in self.features:
            features.accepts(batch)

    def systems(self, data: GraphsTuple) -> tuple[System, ...]:
        """Independent systems.

        **Raises:** `ValueError` for missing targets, or rows that no feature sees.
        """
        blocks = tuple(
            b
            for o in self.observations
            for b in o.rows(self.features, self.structure, data, self.weights)
        )
        widths = [*(_width(blocks, i) for i in range(len(self.features))), sum(self.constants)]
        systems = []
        for members, mine in independent_systems(blocks):
            matrix, target = assemble(mine, members, widths)
            rows = jnp.sum(jnp.concatenate([b.weight for b in mine]) > 0)
            systems.append(System(matrix, target, rows, tuple((i, widths[i]) for i in members)))
        return tuple(systems)

    def groups(self, members: Sequence[tuple[int, int]]) -> tuple[int, ...]:
        """Widths of the groups of columns of one system: those of its feature sets, and constants,
        each of which may have a ridge of its own."""
        every = [
            self.features[i].groups(width) if i < len(self.features) else (width,)
            for i, width in members
        ]
        return tuple(width for of_set in every for width in of_set if width)


def _arrays(data: GraphsTuple) -> tuple[tuple[str, str, str], ...]:
    """Those that a fit looks at."""
    return tuple(
        (part, name, f"{array.dtype} [_, {array.shape[1:]}]")
        for part in ("nodes", "edges", "globals")
        for name, array in sorted(getattr(data, part).items())
        if name not in ("time", "trajectory")
    )


def independent_systems(
    blocks: Sequence[Rows],
) -> list[tuple[list[int], list[Rows]]]:
    """Groups of column sets that share no rows, each with its rows: smaller solves, not one.

    Kinetic columns meet velocity rows only and pair columns force rows only, unless another
    feature or observation ties them together.

    **Raises:** `ValueError` for rows that no column meets: they would be lost.
    """
    groups: list[tuple[set[int], list[Rows]]] = []
    for block in blocks:
        here = {i for i, c in enumerate(block.columns) if c is not None}
        if not here:
            raise ValueError(
                f"no feature sees the {block.name} rows: add Kinetic() for velocities (Kinetic(0) "
                "if the kinetic energy is |p|^2/2m), Pair() or External() for forces"
            )
        touching = [g for g in groups if g[0] & here]
        merged = (here.union(*(g[0] for g in touching)), [b for g in touching for b in g[1]])
        apart = [g for g in groups if not any(g is t for t in touching)]
        groups = [*apart, (merged[0], [*merged[1], block])]
    return [(sorted(members), rows) for members, rows in groups]


def assemble(
    blocks: Sequence[Rows], members: Sequence[int], widths: Sequence[int]
) -> tuple[Float[Array, "r K"], Float[Array, " r"]]:
    """Weighted matrix and target of one system; zeros where a set does not take part."""
    matrix = jnp.concatenate(
        [
            jnp.concatenate(
                [
                    jnp.zeros((len(b.target), widths[i]), b.target.dtype)
                    if (c := b.columns[i]) is None
                    else c * b.weight[:, None]
                    for i in members
                ],
                axis=1,
            )
            for b in blocks
        ]
    )
    return matrix, jnp.concatenate([b.target * b.weight for b in blocks])


def _width(blocks: Sequence[Rows], i: int) -> int:
    for block in blocks:
        if (column := block.columns[i]) is not None:
            return column.shape[1]
    raise ValueError(f"no observation sees feature set {i}: leave it out or observe more")
