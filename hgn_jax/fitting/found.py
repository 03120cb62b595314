"""Report of masses or charges that a refinement found, with their standard deviations."""

import warnings

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple
from scipy.linalg import solve_triangular

from ..graphs.padding import without_padding
from ..linear.base import LeastSquaresSolution, factor
from ..linear.ridge import floor
from ..linear.triangle import Triangle
from .unknowns import Unknowns


class Found(eqx.Module):
    """Masses or charges of the bodies of one system, from `hgn.refine(..., unknown=...)`."""

    values: Float[Array, " n"]
    """Mass of every body ("mass", "gravity"), or its charge."""
    deviations: Float[Array, " n"]
    """Standard deviations; zero for bodies that keep what the data gave, infinite where the data do
    not tell the value from the forces."""
    unknowns: Unknowns

    def words(self) -> str:
        """All values and deviations; concrete values only."""
        name = "charges" if self.unknowns.kind == "charge" else "masses"
        each = zip(map(float, self.values), map(float, self.deviations))
        return f"{name} " + ", ".join(f"{v:.5g}" + (f" +- {d:.2g}" if d else "") for v, d in each)

    def apply(self, graphs: GraphsTuple) -> GraphsTuple:
        """The data that were refined, or further ones that give the same first values, with the
        masses or charges found.

        Momenta are taken for velocities times the old masses, and follow the new ones. Couplings
        are multiplied by both charges, or by both masses relative to the old ones. Padding is
        dropped.

        **Raises:** `ValueError` for graphs with another number of bodies.
        """
        graphs = without_padding(graphs)
        other = np.flatnonzero(np.asarray(graphs.n_node) != len(self.values))
        if len(other):
            raise ValueError(
                f"the values are those of {len(self.values)} bodies, but graph {other[0]} has "
                f"{int(graphs.n_node[other[0]])}"
            )
        return self.unknowns(graphs)


def report_of(found: tuple[Unknowns, Float[Array, " G"]], graph: GraphsTuple) -> Found:
    """Values of all bodies of a graph of the data. Warns of those that are not known."""
    unknowns, deviations = found
    relative = jnp.append(deviations / jnp.abs(unknowns.values), 0)[unknowns.groups]  # -1: known
    changed = unknowns(graph)
    name = "charge" if unknowns.kind == "charge" else "mass"
    values = changed.nodes[name] if name in graph.nodes else unknowns.of_bodies(graph)
    # 1 / m and m have the same relative deviation.
    report = Found(values, jnp.abs(values) * relative, unknowns)
    open_ = np.flatnonzero(~np.isfinite(np.asarray(report.deviations)))
    if len(open_):
        warnings.warn(
            f"the data do not determine the {name} of bodies {open_.tolist()}: with other forces, "
            "any value explains their motion. Bodies need forces on one another, and body 0 or the "
            "first species sets the unit",
            stacklevel=3,
        )
    return report


def deviations_of(
    of_values: Float[Array, "G _"],
    values: Float[Array, " G"],
    triangle: Triangle,
    solution: LeastSquaresSolution,
) -> Float[Array, " G"]:
    r"""Standard deviations of values with equations $R x + S \theta = s$; infinite for those that
    nothing but the ridge of theta determines.

    The covariance is $\sigma^2 R^{-1} (1 + S C S^T) R^{-T}$, with $\sigma^2 C$ that of theta.
    """
    count = len(values)
    r, s = np.asarray(of_values[:, :count]), np.asarray(of_values[:, count:-1])
    size = np.abs(np.diagonal(r))
    # Diagonals at the level of rounding: the equations do not hold these values.
    open_ = size <= 10 * count * np.finfo(r.dtype).eps * size.max()
    # Identity in place of open values keeps R regular; they become infinite below.
    r = np.where(open_[:, None] | open_[None], np.eye(count, dtype=r.dtype), r)

    def deviations(ridge: Float[Array, " K"]) -> Float[np.ndarray, " G"]:
        of_theta, scale = map(np.asarray, factor(triangle, ridge))
        half = solve_triangular(of_theta, (s / scale).T, trans=1).T
        rows = solve_triangular(r, np.concatenate([np.eye(count, dtype=r.dtype), half], axis=1))
        return float(solution.noise) * np.linalg.norm(rows, axis=1)

    # At the least ridge: what only the pull of a greater one determines counts as open.
    least = jnp.full_like(solution.column_ridge, floor(r.dtype))
    open_ |= ~(deviations(least) < np.abs(values))
    return jnp.asarray(np.where(open_, np.inf, deviations(solution.column_ridge)), values.dtype)
