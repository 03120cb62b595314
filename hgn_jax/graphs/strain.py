"""Graphs under a homogeneous strain: the derivative of an energy by it is the virial."""

import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .dense_edges import DiagonalCellGraphs, SlottedGraphs
from .geometry import graph_index


def strained(
    graphs: GraphsTuple, strain: Float[Array, "d d"] | Float[Array, "g d d"]
) -> GraphsTuple:
    r"""Positions and cells mapped to $x (1 + \epsilon)$, x a row; momenta stay.

    `strain` is one matrix for all graphs, or one for each graph.
    """
    position, cell = graphs.nodes["position"], graphs.globals.get("cell")
    if strain.ndim == 2:
        by_strain = jnp.matmul(position, strain, precision="highest")
    else:
        own = strain[graph_index(graphs)]
        by_strain = jnp.einsum("nk,nkd->nd", position, own, precision="highest")
    moved = position + by_strain  # a small strain would lose its digits in 1 + strain
    changed = {}
    if cell is not None:
        changed = {"cell": cell + jnp.matmul(cell, strain, precision="highest")}
    if isinstance(graphs, DiagonalCellGraphs):  # sheared, it is no longer diagonal
        graphs = SlottedGraphs(*graphs)
    return graphs._replace(
        nodes=graphs.nodes | {"position": moved}, globals=graphs.globals | changed
    )


def stretched(graphs: GraphsTuple, strain: Float[Array, "g d d"]) -> GraphsTuple:
    r"""Positions and cells mapped to $x e^\epsilon$, up to the fourth power of $\epsilon$."""
    power = strain
    for k in (4, 3, 2):  # Horner's scheme for the series of exp(strain) - 1
        power = strain + jnp.einsum("gij,gjk->gik", strain, power, precision="highest") / k
    return strained(graphs, power)


def require_mobile(graphs: GraphsTuple, cause: str) -> None:
    """Raises `ValueError` for fixed bodies: they cannot stay where they are in a cell that changes
    by `cause`."""
    if "fixed" in graphs.nodes:
        raise ValueError(
            "fixed bodies cannot stay where they are in a cell that changes: remove "
            f'nodes["fixed"], or {cause}'
        )
