"""`hgn-jax rollout`: a simulation with a learned model."""

import math
import time
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import typer
from jraph import GraphsTuple

from .. import integrators
from ..dynamics.diagnostics import suggested_step
from ..dynamics.observables import MeanSquaredDisplacement, Temperature
from ..dynamics.rollout import rollout as rolled_out
from ..dynamics.save_times import Every as EverySteps
from ..dynamics.trajectory import Trajectory
from ..graphs.neighbours import Neighbours
from ..graphs.selection import frame as frame_of
from ..io import h5md
from ..io.compressed import bare_suffix
from ..io.model_file import load
from ..io.sources import holds_atoms
from ..io.write import write
from ..models.network import HamiltonianGraphNetwork
from .app import command
from .data import read_data
from .options import Columns, Coupling, Edges, File, Json, Mass, Units
from .screen import progress, say, show_json

INTEGRATORS: dict[str, Any] = {
    "verlet": integrators.StormerVerlet,
    "yoshida4": integrators.Yoshida4,
    "kahanli8": integrators.KahanLi8,
    "midpoint": integrators.ImplicitMidpoint,
    "gauss4": integrators.GaussLegendre4,
    "strang": integrators.Strang,
    "dopri8": diffrax.Dopri8,
}
OBSERVABLES: dict[str, Any] = {"temperature": Temperature, "msd": MeanSquaredDisplacement}
SKIN = 0.1
"""Skin of the neighbour list, as a share of the model's reach."""


@command
def rollout(
    model: File,
    start: File,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="File of the run: .h5, written while it runs; .npz or "
                     ".xyz, written at the end.", show_default=False),
    ],
    steps: Annotated[int, typer.Option(min=1, help="Number of time steps.")] = 10_000,
    every: Annotated[
        int | None, typer.Option(min=1, help="Steps between outputs; 200 outputs if not given.",
                                 show_default=False)
    ] = None,
    dt: Annotated[
        float | None,
        typer.Option(help="Time step; if not given, 30 steps per period of the fastest motion.",
                     show_default=False),
    ] = None,
    frame: Annotated[int, typer.Option(help="Frame to start from; -1 is the last.")] = 0,
    temperature: Annotated[
        float | None,
        typer.Option(help="Draw the momenta at this temperature k T (energy).", show_default=False),
    ] = None,
    integrator: Annotated[
        Literal["verlet", "yoshida4", "kahanli8", "midpoint", "gauss4", "strang", "dopri8"],
        typer.Option(help="verlet for most, kahanli8 for orbits, strang with friction."),
    ] = "verlet",
    observe: Annotated[
        str | None, typer.Option(help="Record: temperature, msd.", show_default=False)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep a checkpoint, and resume from an existing one.")
    ] = False,
    compress: Annotated[
        float | None,
        typer.Option(help="Replace sums over units by curves of this tolerance: faster.",
                     show_default=False),
    ] = None,
    edges: Edges = None,
    coupling: Coupling = None,
    mass: Mass = None,
    columns: Columns = None,
    units: Units = None,
    seed: Annotated[int, typer.Option(help="Seed of --temperature.")] = 0,
    json: Json = False,
) -> None:  # fmt: skip
    """Simulates from a frame of a data file.

    Example: hgn-jax rollout springs.hgn springs.csv -o run.h5 --steps 100000 --every 100
    """
    if out.exists() and not resume:
        raise ValueError(f"{out} exists: give another file, or --resume")
    if every is not None and every > steps:
        raise ValueError(f"--every {every} is more than --steps {steps}: nothing would be written")
    learned = load(model)
    data = read_data(
        [start], edges=edges or _reach(learned, start), coupling=coupling, mass=mass,
        columns=columns, units=units, labels=False,
    )  # fmt: skip
    first = _start(learned, frame_of(data, frame), temperature, seed)
    if compress is not None:
        learned = learned.compress(tolerance=compress)
    step = dt or _rounded(float(suggested_step(learned, first)))
    stride = every or max(1, steps // 200)
    times = EverySteps(stride, steps // stride)
    h5 = bare_suffix(out) in h5md.SUFFIXES
    began = time.perf_counter()
    with progress("rollout") as report:
        path = rolled_out(
            learned, first, times, dt=step, integrator=INTEGRATORS[integrator](),
            neighbours=_neighbours(learned, first, edges), observables=_observables(observe),
            progress=report, checkpoint=f"{out}.checkpoint" if resume else None,
            output=out if h5 else None,
        )  # fmt: skip
    if not h5:
        write(out, path, overwrite=resume)  # a run that was interrupted may have left it
    record = _record(path, out, step, time.perf_counter() - began)
    if json:
        show_json(record)
        return
    say(
        f"{times.steps * times.outputs} steps of {step:g} in {record['seconds']:.1f} s, "
        f"{len(path.times)} frames up to time {float(path.times[-1]):.6g}\n"
        f"energy {record['energy']:.6g}, greatest relative change {record['energy_change']:.1e}\n"
        f"wrote {out}"
    )


def _start(
    model: HamiltonianGraphNetwork,
    first: GraphsTuple,
    temperature: float | None,
    seed: int,
) -> GraphsTuple:
    """The frame with the momenta that the model needs."""
    q, nodes = first.nodes["position"], first.nodes
    if temperature is not None:
        width = jnp.sqrt(temperature * nodes["mass"])[:, None]
        kick = width * jr.normal(jr.key(seed), q.shape, q.dtype)
        # Less the motion of the whole.
        kick -= nodes["mass"][:, None] * kick.sum(axis=0)[None] / nodes["mass"].sum()
        return first._replace(nodes=nodes | {"momentum": kick})
    if "momentum" in model.dynamics.state and "momentum" not in nodes:
        return first._replace(nodes=nodes | {"momentum": jnp.zeros_like(q)})
    return first


def _reach(model: HamiltonianGraphNetwork, file: Path) -> str | None:
    """The model's own cutoff, for atoms."""
    return f"{float(model.reach)}" if holds_atoms(file) and math.isfinite(model.reach) else None


def _neighbours(
    model: HamiltonianGraphNetwork, start: GraphsTuple, edges: str | None
) -> Neighbours | Literal["fixed"] | None:
    """Neighbours that follow the bodies, for models that fade."""
    reach = float(model.reach)
    if edges == "all" or not 0 < reach < math.inf:
        return None
    neighbours = Neighbours(cutoff=reach, skin=SKIN * reach)
    try:
        neighbours.check(start)
    except ValueError as error:
        warnings.warn(f"neighbours do not follow the atoms: {error}", stacklevel=1)
        return "fixed"
    return neighbours


def _observables(text: str | None) -> list[Any]:
    names = [name.strip() for name in text.split(",")] if text else []
    if unknown := [name for name in names if name not in OBSERVABLES]:
        raise ValueError(f"--observe: unknown {unknown[0]!r}; known are {', '.join(OBSERVABLES)}")
    return [OBSERVABLES[name]() for name in names]


def _rounded(step: float) -> float:
    """Two digits."""
    return float(f"{step:.2g}")


def _record(path: Trajectory, out: Path, step: float, seconds: float) -> dict[str, Any]:
    energy = np.asarray(jax.block_until_ready(path.energy))
    # Relative to an energy of zero there is no change.
    change = float(np.abs(energy - energy[0]).max() / abs(energy[0])) if energy[0] else 0.0
    return {
        "run": str(out), "dt": step, "frames": len(path.times), "time": float(path.times[-1]),
        "energy": float(energy[0]), "energy_change": change, "seconds": seconds,
    }  # fmt: skip
