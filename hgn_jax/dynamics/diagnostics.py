"""Why a motion went wrong, in words: which body, which pair, and a step that would do."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._types import Rates
from ..graphs.geometry import distance, edge_mask, graph_index, graph_mask, node_mask
from ..models.hamiltonian import AbstractHamiltonian

TOLERATED = 0.5
"""Change of the energy, in units of the greatest kinetic energy so far, that is no error any more
but another motion."""
ROUNDING = 1e4
"""Of the energy, in units of its last digit."""
PERIOD = 30
"""Steps to the period of the fastest oscillation that a suggested step makes."""


def first_jump(
    energy: Float[np.ndarray, "t g"], kinetic: Float[np.ndarray, "t g"]
) -> tuple[int, int] | None:
    """The first output and graph whose energy has changed beyond what a good step may do."""
    greatest = np.maximum.accumulate(kinetic, axis=0)
    rounding = ROUNDING * np.finfo(energy.dtype).eps * np.abs(energy[:1])
    jumped = np.abs(energy - energy[:1]) > TOLERATED * greatest + rounding
    if not jumped.any():
        return None
    output, graph = np.argwhere(jumped)[0]
    return int(output), int(graph)


def culprit(model: AbstractHamiltonian, before: GraphsTuple, after: GraphsTuple) -> str:
    """The body that is not finite after; if all of them, since NaN spreads within a step, the one
    with the greatest acceleration before."""
    bodies = np.asarray(node_mask(before))
    bad = bodies & ~np.isfinite(_state(after)).all(axis=1)
    node, words = int(np.argmax(bad)), "is not finite"
    if bad[bodies].all():
        with np.errstate(over="ignore"):
            force = np.linalg.norm(np.asarray(_vector_field(model, before)[1]), axis=1)
        pull = np.where(bodies, force / np.where(bodies, before.nodes["mass"], 1), -np.inf)
        node = int(np.argmax(np.where(np.isfinite(pull), pull, np.inf)))
        words = "had the greatest acceleration before all bodies ceased to be finite"
    return f"{named(before, node)} {words}{nearest(before)}"


def nearest(graph: GraphsTuple) -> str:
    """The two joined bodies that are nearest to one another."""
    mask = np.asarray(edge_mask(graph))
    if not mask.any():
        return ""
    r = np.where(mask, np.asarray(distance(graph)), np.inf)
    edge = int(np.argmin(r))
    pair = sorted((int(graph.senders[edge]), int(graph.receivers[edge])))
    first, second = (named(graph, node) for node in pair)
    return f" (nearest: {first} and {second.removeprefix('node ')}, {r[edge]:.3g} apart)"


def named(graph: GraphsTuple, node: int) -> str:
    """The body's number within its graph."""
    number = int(graph_index(graph)[node])
    several = int(np.sum(graph_mask(graph))) > 1
    where = f" of graph {number}" if several else ""
    return f"node {node - int(np.asarray(graph.n_node)[:number].sum())}{where}"


@eqx.filter_jit
def suggested_step(model: AbstractHamiltonian, graph: GraphsTuple) -> Float[Array, ""]:
    r"""A step that resolves the fastest oscillation about the state by 30.

    Its frequency $\omega$ is the greatest of the linearised motion, $J^2 v = -\omega^2 v$, by power
    iteration with products of the Jacobian J of Hamilton's equations.
    """
    at = (graph.nodes["position"], graph.nodes["momentum"])

    def rates(q: Array, p: Array) -> Rates:
        moved = graph.nodes | {"position": q, "momentum": p}
        return model.vector_field(graph._replace(nodes=moved))

    def along(v: Rates) -> Rates:
        return jax.jvp(rates, at, v)[1]

    def scaled(v: Rates) -> tuple[Rates, Array]:
        size = jnp.sqrt(sum(jnp.sum(x**2) for x in v))
        return jax.tree.map(lambda x: x / jnp.where(size > 0, size, 1), v), size

    def power(_: Array, carry: tuple[Rates, Array]) -> tuple[Rates, Array]:
        # In positions alone: momenta have another unit.
        q, p = along(along(carry[0]))
        return scaled((q, jnp.zeros_like(p)))

    q, p = (jr.normal(jr.key(0), x.shape, x.dtype) for x in at)
    first, _ = scaled((q, jnp.zeros_like(p)))
    _, square = jax.lax.fori_loop(0, 30, power, (first, jnp.ones((), q.dtype)))
    return 2 * jnp.pi / PERIOD / jnp.sqrt(square)


@eqx.filter_jit
def _vector_field(model: AbstractHamiltonian, graph: GraphsTuple) -> Rates:
    return model.vector_field(graph)


def _state(graph: GraphsTuple) -> np.ndarray:
    return np.concatenate([graph.nodes["position"], graph.nodes["momentum"]], axis=1)
