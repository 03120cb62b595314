"""Motion: Hamilton's equations of a model or a known system, integrated with a fixed step."""

import os
import warnings
from collections.abc import Callable, Sequence

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int
from jraph import GraphsTuple

from .._tree import all_finite, is_concrete
from ..features.message_passing import MessagePassingFeatures
from ..features.pair_base import AbstractPairFeatures
from ..graphs.dense_edges import slotted
from ..graphs.neighbour_list import Neighbours
from ..graphs.validate import check
from ..integrators.stormer_verlet import StormerVerlet
from ..models.hamiltonian import AbstractHamiltonian, HamiltonianGraphNetwork
from ..systems.system import System
from . import diagnostics
from .checkpoint import Journal
from .compiled_loop import whole
from .host_loop import Reporter, RolloutProgress, stepwise
from .observables import AbstractObservable
from .save_times import Every, Schedule, counted
from .stepper import Motion, Run


class Trajectory(eqx.Module):
    """A trajectory of n bodies at t times."""

    times: Float[Array, " t"]
    position: Float[Array, "_ n d"]
    """`[t n d]`, or `[0 n d]`, as `momentum`, if the rollout was told to leave states out."""
    momentum: Float[Array, "_ n d"]
    energy: Float[Array, "t ..."]
    """H of the model that was integrated, `[t]`; `[t g]` for a batch of several graphs."""
    observed: dict[str, Float[Array, "t ..."]]
    """The `observables` by name, `[t ...]`; `[t g ...]` for a batch of several graphs."""
    end: GraphsTuple
    """The graph where the chain of steps ended: at `times[-1]`, or less than a step before."""
    finite: Bool[Array, ""]
    """Whether state and energy stayed finite and every step could be solved. If not, outputs after
    `stopped_time` are not to be used; those that the integration never reached are NaN."""
    stopped_time: Float[Array, ""]
    stopped_node: Int[Array, ""]
    """The first body without a finite state, or -1."""


def rollout(
    model: AbstractHamiltonian,
    graph: GraphsTuple,
    times: ArrayLike | Sequence[float] | Every,
    *,
    dt: ArrayLike,
    integrator: diffrax.AbstractSolver = StormerVerlet(),
    neighbours: Neighbours | None = None,
    observables: Sequence[AbstractObservable] = (),
    states: bool = True,
    progress: Callable[[RolloutProgress], object] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    throw: bool = True,
) -> Trajectory:
    """Integrates the motion of `graph` from `times[0]` and returns it at all `times`.

    The chain of steps has the constant length `dt` whatever the output times: symplectic
    integrators lose their virtues if it varies. An output time between two steps is reached by a
    shorter step to the side, which never re-enters the chain.

    **Arguments:**

    - `model`: a learned model or a known system.
    - `graph`: start state at `times[0]`; a batch of graphs moves side by side.
    - `times`: `[t]`, strictly increasing, or strictly decreasing to go back in time; or
        `hgn.Every(steps, outputs)`, which counts from time zero.
    - `dt`: step, positive (time).
    - `integrator`: `StormerVerlet()`, `Yoshida4()` and `KahanLi8()` need a Hamiltonian that
        separates; `ImplicitMidpoint()`, `GaussLegendre4()` and `Tao()` take any, as do diffrax's
        explicit solvers (`diffrax.Dopri8()`: not symplectic, but accurate).
    - `neighbours`: edges by cutoff that follow the bodies; the graph's own edges are not used.
    - `observables`: quantities to take at every output, such as `hgn.Temperature()`.
    - `states`: whether positions and momenta are kept, at every output.
    - `progress`: called about once a second, and at the end; `print` will do.
    - `checkpoint`: a new folder, to which outputs and state are written as they come.
    - `resume`: go on with the rollout in that folder, to the same bits as without interruption.
    - `throw`: raise if the state does not stay finite or the energy jumps; if False look at
        `path.finite`.

    May be jitted, vmapped (over start graphs of one shape, or over models) and differentiated with
    respect to model and start: in reverse mode, unless `times` are traced, and, if all outputs are
    equally many steps apart and without `neighbours`, in forward mode. Reverse mode keeps states
    along the way, and computes steps once more.
    `progress` and `checkpoint` need concrete arrays.

    **Raises:** `ValueError` for bad times, a bad graph, a graph of another dimension than the
    model's, an integrator that needs H = T(p) + V(q) and a model that is not, a cell less high than
    twice the cutoff, or a model that has no cutoff or one beyond the neighbours'. `RuntimeError` if
    the state does not stay finite, naming time, body and the nearest pair, or, outside of jit, if
    the energy changes by more than half of the greatest kinetic energy so far, with a step that would
    do. `FileExistsError` for a checkpoint folder that exists, without `resume`; `OSError` if it
    cannot be written: what was written remains, and can be resumed.

    **Warns** of a start with pairs or bodies outside of the model's trained range.
    """
    if isinstance(integrator.term_structure, tuple) and not model.separable:
        raise ValueError(
            f"{type(integrator).__name__} needs H = T(p) + V(q), but this model mixes positions "
            "and momenta; use integrator=hgn.ImplicitMidpoint()"
        )
    if is_concrete(graph):
        check(graph)
    schedule = counted(times, dt, graph.nodes["position"].dtype)
    motion = _motion(model, graph, jnp.where(schedule.back, -schedule.dt, schedule.dt), integrator,
                     neighbours, tuple(observables), states)  # fmt: skip
    if resume and checkpoint is None:
        raise ValueError("resume=True needs the folder: checkpoint=...")
    concrete = is_concrete((motion, schedule))
    led = neighbours is not None or progress is not None or checkpoint is not None
    if not concrete and (progress is not None or checkpoint is not None):
        raise ValueError(
            "progress and checkpoint need concrete arrays: call rollout outside of jit"
        )
    if concrete and isinstance(model, HamiltonianGraphNetwork):
        _warn_about_range(model, motion)
    if concrete and led:
        journal = None
        if checkpoint is not None:
            journal = Journal(checkpoint, motion, schedule, resume)
        run = stepwise(motion, schedule, Reporter(progress, int(np.sum(schedule.strides))), journal)
    else:
        run = whole(motion, schedule)
    path = _path(graph, motion, schedule, run)
    if not throw:
        return path
    words = "the rollout did not stay finite: use a smaller dt, or throw=False to look at it"
    if isinstance(path.finite, jax.core.Tracer):
        return eqx.error_if(path, ~path.finite, words)
    if is_concrete((motion, run)):
        _raise_if_wrong(motion, schedule, run, path)
    elif not bool(path.finite):
        raise RuntimeError(words)
    return path


def _motion(
    model: AbstractHamiltonian,
    graph: GraphsTuple,
    dt: Float[Array, ""],
    integrator: diffrax.AbstractSolver,
    neighbours: Neighbours | None,
    observables: tuple[AbstractObservable, ...],
    states: bool,
) -> Motion:
    for observable in observables:
        observable.check(graph)
    names = [o.name for o in observables]
    if len(set(names)) < len(names):
        raise ValueError(f"observables of one name: {names}")
    if neighbours is None:
        # Others' own Hamiltonians may not know of padding.
        ours = isinstance(model, HamiltonianGraphNetwork | System)
        laid_out = slotted(graph) if ours else graph
        return Motion(model, laid_out, dt, integrator, None, observables, states)
    neighbours.check(graph)
    _check_cutoffs(model, neighbours)
    if neighbours.sizes is None:
        if not is_concrete(graph):
            raise ValueError(
                "inside jit the number of neighbours is unknown: allocate outside of it, "
                "neighbours=hgn.Neighbours(cutoff, skin).allocate(graph)"
            )
        neighbours = neighbours.allocate(graph)
    return Motion(model, neighbours.prepare(graph), dt, integrator, neighbours, observables, states)


def _check_cutoffs(model: AbstractHamiltonian, neighbours: Neighbours) -> None:
    """Raises if a force would jump where neighbours enter or leave the list."""
    cutoffs: dict[str, float | None] = {}
    if isinstance(model, HamiltonianGraphNetwork):
        by_edges = (AbstractPairFeatures, MessagePassingFeatures)
        cutoffs = {
            f"{f.name} features": getattr(f, "cutoff", None)
            for f in model.features
            if isinstance(f, by_edges)
        }
    elif isinstance(model, System):
        name = type(model.potential).__name__
        cutoffs = {f"potential {name}": getattr(model.potential, "cutoff", None)}
    for name, cutoff in cutoffs.items():
        if cutoff is None or not cutoff <= neighbours.cutoff:
            has = "no cutoff" if cutoff is None else f"the cutoff {cutoff:g}"
            raise ValueError(
                f"the {name} has {has}, the neighbours' is {neighbours.cutoff:g}: forces would "
                "jump as neighbours come and go. Take hgn.Pair(cutoff=...) or "
                "hgn.systems.lennard_jones(cutoff=...), or give your potential a field `cutoff`"
            )


@eqx.filter_jit
def _path(graph: GraphsTuple, motion: Motion, schedule: Schedule, run: Run) -> Trajectory:
    """Without the padding, and with NaN for outputs beyond the stop."""
    n, graphs = len(graph.nodes["mass"]), graph.n_node.shape[0]
    chained = all_finite(run.after.y)
    reached = chained | (jnp.cumsum(jnp.asarray(schedule.strides)) <= run.steps)

    def cut(values: Array, size: int) -> Array:
        seen = reached.reshape(-1, *[1] * (values.ndim - 1))
        return jnp.where(seen, values[:, :size], jnp.nan)

    def of_graphs(values: Array) -> Array:
        kept = cut(values, graphs)
        return kept[:, 0] if graphs == 1 else kept

    outputs = run.outputs
    none = jnp.zeros((0, *graph.nodes["position"].shape), motion.dt.dtype)
    q, p = (
        none if values is None else cut(values, n)
        for values in (outputs.position, outputs.momentum)
    )
    bad = ~jnp.all(jnp.isfinite(jnp.concatenate(run.after.y, axis=1)[:n]), axis=1)
    node = jnp.where(jnp.any(bad) & run.after.solved, jnp.argmax(bad), -1)
    good = outputs.finite & reached
    stopped = schedule.times[0] + motion.dt * run.steps.astype(motion.dt.dtype)
    first_bad = schedule.times[jnp.argmin(good)]
    end = {"position": run.end.y[0][:n], "momentum": run.end.y[1][:n]}
    return Trajectory(
        times=schedule.times,
        position=q,
        momentum=p,
        energy=of_graphs(outputs.energy),
        observed={name: of_graphs(values) for name, values in outputs.observed.items()},
        end=graph._replace(nodes=graph.nodes | end),
        finite=chained & jnp.all(good),
        stopped_time=jnp.where(chained & ~jnp.all(good), first_bad, stopped),
        stopped_node=node,
    )


def _raise_if_wrong(motion: Motion, schedule: Schedule, run: Run, path: Trajectory) -> None:
    model, before = motion.model, motion.at(run.before.y, run.before.neighbours)
    if not bool(path.finite):
        after = motion.at(run.after.y, run.after.neighbours)
        if not bool(run.after.solved):
            cause = "the step could not be solved"
        elif not bool(all_finite(run.after.y)):
            cause = diagnostics.culprit(model, before, after)
        else:
            cause = "the step could not be solved, or bodies met and the energy is not finite"
        raise RuntimeError(
            f"rollout stopped at time {float(path.stopped_time):.6g}: {cause}. "
            f"{_advice(model, before, motion)}"
        )
    graphs = path.energy.reshape(len(path.times), -1).shape[1]
    energy, kinetic = (
        np.asarray(values)[:, :graphs] for values in (run.outputs.energy, run.outputs.kinetic)
    )
    jump = diagnostics.first_jump(energy, kinetic)
    if jump is None:
        return
    output, number = jump
    whose = f" of graph {number}" if graphs > 1 else ""
    raise RuntimeError(
        f"the energy{whose} went from {energy[0, number]:.6g} to {energy[output, number]:.6g} by "
        f"time {float(path.times[output]):.6g}, more than half of the greatest kinetic energy "
        f"{kinetic[: output + 1, number].max():.6g}: the step is too long, or bodies collide. "
        f"{_advice(model, _at_start(motion), motion)}"
    )


@eqx.filter_jit
def _at_start(motion: Motion) -> GraphsTuple:
    return motion.at(motion.begin(), motion.find(motion.begin()))


def _advice(model: AbstractHamiltonian, graph: GraphsTuple, motion: Motion) -> str:
    dt = abs(float(motion.dt))
    enough = float(diagnostics.suggested_step(model, graph))
    step = f"such as dt={min(enough, dt / 2):.2g}" if np.isfinite(enough) else "such as half of it"
    return (
        f"Use a smaller dt, {step}; if that does not help, the start may lie outside of the "
        "model's trained range"
    )


def _warn_about_range(model: HamiltonianGraphNetwork, motion: Motion) -> None:
    counts = {k: int(np.sum(v)) for k, v in _out_of_range(model, motion).items()}
    if any(counts.values()):
        words = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
        warnings.warn(
            f"the start is outside of the model's trained range ({words}): there the model "
            "extrapolates",
            stacklevel=3,
        )


@eqx.filter_jit
def _out_of_range(model: HamiltonianGraphNetwork, motion: Motion) -> dict[str, Array]:
    return model.out_of_range(_at_start(motion))
