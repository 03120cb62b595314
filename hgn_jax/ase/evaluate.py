"""Compiled functions of a calculator: energies of atoms, forces, virials."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import NodeScalars, Vectors
from ..graphs.geometry import count, graph_index
from ..models.base import AbstractModel
from ..models.network import HamiltonianGraphNetwork
from ..models.newtonian import Newtonian
from ..systems.system import System


class Evaluation(NamedTuple):
    """Energy (eV) and forces (eV/A) of one graph, padding included."""

    energy: Float[Array, ""]
    force: Vectors
    of_atoms: NodeScalars | None
    """Energy of each atom; None if the model does not define it."""
    outside: dict[str, Int[Array, ""]]
    """Number of sites outside of the trained range, by kind of feature."""


@eqx.filter_jit
def evaluate(model: AbstractModel, graphs: GraphsTuple) -> Evaluation:
    """Energy and forces of the first graph."""
    slope = model.gradient(graphs).position
    force = jnp.zeros_like(graphs.nodes["position"]) if slope is None else -slope
    outside = {}
    if isinstance(model, HamiltonianGraphNetwork):
        counted = model.out_of_range(graphs)
        outside = {name: counts[0] for name, counts in counted.items()}  # other graphs are padding
    return Evaluation(model(graphs)[0], force, atom_energies(model, graphs), outside)


@eqx.filter_jit
def virial(model: AbstractModel, graphs: GraphsTuple) -> Float[Array, "3 3"]:
    """dE/dstrain of the first graph (eV)."""
    return model.virial(graphs)[0]


def atom_energies(model: AbstractModel, graphs: GraphsTuple) -> NodeScalars | None:
    """Energy of each atom; their sum is the energy. Pairs are split in halves.

    None if the model, or its known part, does not define energies of atoms.
    """
    if isinstance(model, Newtonian):
        return jnp.zeros(count(graphs), graphs.nodes["position"].dtype)
    if isinstance(model, System):
        return model.node_energy(graphs)
    if not isinstance(model, HamiltonianGraphNetwork):
        return None
    total = model.node_energy(graphs)
    if model.constants.shape[-1]:
        # With every node as a graph of its own, counts per graph are counts per node.
        alone = jnp.ones(count(graphs), graphs.n_node.dtype)
        total += model.basis.constants(graphs._replace(n_node=alone)) @ model.constants
    if model.basis.known is None:
        return total
    known = atom_energies(model.basis.known, graphs)
    return None if known is None else jnp.where(graph_index(graphs) == 0, total + known, 0)
