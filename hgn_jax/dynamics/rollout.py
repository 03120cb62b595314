"""Integration of a model or a known system with a fixed time step."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike
from jraph import GraphsTuple

from .._progress import Progress, Reporter
from .._tree import is_concrete
from ..graphs.dense_edges import slotted
from ..graphs.neighbours import Neighbours
from ..integrators.cell_rescaling import CellRescaling
from ..integrators.rattle import Rattle
from ..integrators.stormer_verlet import StormerVerlet
from ..integrators.thermostat import AbstractThermostat
from ..models.base import AbstractModel
from ..models.network import HamiltonianGraphNetwork
from .arguments import (
    check_barostat,
    check_divisible,
    check_integrator,
    check_kinds,
    check_reach,
    check_start,
)
from .bounds import check_bounds, exceeded, reason
from .checkpoint import RolloutCheckpoint
from .compiled_loop import whole
from .diagnostics import raise_if_wrong, warn_about_range
from .host_loop import stepwise
from .observables import AbstractObservable
from .output_file import OutputFile
from .save_times import Every, Schedule, counted
from .slab_rollout import over_mesh
from .stepper import Motion
from .trajectory import Trajectory, as_trajectory


def rollout(
    model: AbstractModel,
    graph: GraphsTuple,
    times: ArrayLike | Sequence[float] | Every,
    *,
    dt: ArrayLike,
    integrator: diffrax.AbstractSolver = StormerVerlet(),
    barostat: CellRescaling | None = None,
    neighbours: Neighbours | Literal["fixed"] | None = None,
    observables: Sequence[AbstractObservable] = (),
    states: bool = True,
    progress: Callable[[Progress], object] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    until: Mapping[str, float] | None = None,
    throw: bool = True,
) -> Trajectory:
    """Integrates the motion of `graph` from `times[0]` and returns it at all `times`.

    All steps have the constant length `dt`, whatever the output times: symplectic integrators lose
    their conservation properties if it varies. An output time between two steps is reached by a
    shorter step that does not enter the trajectory.

    **Arguments:**

    - `model`: a learned model or a known system.
    - `graph`: start state at `times[0]`; a batch of graphs is integrated together.
    - `times`: `[t]`, strictly increasing, or strictly decreasing to go back in time; or
        `hgn.Every(steps, outputs)`, which counts from time zero.
    - `dt`: step, positive (time).
    - `integrator`: `StormerVerlet()`, `Yoshida4()` and `KahanLi8()` need a separable Hamiltonian.
        `ImplicitMidpoint()`, `GaussLegendre4()` and `Tao()` take any, as do diffrax's explicit
        solvers (`diffrax.Dopri8()`: not symplectic, but accurate). `Strang()` is for friction and
        magnetic fields. `Rattle()` keeps rigid rods, `RotorVerlet()` the lengths of axes.
        `Langevin`, `VelocityRescaling` and `NoseHoover` keep a temperature; then the energy may
        change.
    - `barostat`: `CellRescaling` lets the periodic cell follow a pressure, beside a thermostat;
        `path.cell` then holds the cells. One whose shape changes needs heights of at least twice
        cutoff + skin.
    - `neighbours`: edges by cutoff that follow the bodies; the graph's own edges are not used. A
        model with a cutoff needs them, unless all bodies are joined. "fixed" keeps the graph's
        edges nevertheless. With a mesh the bodies are divided between its devices, for
        `StormerVerlet()`, `Yoshida4()` and `KahanLi8()`, and for observables that are sums.
    - `observables`: quantities to record at every output, such as `hgn.Temperature()`.
    - `states`: True to keep positions and momenta at every output.
    - `progress`: a function, such as `print`, called about once a second and at the end.
    - `checkpoint`: a folder, to which outputs and state are written as often as costs 5% of the
        time. If the same call has left a checkpoint there, the rollout resumes from it; the result
        is bitwise identical to that of an uninterrupted run; over a mesh, of as many devices or of
        others, equal up to rounding.
    - `output`: an H5MD file (`.h5`; extra `files`), to which outputs are written as often as costs
        2% of the time. It can be read while the rollout runs, and if it is killed. An existing file
        is refused, unless the same call resumes from its `checkpoint`.
    - `until`: bounds of observables by name, such as `{"deviation": 0.2}`. The rollout ends with
        the first output at which one is exceeded; `path.reason` says which and when.
    - `throw`: raise if the state does not stay finite or the energy jumps. If False, read
        `path.finite`.

    May be jitted, vmapped (over start graphs of one shape, or over models), and differentiated with
    respect to model and start. Reverse mode needs `times` that are not traced; it keeps states
    along the way and computes steps twice. Forward mode needs outputs an equal number of steps
    apart, and no `neighbours`. `progress`, `checkpoint`, `output` and `until` need concrete arrays.

    **Raises:** `ValueError` for bad times, a bad graph, a graph of another dimension than the
    model's, an integrator that needs H = T(p) + V(q) where the model is not separable, cell heights
    below twice the cutoff, a barostat without a thermostat, a cell or mobile bodies, or a model
    without a cutoff or with one beyond that of the neighbours; over a mesh for slabs that are too
    thin, other integrators or observables, and traced arrays.
    `RuntimeError` if the state does not stay finite, naming time, body and closest pair; outside of
    jit also if the energy changes by more than half of the greatest kinetic energy so far, with a
    suggested step. For a checkpoint: `ValueError` if another call made it or it is damaged,
    `RuntimeError` if another run is using it, `OSError` if it cannot be written; what was written
    before remains. The same for an output, and `FileExistsError`.

    **Warns** if pairs or bodies start outside of the model's trained range.
    """
    check_kinds(model, integrator, dt, observables)
    check_integrator(model, integrator)
    check_start(model, graph)
    check_barostat(model, barostat, integrator, graph)
    check_reach(model, graph, neighbours)
    bounds = check_bounds(until, observables)
    schedule = counted(times, dt, graph.nodes["position"].dtype)
    spec = _divided(model, graph, integrator, neighbours, observables)
    motion = _motion(
        model, graph, schedule, integrator, barostat, neighbours, tuple(observables), states
    )
    concrete = is_concrete((motion, schedule))
    followed = not (progress is checkpoint is output is until is None)  # True if any is given
    if not concrete and followed:
        raise ValueError(
            "progress, checkpoint, output and until need concrete arrays: call rollout outside of "
            "jit"
        )
    if concrete and isinstance(model, HamiltonianGraphNetwork):
        warn_about_range(motion)
    # A neighbour list may overflow, and only Python can give it more memory.
    if concrete and (followed or motion.neighbours is not None):
        report = Reporter(progress, "step", int(np.sum(schedule.strides)))
        with ExitStack() as files:
            held = written = None
            if checkpoint is not None:
                held = files.enter_context(
                    RolloutCheckpoint(checkpoint, motion, schedule, divided=spec is not None)
                )
            if output is not None:
                file = OutputFile(output, graph, motion, schedule, resumes=held is not None)
                written = files.enter_context(file)
            if spec is None:
                run = stepwise(motion, schedule, report, held, written, bounds, motion.graph)
            else:
                run = over_mesh(motion, spec, schedule, report, held, written, bounds)
        schedule = schedule.first(len(run.outputs.energy))
    else:
        run = whole(motion, schedule)
    path = as_trajectory(graph, motion, schedule, run)
    if bounds:
        last = {name: values[-1] for name, values in run.outputs.observed.items()}
        over = exceeded(motion.graph, last, bounds)
        path = dataclasses.replace(path, reason=reason(over, bounds, float(path.times[-1])))
    if not throw:
        return path
    words = "the rollout did not stay finite: use a smaller dt, or throw=False to look at it"
    if isinstance(path.finite, jax.core.Tracer):
        return eqx.error_if(path, ~path.finite, words)
    if is_concrete((motion, run)):
        raise_if_wrong(motion, run, path)
    elif not bool(path.finite):
        raise RuntimeError(words)
    return path


def _divided(
    model: AbstractModel,
    graph: GraphsTuple,
    integrator: diffrax.AbstractSolver,
    neighbours: object,
    observables: Sequence[AbstractObservable],
) -> Neighbours | None:
    """The neighbours with sizes of slabs if they have a mesh of several devices, else None."""
    if not isinstance(neighbours, Neighbours) or neighbours.mesh is None:
        return None
    check_divisible(model, graph, integrator, observables)
    if neighbours.mesh.size == 1:
        return None
    return neighbours.divided(graph, model.span)


def _motion(
    model: AbstractModel,
    graph: GraphsTuple,
    schedule: Schedule,
    integrator: diffrax.AbstractSolver,
    barostat: CellRescaling | None,
    neighbours: Neighbours | Literal["fixed"] | None,
    observables: tuple[AbstractObservable, ...],
    states: bool,
) -> Motion:
    for observable in observables:
        observable.check(graph)
    if not isinstance(neighbours, Neighbours):
        laid_out, neighbours = slotted(graph) if model.handles_padding else graph, None
    else:
        neighbours.check(graph)
        sheared = barostat is not None and barostat.full
        neighbours = dataclasses.replace(neighbours, mesh=None)
        neighbours = neighbours.allocated(graph, sheared=sheared)
        laid_out = neighbours.prepare(graph)
    if isinstance(integrator, Rattle):
        integrator = integrator.of(model, laid_out, schedule.dt)
    dt = jnp.where(schedule.back, -schedule.dt, schedule.dt)  # the sign is the direction of time
    if isinstance(integrator, AbstractThermostat):
        integrator = integrator.of(laid_out, dt)
    return Motion(
        model=model,
        graph=laid_out,
        dt=dt,
        start_time=schedule.times[0],
        integrator=integrator,
        neighbours=neighbours,
        observables=observables,
        states=states,
        barostat=barostat,
    )
