"""Energy error of every integrator, and of diffrax's, over a million steps.

The system is the true anharmonic lattice of 2x2x2 bodies, with the same start and step for all. Its
total momentum is zero, because positions lose digits far from the origin. Drift is the slope of the
energy error over the run, with a standard error from averages over blocks.
"""

import time
from collections.abc import Iterator
from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure

import hgn_jax as hgn

from .energy_drift import drift
from .record import Case, Record, dots, main

DT = 0.05
SOLVERS: dict[str, diffrax.AbstractSolver] = {
    "Störmer-Verlet": hgn.StormerVerlet(),
    "Yoshida 4": hgn.Yoshida4(),
    "Kahan-Li 8": hgn.KahanLi8(),
    "implicit midpoint": hgn.ImplicitMidpoint(),
    "Gauss-Legendre 4": hgn.GaussLegendre4(),
    "Tao": hgn.Tao(),
    "diffrax: SemiImplicitEuler": diffrax.SemiImplicitEuler(),
    "diffrax: LeapfrogMidpoint": diffrax.LeapfrogMidpoint(),
    "diffrax: Heun": diffrax.Heun(),
    "diffrax: Tsit5": diffrax.Tsit5(),
    "diffrax: Dopri8": diffrax.Dopri8(),
}


def cases(quick: bool) -> Iterator[Case]:
    steps = 2_000 if quick else 1_000_000
    for name, solver in SOLVERS.items():
        settings = {"integrator": name, "dt": DT, "steps": steps}
        yield Case(settings, partial(measure, solver, steps))


def measure(solver: diffrax.AbstractSolver, steps: int) -> Record:
    system = hgn.systems.mass_spring("anharmonic", rest_length=1.0)
    start = hgn.systems.simulate(
        system, hgn.graphs.lattice((2, 2, 2)), key=jr.key(0), trajectories=1,
        start=hgn.systems.Uniform(0.1, 0.1),
    )  # fmt: skip
    momentum = start.nodes["momentum"]
    still = {"momentum": momentum - jnp.mean(momentum, axis=0)}
    start = start._replace(nodes=start.nodes | still)
    every = hgn.Every(steps // 1000, 1000)

    def run() -> hgn.Trajectory:
        return jax.block_until_ready(
            hgn.rollout(system, start, every, dt=DT, integrator=solver, states=False, throw=False)
        )

    begun = time.perf_counter()
    path = run()
    taken = time.perf_counter() - begun
    energy = np.asarray(path.energy)
    error = (energy - energy[0]) / abs(energy[0])
    reached = int(np.isfinite(error).sum())
    slope, uncertainty = drift(np.asarray(path.times)[:reached], error[:reached])
    span = float(path.times[reached - 1])
    return {
        "stopped_at_step": None if bool(path.finite) else int(float(path.stopped_time) / DT),
        "microseconds_per_step": 1e6 * taken / steps,
        "greatest_error": float(np.abs(error[:reached]).max()),
        "drift_per_run": slope * span,
        "its_standard_error": uncertainty * span,
    }


def draw(records: list[Record]) -> Figure:
    return dots(
        records,
        lambda r: r["integrator"],
        "greatest_error",
        f"greatest error of the energy, relative, over {records[0]['steps']:,} steps of {DT}",
    )


if __name__ == "__main__":
    main("integrators", "Energy error over a run, the same step for all", cases, draw)
