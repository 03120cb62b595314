"""Training data from a known Hamiltonian: random initial states, integrated, with exact rates."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from jraph import GraphsTuple

from .._arguments import as_key, whole_number
from .._tree import is_concrete
from .._types import Key
from ..graphs.batching import snapshots
from ..graphs.check_trajectories import check_numbers
from ..graphs.geometry import movable
from ..graphs.schema import require
from ..graphs.validate import check
from ..models.base import AbstractModel
from .random_axes import perpendicular, random_axes
from .start import AbstractStart, Uniform
from .system import System

_State: TypeAlias = dict[str, Array]
"""Arrays of the state by name."""


def simulate(
    system: AbstractModel,
    graph: GraphsTuple,
    *,
    key: Key | int,
    trajectories: int = 1000,
    times: ArrayLike | Sequence[float] = (0.0,),
    start: AbstractStart = Uniform(),
    tolerance: float = 1e-10,
    noise: float = 0.0,
) -> GraphsTuple:
    r"""Simulates snapshots of `system`: a batch of `trajectories * len(times)` graphs.

    Initial states are drawn by `start` around the graph's positions and momenta (`fixed` bodies
    keep theirs), integrated with Dormand-Prince 8(7) to relative and absolute `tolerance` per step,
    and observed at `times` (evenly spaced or not; the first is the start). Axes of bodies start in
    all directions alike, whatever the graph holds, with angular momenta drawn as momenta are, less
    their components along the axes. Nodes carry `velocity` and `force` from Hamilton's equations,
    and those of axes `axis_velocity` and `torque`; globals carry `time`, `trajectory` and `energy`;
    edges carry `coupling` if the system couples masses. The default, many independent
    starts observed once, covers the state space best.

    `key` is a JAX key or a seed. `noise` adds normal errors to positions, momenta, velocities and
    forces, in units of each array's standard deviation (for positions that of the displacements).
    May be vmapped over keys; times are concrete.

    **Raises:** `ValueError` for a bad graph (see `hgn.check`), times that do not increase, a batch
    of several graphs, or trajectories, tolerance or noise out of range. `RuntimeError` if the
    integration fails, for example when bodies collide, or if a potential is not finite at the
    start.
    """
    if graph.n_node.shape[0] != 1:
        raise ValueError(f"simulate takes one graph, got a batch of {graph.n_node.shape[0]}")
    require(graph, {"nodes": {"position", "momentum", "mass", *system.needs}}, "simulate")
    position = graph.nodes["position"]
    trajectories = whole_number("trajectories", trajectories, 1)
    if not 0 < tolerance < np.inf:
        raise ValueError(f"tolerance must be positive and finite, got {tolerance}")
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise must be finite and not negative, got {noise}")
    if noise and "axis" in system.dynamics.state:
        raise ValueError(
            "noise= adds errors to positions and momenta, but an axis with errors is no unit "
            "vector: leave it out, and add errors of your own to the data"
        )
    moments = np.asarray(times)
    check_numbers("times", moments)
    rising = np.isfinite(moments).all() and (np.diff(moments) > 0).all()
    if moments.ndim != 1 or len(moments) < 1 or not rising:
        raise ValueError("times must be finite and strictly increasing, [t], at least one")
    ts = jnp.asarray(moments, position.dtype)
    if is_concrete(graph):
        check(graph)
    if isinstance(system, System):
        # The data then carry the couplings, which a fit needs to know.
        graph = system.couple(graph)
    draw, errors = jr.split(as_key(key))
    data = _simulate(system, graph, draw, trajectories, ts, start, tolerance)
    if is_concrete(data) and not bool(jnp.all(jnp.isfinite(data.nodes["force"]))):
        raise RuntimeError(
            "the simulated forces are not finite: bodies start in one place, or an edge type "
            "has no parameters"
        )
    return _add_noise(data, errors, noise) if noise else data


@eqx.filter_jit
def _simulate(
    system: AbstractModel,
    graph: GraphsTuple,
    key: Key,
    trajectories: int,
    times: Float[Array, " t"],
    start: AbstractStart,
    tolerance: float,
) -> GraphsTuple:
    shape = (trajectories, *graph.nodes["position"].shape)
    dtype = graph.nodes["position"].dtype
    free = movable(graph)[None, :, None]
    y = {
        name: graph.nodes[name][None] + jnp.where(free, offset, 0)
        for name, offset in zip(("position", "momentum"), start.offsets(key, shape, dtype))
    }
    names = system.dynamics.state
    if "axis" in names:
        y |= random_axes(jr.fold_in(key, 1), shape, start, dtype)
    if times.shape[0] == 1:
        y = {name: a[:, None] for name, a in y.items()}  # one time: nothing to integrate
    else:
        y = jax.vmap(lambda y: _integrate(system, graph, y, times, tolerance))(y)
    if "axis" in names:
        y |= perpendicular(y["axis"], y["angular_momentum"])  # else to the tolerance only
    states = {name: a.reshape(-1, *a.shape[2:]) for name, a in y.items()}
    number = jnp.repeat(jnp.arange(trajectories, dtype=jnp.int32), times.shape[0])
    data = snapshots(graph, states, {"time": jnp.tile(times, trajectories), "trajectory": number})
    # Exact rates at the observed states, not those inside the solver's steps.
    rates = dict(zip(system.dynamics.observed, system.vector_field(data)))
    return data._replace(
        nodes=data.nodes | rates,
        globals=data.globals | {"energy": system(data)},
    )


def _integrate(
    system: AbstractModel,
    graph: GraphsTuple,
    state: _State,
    times: Float[Array, " t"],
    tolerance: float,
) -> _State:
    """States at all times, which become the first axis."""

    def vector_field(t: Any, y: _State, args: Any) -> _State:
        rates = system.vector_field(graph._replace(nodes=graph.nodes | y))
        return dict(zip(system.dynamics.state, rates))

    eps = float(jnp.finfo(times.dtype).eps)
    # Below rounding, no step would be accepted.
    tolerance = max(tolerance, 10 * eps)
    # Colliding bodies would shrink the step without end: the solve then fails with an error.
    shortest = 100 * eps * (times[-1] - times[0])
    controller = diffrax.PIDController(rtol=tolerance, atol=tolerance, dtmin=shortest,
                                       force_dtmin=False)  # fmt: skip

    # One solve per interval: a step cut short by the next time must not count as a tiny one.
    def interval(y: _State, span: tuple[Array, Array]) -> tuple[_State, _State]:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(vector_field),
            diffrax.Dopri8(),
            t0=span[0],
            t1=span[1],
            dt0=None,
            y0=y,
            stepsize_controller=controller,
            max_steps=None,
        )
        assert solution.ys is not None
        last = jax.tree.map(lambda leaf: leaf[-1], solution.ys)  # only the end t1 is saved
        return last, last

    _, after = jax.lax.scan(interval, state, (times[:-1], times[1:]))
    # The scan returns the states after the start.
    return jax.tree.map(lambda first, later: jnp.concatenate([first[None], later]), state, after)


def _add_noise(data: GraphsTuple, key: Key, noise: float) -> GraphsTuple:
    nodes = dict(data.nodes)
    names = ("position", "momentum", "velocity", "force")
    for name, k in zip(names, jr.split(key, len(names)), strict=True):
        size = noise * jnp.std(nodes[name])
        if name == "position":
            # Positions scatter about their sites: take the spread of displacements.
            sites = nodes[name].reshape(data.n_node.shape[0], -1)
            size = noise * jnp.sqrt(jnp.mean(jnp.var(sites, axis=0)))
        # Fixed bodies are known exactly.
        errors = size * jr.normal(k, nodes[name].shape, nodes[name].dtype)
        nodes[name] = nodes[name] + jnp.where(movable(data)[:, None], errors, 0)
    return data._replace(nodes=nodes)
