"""Gradient of a pair energy over a neighbour list as one kernel of a GPU, by Pallas.

XLA makes several kernels of the sum over slots and writes arrays of all pairs between them, which
takes most of the time of a step.
"""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array
from jraph import GraphsTuple

from .._types import Vectors
from .dense_edges import DiagonalCellGraphs, SlottedGraphs
from .geometry import real_bodies

WARPS = 4
"""Warps of a block of threads."""
MANY = 2**16
"""Bodies that occupy a GPU if every thread takes one of them."""


@runtime_checkable
class Slopes(Protocol):
    """A function of squared distances, a tree of arrays, that knows its derivative."""

    def slope(self, s: Array) -> Array: ...


def can_fuse(graphs: GraphsTuple) -> bool:
    """True on a GPU for lists in free space or a diagonal cell, whose edges have no properties."""
    if not isinstance(graphs, SlottedGraphs) or graphs.edges or not graphs.slots:
        return False
    simple = isinstance(graphs, DiagonalCellGraphs) or "cell" not in graphs.globals
    return simple and has_kernels()


def has_kernels() -> bool:
    """True if the default device is a GPU of NVIDIA that Pallas supports."""
    # Such as "9.0". Other devices have none, or a name.
    capability = str(getattr(jax.devices()[0], "compute_capability", ""))
    return capability.replace(".", "").isdigit() and float(capability) >= 8


def fused_gradient(graphs: SlottedGraphs, curve: Slopes, interpret: bool = False) -> Vectors:
    r"""$\partial/\partial q_i$ of $\sum_{pairs} \phi(r_{ij}^2)$, as `pair_gradient`, from
    `curve.slope(square)`, which reads its arrays element by element.

    `interpret` runs the kernel on any device, slowly.
    """
    # Kernels are for GPUs alone, and take a while to import.
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    position = graphs.nodes["position"]
    (n, d), slots = position.shape, graphs.slots
    arrays, rest = eqx.partition(curve, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    cell = [graphs.globals["cell"]] if "cell" in graphs.globals else []
    real = real_bodies(graphs).astype(jnp.int32).reshape(1)
    # Bodies and slots that a block takes at once.
    wide, deep = (128, 1) if n >= MANY else (16, 32)

    def kernel(senders: Any, position: Any, real: Any, *others: Any) -> None:
        *read, gradient = others
        box, parts = read[: len(cell)], read[len(cell) :]
        here = eqx.combine(jax.tree.unflatten(structure, parts), rest)
        # The last block repeats the last body.
        body = jnp.minimum(pl.program_id(0) * wide + jnp.arange(wide, dtype=jnp.int32), n - 1)
        end = [position[body, k][None] for k in range(d)]
        bodies, kind = real[0], position.dtype

        def further(step: Array, total: list[Array]) -> list[Array]:
            slot = (step * deep + jnp.arange(deep, dtype=jnp.int32))[:, None]
            sender = senders[jnp.minimum(slot, slots - 1), body[None]]
            vector = [x - position[sender, k] for k, x in enumerate(end)]
            for matrix in box:
                sides = [matrix[0, k, k] for k in range(d)]
                # Nearest images as in `Cell`, but Triton has no rounding to even numbers.
                vector = [x - a * jnp.floor(x / a + 0.5) for x, a in zip(vector, sides)]
            square = sum((x * x for x in vector[1:]), start=vector[0] * vector[0])
            active = (slot < slots) & (sender < bodies)
            pull = jnp.where(active, 2 * here.slope(square), jnp.zeros((), kind))
            return [t + pull * x for t, x in zip(total, vector)]

        nothing = [jnp.zeros((deep, wide), kind) for _ in range(d)]
        total = jax.lax.fori_loop(0, -(-slots // deep), further, nothing)
        for k in range(d):
            gradient[body, k] = jnp.sum(total[k], axis=0)

    return pl.pallas_call(
        kernel,
        grid=(-(-n // wide),),
        out_shape=jax.ShapeDtypeStruct((n, d), position.dtype),
        compiler_params=None if interpret else triton.CompilerParams(num_warps=WARPS),
        interpret=interpret,
        name="pair_gradient",
    )(graphs.senders.reshape(slots, n), position, real, *cell, *leaves)
