"""Reduction of the data to factors whose size does not grow with the data."""

import functools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int
from jraph import GraphsTuple

from .._tree import all_finite
from ..linear.base import AbstractLeastSquares
from ..linear.downdate import downdated
from ..linear.gram import Gram
from ..linear.triangle import Triangle
from .equations import Equations, LinearSystem


class Offsets(eqx.Module):
    r"""Equations of the constants c from observed energies, given theta: $N c = E - \Phi \theta$.

    Holds R and $Q^T [\Phi \; E]$ of the QR factorisation of the weighted counts N; separate batches
    merge as triangles do.
    """

    r: Float[Array, "c c"]
    projected: Float[Array, "c _"]
    graphs: Int[Array, ""]

    def constants(self, theta: Float[Array, " K"]) -> tuple[Float[Array, " c"], Bool[Array, ""]]:
        """The constants, and True if the data determine them. If not, as when all graphs are alike,
        they are those of least norm."""
        target = self.projected[:, -1] - self.projected[:, :-1] @ theta
        constants, eps = self.r.shape[1], jnp.finfo(theta.dtype).eps
        rounding = jnp.maximum(self.graphs, constants).astype(theta.dtype) * eps
        inverse = jnp.linalg.pinv(self.r, rtol=rounding)
        rank = jnp.trace(inverse @ self.r)  # of a projection
        return inverse @ target, rank > constants - 0.5


class Reduction(eqx.Module):
    """Factorised rows of the data: of size K^2, however many rows there are.

    Reductions of separate batches by the same equations merge into the reduction of all.
    """

    systems: tuple[Triangle | Gram, ...]
    """Factorised rows of each system."""
    offsets: Offsets | None
    """None if there are no observed energies, or no constants for them to determine."""
    observed: tuple[Float[Array, ""], ...]
    """Norm of the weighted observed values of every system, including their known part."""
    broken: Bool[Array, ""]
    """True if the data held NaN or Inf."""
    members: tuple[tuple[tuple[int, int], ...], ...] = eqx.field(static=True)
    """Indices of the terms of every system, each with its number of columns."""

    @property
    def triangles(self) -> tuple[Triangle, ...]:
        """Triangle of every system."""
        return tuple(system.triangle() for system in self.systems)

    @property
    def rows(self) -> Int[Array, "..."]:
        """Number of equations of positive weight."""
        return jnp.sum(jnp.stack([t.rows for t in self.systems]), axis=0)


def reduce(
    equations: Equations,
    systems: Sequence[LinearSystem],
    data: GraphsTuple,
    solver: AbstractLeastSquares,
) -> Reduction:
    """Factorises the rows of one batch; `systems` are those of `equations` for the batch."""
    still = jax.lax.stop_gradient(tuple(systems))  # `differentiable` gives derivatives
    return Reduction(
        tuple(solver.reduce(s.matrix, s.target, s.rows) for s in still),
        _offsets(equations, data),
        tuple(s.observed for s in still),
        ~all_finite(data),
        tuple(s.members for s in systems),
    )


def extend(
    before: Reduction, equations: Equations, systems: Sequence[LinearSystem], data: GraphsTuple
) -> Reduction:
    """`before` with the rows of one more batch: cheaper than to reduce and merge it. Not
    differentiable."""
    systems = jax.lax.stop_gradient(tuple(systems))
    offsets = _offsets(equations, data)
    return Reduction(
        tuple(t.append(s.matrix, s.target, s.rows) for t, s in zip(before.systems, systems)),
        None if before.offsets is None or offsets is None else _merged([before.offsets, offsets]),
        tuple(jnp.hypot(size, s.observed) for size, s in zip(before.observed, systems)),
        before.broken | ~all_finite(data),
        before.members,
    )


def with_turn(reduction: Reduction, number: ArrayLike) -> Reduction:
    """The reduction with the number of its next batch set: the batch then goes to the same fold,
    whichever device takes it."""
    return eqx.tree_at(
        lambda r: r.systems,
        reduction,
        tuple(
            eqx.tree_at(lambda gram: gram.batches, system, jnp.asarray(number, jnp.int32))
            if isinstance(system, Gram)
            else system
            for system in reduction.systems
        ),
    )


def merged(reductions: Sequence[Reduction]) -> Reduction:
    """Reduction of all their data."""
    if len(reductions) == 1:
        return reductions[0]
    offsets = [r.offsets for r in reductions if r.offsets is not None]
    return Reduction(
        tuple(type(systems[0]).merge(systems) for systems in zip(*(r.systems for r in reductions))),
        _merged(offsets) if offsets else None,
        tuple(
            functools.reduce(jnp.hypot, sizes) for sizes in zip(*(r.observed for r in reductions))
        ),
        jnp.any(jnp.stack([r.broken for r in reductions])),
        reductions[0].members,
    )


def without(reduction: Reduction, removed: Reduction) -> tuple[Reduction, Bool[Array, ""]]:
    """Reduction without the rows of another one, and True if some of them cannot have been in it.
    Triangles only."""
    systems, foreign = [], []
    for all_rows, removed_rows in zip(reduction.triangles, removed.triangles):
        remaining, other = downdated(all_rows, removed_rows)
        systems.append(remaining)
        foreign.append(other)
    offsets = reduction.offsets
    if offsets is not None and removed.offsets is not None:
        offsets = _reduced(offsets, removed.offsets)
    remaining_size = tuple(
        # Difference of squares without cancellation.
        jnp.sqrt(jnp.maximum((size - part) * (size + part), 0))
        for size, part in zip(reduction.observed, removed.observed)
    )
    broken = reduction.broken | removed.broken
    result = Reduction(tuple(systems), offsets, remaining_size, broken, reduction.members)
    return result, jnp.any(jnp.stack(foreign))


def _offsets(equations: Equations, data: GraphsTuple) -> Offsets | None:
    if equations.energies is None:
        return None
    (rows,) = equations.energies.rows(equations.basis, data)
    *columns, counts = rows.columns
    assert counts is not None
    assert rows.known is not None
    system = [c for c in columns if c is not None] + [(rows.target - rows.known)[:, None]]
    # Their common scale, the spread of the energies, does not affect the constants.
    weight = jax.lax.stop_gradient(rows.weight)[:, None]
    number = jnp.sum(rows.weight > 0)
    return _orthogonal(counts * weight, jnp.concatenate(system, axis=1) * weight, number)


def _merged(offsets: Sequence[Offsets]) -> Offsets:
    return _orthogonal(
        jnp.concatenate([o.r for o in offsets]),
        jnp.concatenate([o.projected for o in offsets]),
        jnp.sum(jnp.stack([o.graphs for o in offsets])),
    )


def _reduced(offsets: Offsets, removed: Offsets) -> Offsets:
    """Offsets without the graphs of `removed`. Counts are few and of one size, so that normal
    equations are accurate enough."""
    gram = offsets.r.T @ offsets.r - removed.r.T @ removed.r
    projected = offsets.r.T @ offsets.projected - removed.r.T @ removed.projected
    square, axes = jnp.linalg.eigh(gram)
    # Directions of graphs that are all removed hold nothing but rounding.
    present = square > 1e3 * jnp.finfo(gram.dtype).eps * jnp.sum(offsets.r**2)
    root = jnp.sqrt(jnp.where(present, square, 1))
    along = jnp.where(present[:, None], axes.T @ projected / root[:, None], 0)
    r = jnp.where(present[:, None], root[:, None] * axes.T, 0)
    return Offsets(r, along, offsets.graphs - removed.graphs)


def _orthogonal(
    counts: Float[Array, "g c"], columns: Float[Array, "g _"], graphs: Int[Array, ""]
) -> Offsets:
    missing = max(counts.shape[1] - len(counts), 0)  # R must be square
    counts, columns = (jnp.pad(a, ((0, missing), (0, 0))) for a in (counts, columns))
    q, r = jnp.linalg.qr(counts)
    return Offsets(r, q.T @ columns, graphs)
