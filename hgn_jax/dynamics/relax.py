"""Relaxation of positions and cell to a minimum of the energy."""

import math
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int
from jraph import GraphsTuple

from .._arguments import check_number, whole_number
from .._tree import is_concrete
from ..graphs.cell import Cell
from ..graphs.dense_edges import SlottedGraphs, slotted
from ..graphs.geometry import bodies
from ..graphs.neighbours import Neighbours
from ..graphs.schema import require
from ..graphs.strain import require_mobile
from ..models.base import AbstractModel
from ..models.constrained import Constrained
from .arguments import check_reach, check_start
from .fire import Descent, Walk, shortest_edge


class Relaxed(eqx.Module):
    """A minimum of the energy, or the last state on the way there."""

    graph: GraphsTuple
    """The graph with relaxed positions, cell and momenta of zero, without measured quantities."""
    energy: Float[Array, ""]
    """Energy of the model there."""
    force: Float[Array, ""]
    """Greatest force on a mobile body (energy / length)."""
    stress: Float[Array, "d d"] | None
    """Stress (energy / length^d); None if the cell was kept."""
    steps: Int[Array, ""]
    converged: Bool[Array, ""]


def relax(
    model: AbstractModel,
    graph: GraphsTuple,
    *,
    force: ArrayLike,
    stress: ArrayLike | None = None,
    neighbours: Neighbours | Literal["fixed"] | None = None,
    longest: float | None = None,
    steps: int = 1000,
    throw: bool = True,
) -> Relaxed:
    """Relaxes positions, and the cell if a tolerance of the stress is given, by FIRE.

    Bodies start at rest and are accelerated by the forces. Where they move uphill they are stopped.
    The first time step follows from the stiffness along the first force.

    **Arguments:**

    - `model`: a learned model or a known system. Only its energy counts: friction and other rates
        that are no gradient are ignored, and momenta are set to zero.
    - `graph`: a single graph; use jax.vmap for several. `fixed` bodies stay.
    - `force`: tolerance: the greatest force on a body (energy / length).
    - `stress`: tolerance of every component of the stress (energy / length^d). If it is given, the
        cell relaxes too, with all its components and without rotating.
    - `neighbours`: as in `hgn.rollout`. To relax a cell its heights must be at least twice
        cutoff + skin. With "fixed" edges, give edges for more than the cutoff, since bodies move.
    - `longest`: longest move of a body in one step; a tenth of the shortest edge if not given.
    - `steps`: greatest number of steps, of one force each.
    - `throw`: raise if it does not converge. If False, read `.converged`.

    May be jitted and vmapped; then `neighbours` must be allocated.

    **Raises:** `ValueError` for a bad graph, tolerances that are not positive, models with rigid
    rods or with axes, or a cell to be relaxed that is missing or holds fixed bodies. `RuntimeError`
    if it does not converge.

    Bitzek, Koskinen, Gahler, Moseler and Gumbsch, Structural relaxation made simple, Physical
    Review Letters 97, 2006.
    """
    _check(model, graph, neighbours, stress)
    check_number("force", force)
    # An array, so that another number compiles nothing new.
    most = jnp.asarray(whole_number("steps", steps, 1), jnp.int32)
    dtype = graph.nodes["position"].dtype
    walk, descent = _begin(model, graph, dtype, force, stress, neighbours, longest)
    concrete = is_concrete((descent, walk))
    while True:
        walk = descent.run(walk, most)
        if not concrete or walk.place.found is None or walk.place.found.complete:
            break
        descent, walk = _reallocated(descent, walk, graph)
    result = _relaxed(descent, walk, graph)
    words = (
        "relax did not converge: allow more steps or a greater tolerance, or look at the result of "
        "throw=False"
    )
    if not throw:
        return result
    if isinstance(result.converged, jax.core.Tracer):
        return eqx.error_if(result, ~result.converged, words)
    if not bool(result.converged):
        pressed = "" if result.stress is None else f", stress {np.abs(result.stress).max():.3g}"
        raise RuntimeError(
            f"{words} (greatest force {float(result.force):.3g}{pressed} after "
            f"{int(result.steps)} steps)"
        )
    return result


def _check(model: AbstractModel, graph: GraphsTuple, neighbours: object, stress: object) -> None:
    if not isinstance(model, AbstractModel):
        raise ValueError(f"model must be fit.model or another model, got {type(model).__name__}")
    if isinstance(model.dynamics, Constrained):
        raise ValueError("relax would change the lengths of the model's rigid rods")
    if "axis" in model.dynamics.state:
        raise ValueError(
            "relax moves positions alone, and the axes of the model's bodies would stay as they "
            "are: minimise model(graph) by an optimiser of your own"
        )
    check_start(model, graph)
    if graph.n_node.shape[0] != 1:
        raise ValueError(f"relax takes a single graph, got {graph.n_node.shape[0]}: use jax.vmap")
    check_reach(model, graph, neighbours)
    if stress is None:
        return
    check_number("stress", stress)  # type: ignore[arg-type]
    require(graph, {"globals": ["cell"]}, "a tolerance of the stress")
    require_mobile(graph, "the tolerance of the stress, which lets the cell change")


def _begin(
    model: AbstractModel,
    graph: GraphsTuple,
    dtype: np.dtype,
    force: ArrayLike,
    stress: ArrayLike | None,
    neighbours: Neighbours | Literal["fixed"] | None,
    longest: float | None,
) -> tuple[Walk, Descent]:
    """The walk at its start, which has enough capacity for its neighbours."""
    if "momentum" in graph.nodes:
        rest = jnp.zeros_like(graph.nodes["momentum"])
        graph = graph._replace(nodes=graph.nodes | {"momentum": rest})
    spec = None
    if isinstance(neighbours, Neighbours):
        laid_out, spec = _prepared(graph, neighbours, stress is not None)
    else:
        laid_out = slotted(graph) if model.handles_padding else graph
    size = jnp.ones((), dtype)
    if stress is not None:
        n, d = bodies(laid_out)[0], graph.nodes["position"].shape[1]
        volume = Cell(graph.globals["cell"][0]).volume
        size = jnp.sqrt(n) * (volume / n) ** (1 / d)
    descent = Descent(
        model=model,
        neighbours=spec,
        force=jnp.asarray(force, dtype),
        stress=None if stress is None else jnp.asarray(stress, dtype),
        # Infinite until `_started` measures it.
        longest=jnp.asarray(math.inf if longest is None else longest, dtype),
        size=size,
    )
    return _started(descent, laid_out, longest is None)


@eqx.filter_jit
def _started(descent: Descent, graph: GraphsTuple, measure: bool) -> tuple[Walk, Descent]:
    if measure:
        joined = descent.joined(descent.first(graph))
        # The cutoff bounds the moves of bodies that have no neighbours within it.
        most = math.inf if descent.neighbours is None else descent.neighbours.cutoff
        longest = jnp.minimum(shortest_edge(joined), most) / 10
        descent = eqx.tree_at(lambda x: x.longest, descent, longest)
    return descent.begin(graph), descent


def _prepared(
    graph: GraphsTuple, spec: Neighbours, changes: bool
) -> tuple[SlottedGraphs, Neighbours]:
    """The graph as the search takes it, and capacities for its neighbours."""
    # Where values are known, capacities follow them, whatever was given.
    if is_concrete(graph):
        spec = spec.allocate(graph)
    spec = spec.allocated(graph, sheared=changes)
    return spec.prepare(graph), spec


def _reallocated(descent: Descent, walk: Walk, start: GraphsTuple) -> tuple[Descent, Walk]:
    """The same walk, with enough capacity for its neighbours."""
    assert descent.neighbours is not None
    there = _graph(walk, start)
    laid_out, spec = _prepared(there, descent.neighbours, descent.stress is not None)
    descent = eqx.tree_at(lambda x: x.neighbours, descent, spec)
    return descent, descent.again(walk, laid_out)


def _graph(walk: Walk, start: GraphsTuple) -> GraphsTuple:
    """The graph without padding, at the place of the walk."""
    there, n = walk.place.graph, len(start.nodes["position"])
    moved = {k: there.nodes[k][:n] for k in ("position", "momentum") if k in start.nodes}
    cell = {"cell": there.globals["cell"][:1]} if "cell" in start.globals else {}
    return start._replace(nodes=start.nodes | moved, globals=start.globals | cell)


@eqx.filter_jit
def _relaxed(descent: Descent, walk: Walk, start: GraphsTuple) -> Relaxed:
    graph = _graph(walk, start)
    measured = {*descent.model.dynamics.observed, "energy", "stress"}
    kept = {k: a for k, a in graph.globals.items() if k not in measured}
    nodes = {k: a for k, a in graph.nodes.items() if k not in measured}
    return Relaxed(
        graph=graph._replace(nodes=nodes, globals=kept),
        energy=descent.model(descent.joined(walk.place))[0],
        force=descent.greatest_force(walk),
        stress=None if descent.stress is None else descent.stresses(walk),
        steps=walk.steps,
        converged=descent.converged(walk),
    )
