"""Assembles the linear systems of a fit from batches of graphs."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from ..features.base import AbstractEnergy
from ..graphs.schema import require
from ..graphs.validate import check
from ..linear.triangle import column_norm
from ..models.basis import Basis
from ..models.network import HamiltonianGraphNetwork
from ..models.newtonian import Newtonian
from .energies import Energies
from .observations import AbstractObservation, Rows


class LinearSystem(eqx.Module):
    """One independent weighted least-squares problem, Z theta = u."""

    matrix: Float[Array, "r K"]
    target: Float[Array, " r"]
    """u: the observed values minus their known part."""
    observed: Float[Array, ""]
    """Norm of the weighted observed values."""
    rows: Int[Array, ""]
    """Number of equations of positive weight."""
    members: tuple[tuple[int, int], ...] = eqx.field(static=True)
    """Indices of the terms, each with its number of columns; the constants follow the last term."""


class Equations(eqx.Module):
    """Turns data into rows for theta. Scales are fixed by the first data and reused for later
    batches."""

    basis: Basis
    observations: tuple[AbstractObservation, ...]
    energies: Energies | None
    """Observation that determines the constants, which rates cannot; None if there are no observed
    energies or no constants."""
    arrays: tuple[tuple[str, str, str], ...] = eqx.field(static=True)
    """Part, name, dtype and trailing shape of every array of the data."""

    def __init__(
        self, basis: Basis, observations: Sequence[AbstractObservation], data: GraphsTuple
    ) -> None:
        self.basis = with_kinetic_energy(basis)
        require_arrays(data, self.basis, observations)
        self.basis.check_dimension(data)
        self.observations = tuple(o.calibrated(data, self.basis) for o in observations)
        self.arrays = _arrays(data)
        energies = [o for o in self.observations if isinstance(o, Energies)]
        if not energies and "energy" in data.globals:
            # They determine the constants only, which do not depend on the scale.
            alone = Energies(spread=jnp.ones((), data.globals["energy"].dtype))
            energies = [alone.calibrated(data, self.basis)]
        self.energies = energies[0] if energies and self.basis.constant_count else None

    @property
    def window(self) -> int | None:
        """Number of frames of a trajectory that must stay together; None for all."""
        return window_of(self.observations)

    @property
    def shorter_last(self) -> bool:
        """True if no observation of several frames needs whole windows at a trajectory's end."""
        return all(o.shorter_last for o in self.observations if o.window != 1)

    def check(self, batch: GraphsTuple) -> None:
        """Raises `ValueError` for bad data, for arrays unlike those of the first data, or for
        species or edge types absent in training; concrete data only."""
        check(batch)
        for part in ("nodes", "edges", "globals"):
            first, now = (
                {name: kind for p, name, kind in arrays if p == part}
                for arrays in (self.arrays, _arrays(batch))
            )
            if now.keys() != first.keys():
                raise ValueError(
                    f"{part} hold {sorted(now)}, those of the first data {sorted(first)}"
                )
            for name in now:
                if now[name] != first[name]:
                    raise ValueError(
                        f"{part}[{name!r}] is {now[name]}, in the first data it was {first[name]}"
                    )
        self.basis.accepts(batch)

    def systems(self, data: GraphsTuple) -> tuple[LinearSystem, ...]:
        """Assembles the independent systems of these data.

        **Raises:** `ValueError` for observations to which no term contributes, or terms that no
        observation determines.
        """
        blocks = tuple(b for o in self.observations for b in o.rows(self.basis, data))
        terms = self.basis.terms
        widths = [*(_width(blocks, i, t.name) for i, t in enumerate(terms)), 0]
        widths[-1] = self.basis.constant_count
        systems = []
        for members, mine in independent_systems(blocks):
            matrix, target = assemble(mine, members, widths)
            observed = jnp.concatenate([b.target * b.weight for b in mine])
            size = column_norm(observed[:, None])[0]
            rows = jnp.sum(jnp.concatenate([b.weight for b in mine]) > 0)
            columns = tuple((i, widths[i]) for i in members)
            systems.append(LinearSystem(matrix, target, size, rows, columns))
        return tuple(systems)


def column_groups(basis: Basis, members: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Widths of the column groups of one system, each of which may have its own ridge: the groups
    of its terms, and the constants."""
    widths = [
        basis.terms[i].groups(width) if i < len(basis.terms) else (width,) for i, width in members
    ]
    return tuple(width for of_term in widths for width in of_term if width)


def signed_columns(basis: Basis, members: Sequence[tuple[int, int]]) -> tuple[bool, ...]:
    """True for the columns of one system whose coefficients must not be negative."""
    signs = [(i < len(basis.terms) and basis.terms[i].nonnegative, width) for i, width in members]
    return tuple(sign for sign, width in signs for _ in range(width))


def group_labels(basis: Basis, members: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """Names of the groups of `column_groups`."""
    names: list[str] = []
    for i, width in members:
        if i == len(basis.terms):
            names.append("constants")
            continue
        widths = basis.terms[i].groups(width)
        labels = basis.terms[i].labels(len(widths))
        names += [label for label, columns in zip(labels, widths, strict=True) if columns]
    return tuple(names)


def model_of(
    equations: Equations,
    members: Sequence[Sequence[tuple[int, int]]],
    thetas: Sequence[Float[Array, " _"]],
) -> HamiltonianGraphNetwork:
    """Model with the coefficients of all systems. Constants that no system holds are those of the
    energies' reference."""
    basis = equations.basis
    unknowns = {len(basis.terms): jnp.zeros(basis.constant_count, thetas[0].dtype)}
    for of_system, theta in zip(members, thetas):
        blocks = jnp.split(theta, _ends([width for _, width in of_system])[:-1])
        unknowns |= {j: block for (j, _), block in zip(of_system, blocks)}
    *theta_of, constant = (unknowns[j] for j in sorted(unknowns))  # the constants come last
    if equations.energies is not None:
        assert equations.energies.reference is not None
        constant = constant + equations.energies.reference
    return HamiltonianGraphNetwork(basis, tuple(theta_of), constant)


def with_kinetic_energy(basis: Basis) -> Basis:
    """The basis with the Newtonian kinetic energy as its known part, if momenta are part of the
    state, no term depends on them, and nothing else is known.

    **Raises:** `ValueError` for bodies with an axis, if terms depend on one kind of momenta alone.
    """
    momenta = {"momentum", "angular_momentum"} & set(basis.dynamics.state)
    energies = [t for t in basis.terms if isinstance(t, AbstractEnergy)]
    learned = momenta & {name for energy in energies for name in energy.depends_on}
    if basis.known is not None or learned == momenta:
        return basis
    if learned:
        raise ValueError(
            f"the terms hold the kinetic energy of {learned.pop()} alone, but the state has "
            f"{' and '.join(sorted(momenta))}: leave Kinetic() out, and |p|^2/2m + |L|^2/2I is "
            "known, or give known="
        )
    # `known` is None, which counts as a leaf only on request.
    return eqx.tree_at(lambda b: b.known, basis, Newtonian(), is_leaf=lambda x: x is None)


def require_arrays(
    data: GraphsTuple, basis: Basis, observations: Sequence[AbstractObservation]
) -> None:
    """Raises `ValueError` if the data lack an array that terms or observations read."""
    why = {
        **{f"the {t.name} term": Basis((t,), basis.dynamics).needs for t in basis.terms},
        **{type(o).__name__: o.needs(basis) for o in observations},
    }
    if basis.known is not None:
        why["the known part"] = {"nodes": set(basis.known.needs)}
    for reader, needs in why.items():
        require(data, needs, reader)


def window_of(observations: Sequence[AbstractObservation]) -> int | None:
    """Number of frames that all observations together keep whole; None for whole trajectories."""
    windows = [o.window for o in observations]
    # Cuts at common multiples split no window.
    return None if None in windows else math.lcm(*(w for w in windows if w is not None))


def _arrays(data: GraphsTuple) -> tuple[tuple[str, str, str], ...]:
    """Part, name, dtype and trailing shape of every array that a fit reads."""
    return tuple(
        (part, name, f"{array.dtype} [_, {array.shape[1:]}]")
        for part in ("nodes", "edges", "globals")
        for name, array in sorted(getattr(data, part).items())
        if name not in ("time", "trajectory")
    )


def independent_systems(blocks: Sequence[Rows]) -> list[tuple[list[int], list[Rows]]]:
    """Connected components of terms that share rows, each with its rows: several smaller solves.

    Kinetic columns appear in velocity rows only and pair columns in force rows only, unless another
    term or observation ties them together. Rows without columns, which a known part explains alone,
    form a system without members.

    **Raises:** `ValueError` for rows with neither columns nor a known part, which would be lost.
    """
    groups: list[tuple[set[int], list[Rows]]] = []
    for block in blocks:
        members = {i for i, c in enumerate(block.columns) if c is not None}
        if not members and block.known is None:
            raise ValueError(
                f"no term contributes to the {block.name} rows: add Kinetic() for velocities, "
                "Pair() or External() for forces"
            )
        # Two blocks without members belong together, too, though empty sets do not intersect.
        joined = [g for g in groups if g[0] & members or g[0] == members]
        groups = [g for g in groups if not any(g is j for j in joined)]  # `==` would compare arrays
        merged = members.union(*(g[0] for g in joined))
        groups.append((merged, [*(b for g in joined for b in g[1]), block]))
    return [(sorted(members), rows) for members, rows in groups]


def assemble(
    blocks: Sequence[Rows], members: Sequence[int], widths: Sequence[int]
) -> tuple[Float[Array, "r K"], Float[Array, " r"]]:
    """Weighted matrix and target of one system; zeros where a term does not contribute."""
    matrix = jnp.concatenate([_columns(b, members, widths) for b in blocks])
    learned = [b.target if b.known is None else b.target - b.known for b in blocks]
    return matrix, jnp.concatenate([u * b.weight for u, b in zip(learned, blocks)])


def _columns(block: Rows, members: Sequence[int], widths: Sequence[int]) -> Float[Array, "r K"]:
    """Weighted columns of one block side by side, `[r 0]` without members."""
    if not members:
        return jnp.zeros((len(block.target), 0), block.target.dtype)
    columns = [
        jnp.zeros((len(block.target), widths[i]), block.target.dtype)
        if (column := block.columns[i]) is None
        else column * block.weight[:, None]
        for i in members
    ]
    return jnp.concatenate(columns, axis=1)


def _width(blocks: Sequence[Rows], i: int, name: str) -> int:
    for block in blocks:
        if (column := block.columns[i]) is not None:
            return column.shape[1]
    raise ValueError(f"no observation determines the {name} term: leave it out or observe more")


def _ends(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[: i + 1]) for i in range(len(sizes))]
