"""The result of a rollout."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from jraph import GraphsTuple

from .._tree import all_finite
from ..io.atoms_out import frames_of_recording, to_ase
from ..io.recording import Recording, of_motion
from .save_times import Schedule
from .state import Run, State
from .stepper import Motion

MOVED = ("position", "momentum", "axis", "angular_momentum")
"""Arrays of the state that a trajectory keeps."""


class Trajectory(eqx.Module):
    """A trajectory of n bodies at t times."""

    times: Float[Array, " t"]
    position: Float[Array, "_ n d"]
    """`[t n d]`, or `[0 n d]` if the rollout was told to leave states out."""
    momentum: Float[Array, "_ n d"]
    """Momenta, shaped like `position`; `[0 n d]` if the state has none."""
    energy: Float[Array, "t ..."]
    """Energy of the model that was integrated, `[t]`; `[t g]` for a batch of several graphs."""
    observed: dict[str, Float[Array, "t ..."]]
    """The `observables` by name, `[t ...]`; `[t g ...]` for a batch of several graphs."""
    cell: Float[Array, "t ..."] | None
    """Periodic cells `[t d d]` that a barostat has changed; `[t g d d]` for a batch of several
    graphs. None if they stay."""
    end: GraphsTuple
    """The graph at the end of the last whole step: at `times[-1]`, or less than a step before.

    It holds the state and its `time`. Rates and energies of the start are left out: they are not
    those of the end.
    """
    finite: Bool[Array, ""]
    """True if state and energy stayed finite and every step could be solved. If not, outputs after
    `stopped_time` are invalid; those that were never reached are NaN."""
    stopped_time: Float[Array, ""]
    stopped_node: Int[Array, ""]
    """The first body without a finite state, or -1."""
    keeps_edges: bool = eqx.field(static=True, default=True)
    """True if the bodies kept the edges of the start, False if neighbours were searched."""
    reason: str = eqx.field(static=True, default="")
    """Which bound of `until` ended the rollout, and when; empty if none did."""
    axis: Float[Array, "_ n d"] | None = None
    """Axes of `hgn.LinearRotors`, shaped like `position`; None for other dynamics."""
    angular_momentum: Float[Array, "_ n d"] | None = None
    """Their angular momenta, shaped like `position`."""

    def recordings(self) -> list[Recording]:
        """The trajectory of each graph as plain arrays, as `hgn.write` writes them.

        **Raises:** `ValueError` for vmapped trajectories.
        """
        if self.times.ndim != 1 or self.position.ndim != 3:
            raise ValueError(
                "several rollouts in one, from vmap: take one of them, "
                "jax.tree.map(lambda a: a[0], paths)"
            )
        several = self.end.n_node.shape[0] > 1

        def of_graphs(values: Array) -> np.ndarray:
            return np.asarray(values) if several else np.asarray(values)[:, None]

        return of_motion(
            self.end,
            np.asarray(self.times),
            {
                name: np.asarray(values)
                for name in MOVED
                if (values := getattr(self, name)) is not None and len(values)
            },
            {name: of_graphs(v) for name, v in (("energy", self.energy), *self.observed.items())},
            None if self.cell is None else of_graphs(self.cell),
            self.keeps_edges,
        )

    def to_ase(self) -> list[Any]:
        """The frames as ASE's `Atoms`, for its tools and viewers: one list per graph, or a single
        list. Bodies that are no elements are X; a plane lies at z = 0.

        **Raises:** `ValueError` if the rollout left states out; `ModuleNotFoundError` without ASE.
        """
        lists = [[to_ase(frame) for frame in frames_of_recording(r)] for r in self.recordings()]
        return lists[0] if len(lists) == 1 else lists


@eqx.filter_jit
def as_trajectory(graph: GraphsTuple, motion: Motion, schedule: Schedule, run: Run) -> Trajectory:
    """The run without padding, and with NaN for outputs after the stop."""
    n, graph_count = len(graph.nodes["position"]), graph.n_node.shape[0]
    chained = all_finite(run.after.y)
    reached = chained | (jnp.cumsum(jnp.asarray(schedule.strides)) <= run.steps)

    def cut(values: Array, size: int) -> Array:
        valid = reached.reshape(-1, *[1] * (values.ndim - 1))
        return jnp.where(valid, values[:, :size], jnp.nan)

    def of_graphs(values: Array) -> Array:
        kept = cut(values, graph_count)
        return kept[:, 0] if graph_count == 1 else kept

    outputs = run.outputs
    none = jnp.zeros((0, *graph.nodes["position"].shape), motion.dt.dtype)
    position, momentum, axis, angular_momentum = (
        cut(outputs.state[name], n) if name in outputs.state else none for name in MOVED
    )
    turning = "axis" in motion.model.dynamics.state
    bad = ~jnp.all(jnp.isfinite(jnp.concatenate(run.after.y, axis=1)[:n]), axis=1)
    # A step that could not be solved makes all bodies NaN: none is to blame.
    node = jnp.where(jnp.any(bad) & run.after.solved, jnp.argmax(bad), -1)
    good = outputs.finite & reached
    stopped = schedule.times[0] + motion.dt * run.steps.astype(motion.dt.dtype)
    first_bad = schedule.times[jnp.argmin(good)]  # argmin: the first that failed
    end_time = schedule.times[0] + motion.dt * run.end.step.astype(motion.dt.dtype)
    return Trajectory(
        times=schedule.times,
        position=position,
        momentum=momentum,
        energy=of_graphs(outputs.energy),
        observed={name: of_graphs(values) for name, values in outputs.observed.items()},
        cell=None if outputs.cell is None else of_graphs(outputs.cell),
        end=_at_end(graph, motion, run.end, end_time),
        finite=chained & jnp.all(good),
        # The chain is finite, but an output is not: its energy, or its partial step.
        stopped_time=jnp.where(chained & ~jnp.all(good), first_bad, stopped),
        stopped_node=node,
        keeps_edges=motion.neighbours is None,
        axis=axis if turning else None,
        angular_momentum=angular_momentum if turning else None,
    )


def _at_end(graph: GraphsTuple, motion: Motion, end: State, time: Float[Array, ""]) -> GraphsTuple:
    """The graph in that state, without the measured quantities of its start."""
    n, graph_count = len(graph.nodes["position"]), graph.n_node.shape[0]
    state = {name: a[:n] for name, a in zip(motion.model.dynamics.state, end.y)}
    measured = {*motion.model.dynamics.observed, "energy", "stress"}
    nodes = {name: a for name, a in graph.nodes.items() if name not in measured}
    globals_ = {name: a for name, a in graph.globals.items() if name not in measured}
    if "time" in globals_ or motion.model.time_dependent:
        globals_ |= {"time": jnp.broadcast_to(time, graph.n_node.shape)}
    if end.cell is not None:
        globals_ |= {"cell": end.cell[:graph_count]}
    return graph._replace(nodes=nodes | state, globals=globals_)
