"""A model as one file of StableHLO, which runs without this library."""

import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from ..models.base import AbstractModel
from ..models.network import HamiltonianGraphNetwork

PLATFORMS = ("cpu", "cuda", "tpu")


def bundle(
    path: str | os.PathLike[str],
    model: HamiltonianGraphNetwork,
    *,
    nodes: int,
    edges: int,
    platforms: Sequence[str] = PLATFORMS,
) -> None:
    """Writes potential energy, forces and virial of a model as a compiled function, by jax.export.

    It needs JAX to run, and neither this library nor its other dependencies (`import jax.export`):

        function = jax.export.deserialize(bytearray(Path("silicon.bundle").read_bytes()))
        energy, force, virial = function.call(
            position, species, cell, senders, receivers, shift, atoms, pairs
        )

    | argument | shape | |
    |---|---|---|
    | `position` | `[nodes 3]` | length; the model's dtype (64 bit needs `jax_enable_x64`) |
    | `species` | `[nodes]` int32 | atomic numbers |
    | `cell` | `[3 3]` | rows are lattice vectors; any for an open system, with zero shifts |
    | `senders`, `receivers` | `[edges]` int32 | every pair within the cutoff, in both directions |
    | `shift` | `[edges 3]` int32 | $r = x_{receiver} - x_{sender} + shift \\cdot cell$ |
    | `atoms`, `pairs` | int32 | numbers of real nodes and edges; the values of others are ignored |

    It returns the energy, forces `[nodes 3]`, zero for padding, and the virial `[3 3]`,
    dE/dstrain. The file works for any number of atoms below `nodes` and of edges up to `edges`.

    **Arguments:**

    - `nodes`: capacity for atoms, at least one more than there are.
    - `edges`: capacity for edges.
    - `platforms`: where it is to run.

    **Raises:** `ModuleNotFoundError` without the package flatbuffers; `ValueError` for capacities
    that are too small; `OSError` if the file cannot be written.
    """
    nodes, edges = whole_number("nodes", nodes, 2), whole_number("edges", edges, 1)
    dtype = model.theta[0].dtype

    def evaluate(
        *arguments: Array,
    ) -> tuple[Float[Array, ""], Float[Array, "n 3"], Float[Array, "3 3"]]:
        return _evaluated(model, _padded(*arguments))

    def shaped(*shape: int, of: jnp.dtype | type = jnp.int32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, of)

    exported = jax.export.export(jax.jit(evaluate), platforms=tuple(platforms))(
        shaped(nodes, 3, of=dtype),
        shaped(nodes),
        shaped(3, 3, of=dtype),
        shaped(edges),
        shaped(edges),
        shaped(edges, 3),
        shaped(),
        shaped(),
    )
    Path(path).write_bytes(exported.serialize())


def _evaluated(
    model: AbstractModel, graph: GraphsTuple
) -> tuple[Float[Array, ""], Float[Array, "n 3"], Float[Array, "3 3"]]:
    slope = model.gradient(graph).position
    force = jnp.zeros_like(graph.nodes["position"]) if slope is None else -slope
    return model(graph)[0], force, model.virial(graph)[0]


def _padded(
    position: Float[Array, "n 3"],
    species: Int[Array, " n"],
    cell: Float[Array, "3 3"],
    senders: Int[Array, " e"],
    receivers: Int[Array, " e"],
    shift: Int[Array, "e 3"],
    atoms: Int[Array, ""],
    pairs: Int[Array, ""],
) -> GraphsTuple:
    """A graph of all arrays; what lies beyond `atoms` and `pairs` is its padding."""
    n, e = len(position), len(senders)
    real, joined = jnp.arange(n, dtype=jnp.int32) < atoms, jnp.arange(e, dtype=jnp.int32) < pairs
    position = jnp.where(real[:, None], position, 0)
    return GraphsTuple(
        nodes={
            "position": position,
            "momentum": jnp.zeros_like(position),
            "mass": real.astype(position.dtype),  # any mass will do for atoms at rest
            "species": jnp.where(real, species, 0),
        },
        edges={"shift": jnp.where(joined[:, None], shift, 0)},
        senders=jnp.where(joined, senders, atoms),  # node `atoms` is the first of the padding
        receivers=jnp.where(joined, receivers, atoms),
        globals={"cell": jnp.broadcast_to(cell, (3, 3, 3))},
        # The atoms, the padding, and the empty graph that marks it as such, see `pad`.
        n_node=jnp.stack([atoms, n - atoms, jnp.zeros_like(atoms)]),
        n_edge=jnp.stack([pairs, e - pairs, jnp.zeros_like(pairs)]),
    )
