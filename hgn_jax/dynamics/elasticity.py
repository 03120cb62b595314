"""Elastic constants of a crystal, from its stress under small strains."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from jraph import GraphsTuple

from .._arguments import check_number
from ..graphs.neighbour_list import find
from ..graphs.neighbours import Neighbours
from ..graphs.schema import require
from ..graphs.strain import strained
from ..models.base import AbstractModel
from .relax import relax
from .stress import stress


def elastic_constants(
    model: AbstractModel,
    graph: GraphsTuple,
    *,
    force: ArrayLike,
    neighbours: Neighbours | None = None,
    strain: float = 1e-3,
    steps: int = 1000,
) -> Float[Array, "c c"]:
    r"""Elastic constants $C_{ij} = \partial \sigma_i / \partial \epsilon_j$ (energy / length^d).

    The cell is strained by plus and minus `strain` in each of its d (d + 1) / 2 ways, bodies relax
    in the strained cell, and the stresses are subtracted: central differences, with errors of
    second order in `strain`. Voigt's order and shear: in three dimensions xx, yy, zz, yz, xz, xy,
    where $\epsilon_{yz}$ counts twice. Exact for a start without stress; otherwise the constants
    are those of the stress under strain, not of the energy.

    **Arguments:**

    - `model`: a learned model or a known system.
    - `graph`: a single graph at a minimum of the energy, as `hgn.relax` finds it.
    - `force`: the greatest force that may remain on a body (energy / length).
    - `neighbours`: as in `hgn.relax`. Heights of the cell must be at least twice cutoff + skin.
        Without, the graph's edges stay: give edges for more than the cutoff.
    - `steps`: greatest number of steps of each relaxation.

    **Raises:** `ValueError` for a graph without a cell, or for arguments that `hgn.relax` refuses;
    `RuntimeError` if a relaxation does not converge.

    Wallace, Thermodynamics of Crystals, 1972, chapter 2.
    """
    check_number("strain", strain)
    require(graph, {"globals": ["cell"]}, "elastic_constants")
    position = graph.nodes["position"]
    d = position.shape[1]
    ways = _voigt(d)
    if neighbours is not None:
        neighbours = neighbours.allocated(graph, sheared=True)  # a strained cell is not diagonal

    def stress_under(first: int, second: int, size: float) -> Float[Array, " c"]:
        epsilon = np.zeros((d, d))
        # Twice a half: a stretch gets `size`, a shear half of it on either side, as Voigt counts.
        epsilon[first, second] += size / 2
        epsilon[second, first] += size / 2
        bent = strained(graph, jnp.asarray(epsilon, position.dtype))
        relaxed = relax(
            model, bent, force=force, steps=steps,
            neighbours="fixed" if neighbours is None else neighbours,
        )  # fmt: skip
        tensor = _stress(model, relaxed.graph, neighbours)
        return jnp.stack([tensor[i, j] for i, j in ways])

    columns = [
        (stress_under(*way, strain) - stress_under(*way, -strain)) / (2 * strain) for way in ways
    ]
    return jnp.stack(columns, axis=1)


def _voigt(d: int) -> list[tuple[int, int]]:
    """Pairs of axes in Voigt's order: the diagonal, then yz, xz, xy."""
    return [(k, k) for k in range(d)] + [
        (i, j) for i in reversed(range(d)) for j in reversed(range(i + 1, d))
    ]


@eqx.filter_jit
def _stress(
    model: AbstractModel, graph: GraphsTuple, spec: Neighbours | None
) -> Float[Array, "d d"]:
    if spec is None:
        return stress(model, graph)[0]
    laid_out = spec.prepare(graph)
    return stress(model, find(spec, laid_out).joined(laid_out))[0]
