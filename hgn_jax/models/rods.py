"""Rigid rods: distances that do not change."""

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._types import Vectors
from ..graphs.geometry import graph_mask, velocity_of

SLACK = 1e-3
"""Relative error of data up to which a rod counts as rigid."""


class Rods(eqx.Module):
    r"""Rods of constant length between bodies, and between bodies and fixed hinges.

    Rod c has the vector $x_c = \sum_i s_{ci} q_i - a_c$, with s = 1 and -1 for its two ends, or
    with one end at the hinge $a_c$. It is rigid if $|x_c|$ is constant, so that
    $x_c \cdot \dot x_c = 0$: the rows $G_{ci} = s_{ci} x_c$ times the velocities vanish.

    **Arguments:**

    - `pairs`: numbers (i, j) of the bodies at the ends of each rod, counted from 0 in every graph.
    - `hinged`: fixed point of the other end, for each body that hangs on a hinge,
        `{0: (0.0, 0.0)}` (length).

    **Raises:** `ValueError` without any rod, for a rod with equal ends, or named twice.
    """

    bodies: tuple[int, ...] = eqx.field(static=True)
    """Numbers of the bodies at any end, in increasing order."""
    ends: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    """(i, j) for a rod between bodies, (i,) for one that hangs on a hinge."""
    anchor: Float[Array, "c d"] | None
    """Hinges, zero for rods between bodies; None without hinges."""

    def __init__(
        self,
        pairs: Sequence[Sequence[int]] = (),
        hinged: Mapping[int, Sequence[float]] | None = None,
    ) -> None:
        joined = [tuple(sorted((int(i), int(j)))) for i, j in pairs]
        hinged = {} if hinged is None else hinged
        self.ends = (*joined, *((int(body),) for body in hinged))
        if not self.ends:
            raise ValueError("Rods() needs pairs of bodies, or hinged bodies")
        for end in self.ends:
            for body in end:
                whole_number("pairs and hinged", body, 0)
            if len(set(end)) < len(end):
                raise ValueError(f"a rod joins body {end[0]} to itself")
            if self.ends.count(end) > 1:
                raise ValueError(f"the rod between bodies {end} is given twice")
        self.bodies = tuple(sorted({body for end in self.ends for body in end}))
        self.anchor = None
        if hinged:
            points = jnp.stack([jnp.asarray(point, float) for point in hinged.values()])
            self.anchor = jnp.concatenate([jnp.zeros((len(joined), points.shape[1])), points])

    @property
    def signs(self) -> Float[np.ndarray, "c b"]:
        """s of every rod and every body at an end."""
        signs = np.zeros((len(self.ends), len(self.bodies)))
        for row, end in zip(signs, self.ends):
            # A hinged rod has one body: zip leaves out the sign of the other end.
            for sign, body in zip((1, -1), end):
                row[self.bodies.index(body)] = sign
        return signs

    def places(self, graphs: GraphsTuple) -> Int[Array, "g b"]:
        """Nodes of the bodies at ends; those of padding are the last nodes."""
        first = jnp.cumsum(graphs.n_node) - graphs.n_node
        nodes = first[:, None] + jnp.asarray(self.bodies, first.dtype)[None]
        return jnp.minimum(nodes, len(graphs.nodes["position"]) - 1)

    def vectors(self, graphs: GraphsTuple, position: Vectors | None = None) -> Array:
        """x of all rods `[g c d]`, for the graphs' positions or others."""
        q = graphs.nodes["position"] if position is None else position
        x = self._between(q[self.places(graphs)])
        return x if self.anchor is None else x - self.anchor.astype(q.dtype)[None]

    def rates(self, graphs: GraphsTuple, velocity: Vectors) -> Float[Array, "g c d"]:
        """Rates of change of x."""
        return self._between(velocity[self.places(graphs)])

    def tensions(
        self, graphs: GraphsTuple, left: Array, right: Array, needed: Float[Array, "g c ..."]
    ) -> Float[Array, "g c ..."]:
        r"""Solves $\lambda$ from $G_{left} M^{-1} G_{right}^T \lambda$ = `needed`, with the rods'
        vectors on either side."""
        s = jnp.asarray(self.signs, left.dtype)
        mass = graphs.nodes["mass"][self.places(graphs)]
        # Entry c, e of G M^-1 G^T: the sum over bodies b of s_cb s_eb / m_b, times x_c . x_e.
        by_mass = jnp.einsum("cb,gb,eb->gce", s, 1 / jnp.where(mass > 0, mass, 1), s)
        matrix = by_mass * jnp.einsum("gcd,ged->gce", left, right, precision="highest")
        real = graph_mask(graphs)[:, None, None]
        matrix = jnp.where(real, matrix, jnp.eye(len(s), dtype=s.dtype)[None])  # padding: solvable
        flat = needed.reshape(*needed.shape[:2], -1)
        return _solved(matrix, jnp.where(real, flat, 0)).reshape(needed.shape)

    def pulls(
        self, graphs: GraphsTuple, x: Float[Array, "g c d"], tension: Float[Array, "g c ..."]
    ) -> Float[Array, "n d ..."]:
        r"""$G^T \lambda$ on every body."""
        s = jnp.asarray(self.signs, x.dtype)
        along = jnp.einsum("cb,gcd,gc...->gbd...", s, x, tension)
        # Added, not set: several graphs of padding may share the last node.
        empty = jnp.zeros((len(graphs.nodes["position"]), *along.shape[2:]), x.dtype)
        return empty.at[self.places(graphs)].add(along)

    def along(
        self, graphs: GraphsTuple, x: Float[Array, "g c d"], force: Float[Array, "n d ..."]
    ) -> Float[Array, "g c ..."]:
        r"""$G M^{-1} f$ of forces, or $G v$ of momenta."""
        mass = jnp.where(graphs.nodes["mass"] > 0, graphs.nodes["mass"], 1)  # padding may have none
        per_mass = force / mass.reshape(-1, *[1] * (force.ndim - 1))
        between = self._between(per_mass[self.places(graphs)])
        return jnp.einsum("gcd,gcd...->gc...", x, between)

    def projected(self, graphs: GraphsTuple, force: Float[Array, "n d ..."]) -> Array:
        """The part of forces or momenta that leaves the rods' lengths unchanged."""
        x = self.vectors(graphs)
        tension = self.tensions(graphs, x, x, self.along(graphs, x, force))
        return force - self.pulls(graphs, x, tension)

    def _between(self, values: Float[Array, "g b ..."]) -> Float[Array, "g c ..."]:
        return jnp.einsum("cb,gb...->gc...", jnp.asarray(self.signs, values.dtype), values)

    def check(self, graphs: GraphsTuple) -> None:
        """Raises `ValueError` if a graph lacks a body, a rod's length differs between graphs or its
        ends move along it (naming the rod, the graph and by how much), or rods are redundant."""
        real = np.asarray(graph_mask(graphs))
        sizes = np.asarray(graphs.n_node)[real]
        if len(sizes) and sizes.min() <= self.bodies[-1]:
            raise ValueError(
                f"rods join body {self.bodies[-1]}, but graph {int(sizes.argmin())} has only "
                f"{sizes.min()} bodies, counted from 0"
            )
        x = np.asarray(self.vectors(graphs))[real]
        length = np.linalg.norm(x, axis=2)
        typical = np.median(length, axis=0)  # a single bad graph does not shift it
        wrong = np.abs(length / typical - 1)
        if len(wrong) and not wrong.max() < SLACK:  # "not <" also refuses NaN
            g, c = np.unravel_index(wrong.argmax(), wrong.shape)
            raise ValueError(
                f"the rod {self._named(int(c))} is not rigid: its length is {length[g, c]:.6g} in "
                f"graph {g}, and {typical[c]:.6g} in most"
            )
        s = self.signs
        # Redundant rods make the matrix of tensions singular.
        rows = np.einsum("cb,gcd->gcbd", s, x).reshape(len(x), len(s), -1)
        rank = np.linalg.matrix_rank(rows)
        if len(rank) and rank.min() < len(s):
            g = int(rank.argmin())
            # A rod that follows from those before it adds no rank.
            up_to = [np.linalg.matrix_rank(rows[g, : c + 1]) for c in range(len(s))]
            spare = np.flatnonzero(np.diff(up_to, prepend=0) == 0)
            named = ", ".join(self._named(int(c)) for c in spare)
            raise ValueError(
                f"{len(s)} rods, but in graph {g} only {rank.min()} of them are independent: leave "
                f"out rods that follow from the others, such as {named}"
            )
        if "momentum" in graphs.nodes:
            v = velocity_of(graphs)
            rates = np.asarray(self.rates(graphs, v))[real]
            # Not zero, even if all bodies are at rest.
            typical_speed = np.sqrt(np.mean(np.asarray(v) ** 2)) + np.finfo(length.dtype).tiny
            size = np.abs(np.sum(x * rates, axis=2)) / length / typical_speed
            if len(size) and not size.max() < 10 * SLACK:
                g, c = np.unravel_index(size.argmax(), size.shape)
                raise ValueError(
                    f"the ends of the rod {self._named(int(c))} move along it in graph {g}, by "
                    f"{100 * size[g, c]:.2g}% of the typical speed: project the momenta with "
                    "rods.projected(graphs, momentum)"
                )

    def _named(self, c: int) -> str:
        end = self.ends[c]
        return f"between bodies {end[0]} and {end[1]}" if len(end) == 2 else f"of body {end[0]}"


def _solved(matrix: Float[Array, "g c c"], right: Float[Array, "g c k"]) -> Float[Array, "g c k"]:
    """Solves small systems by Gauss-Jordan elimination, without pivoting: the matrices are positive
    definite, up to the motion of the rods in a step.

    Not LAPACK, with which `refine` of nine rods never ended on two CPU threads; why is not known.
    """
    c = matrix.shape[1]
    rows = jnp.concatenate([matrix, right], axis=2)
    for k in range(c):
        # The loop unrolls under jit: there are few rods, and their number is static.
        pivot = rows[:, k : k + 1] / rows[:, k : k + 1, k : k + 1]
        others = jnp.asarray(np.arange(c) != k)[None, :, None]
        rows = jnp.where(others, rows - rows[:, :, k : k + 1] * pivot, pivot)
    return rows[:, :, c:]
