"""Kinetic energy under each thermostat against the canonical distribution, and the cost of a step.

Units are reduced. The solid is a cube of springs of rest length zero, which is harmonic; the
liquid consists of Lennard-Jones atoms with a neighbour list.

python -m bench.thermostats
"""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.random as jr
import numpy as np
from jraph import GraphsTuple

import hgn_jax as hgn

from .liquid import NEIGHBOURS, SMOOTHED, Point, heated, lattice
from .record import Case, Record, main

STEPS, EVERY, WARM = 1_000_000, 10, 0.05
TIMED_STEPS, REPEATS, CELLS = 4000, 7, 6
"""Steps and repeats of a timing, and cells along each edge of its liquid."""


class Setting(NamedTuple):
    """A system with its start, step, temperature and time constant of the thermostats."""

    system: hgn.systems.System
    start: GraphsTuple
    dt: float
    temperature: float
    time: float
    neighbours: hgn.Neighbours | None


def solid() -> Setting:
    springs = hgn.systems.mass_spring("spring", rest_length=0.0)
    start = heated(hgn.graphs.lattice((3, 3, 3)), 0.5, jr.key(0))
    return Setting(springs, start, 0.02, 0.5, 0.5, None)


def liquid(cells: int = 3) -> Setting:
    point = Point(cells)
    start = heated(lattice(point), point.temperature, jr.key(0))
    return Setting(SMOOTHED, start, 0.004, point.temperature, 0.1, NEIGHBOURS.allocate(start))


SYSTEMS: dict[str, Callable[[], Setting]] = {"harmonic solid": solid, "liquid": liquid}
THERMOSTATS: dict[str, Callable[[Setting], hgn.AbstractThermostat]] = {
    "Langevin": lambda s: hgn.Langevin(s.temperature, 1 / s.time, key=jr.key(1)),
    "VelocityRescaling": lambda s: hgn.VelocityRescaling(
        s.temperature, s.time, key=jr.key(1), constraints=3
    ),
    "NoseHoover": lambda s: hgn.NoseHoover(s.temperature, s.time, constraints=3),
}


def cases(quick: bool) -> Iterator[Case]:
    for system in SYSTEMS:
        for name in THERMOSTATS:
            if (system, name) == ("harmonic solid", "NoseHoover"):
                continue  # harmonic motion is not chaotic: a chain does not sample it
            settings = {"measured": "distribution", "system": system, "thermostat": name}
            yield Case(settings, partial(distribution, system, name, quick))
    for name in THERMOSTATS:
        yield Case({"measured": "cost", "thermostat": name}, partial(cost, name, quick))


def distribution(system: str, name: str, quick: bool) -> Record:
    """Mean and variance of the kinetic energy over their canonical values N_f k T / 2 and
    N_f (k T)^2 / 2, with standard errors from blocks."""
    setting = SYSTEMS[system]()
    steps = STEPS // (50 if quick else 1)
    path = hgn.rollout(
        setting.system, setting.start, hgn.Every(EVERY, steps // EVERY), dt=setting.dt,
        integrator=THERMOSTATS[name](setting), neighbours=setting.neighbours,
        observables=[hgn.KineticEnergy()], states=False,
    )  # fmt: skip
    kinetic = np.asarray(path.observed["kinetic_energy"]).ravel()
    kinetic = kinetic[int(WARM * len(kinetic)) :]
    bodies = len(setting.start.nodes["position"])
    freedom = 3 * bodies - (0 if name == "Langevin" else 3)
    mean = hgn.block_average(kinetic / (freedom * setting.temperature / 2))
    spread = (kinetic - freedom * setting.temperature / 2) ** 2
    variance = hgn.block_average(spread / (freedom * setting.temperature**2 / 2))
    return {
        "steps": steps,
        "dt": setting.dt,
        "bodies": bodies,
        "mean": float(mean.mean),
        "mean_error": float(mean.error),
        "variance": float(variance.mean),
        "variance_error": float(variance.error),
    }


def cost(name: str, quick: bool) -> Record:
    """Time per step of a liquid over that of velocity Verlet, in turns."""
    setting = liquid(CELLS)
    kinds = {"thermostat": THERMOSTATS[name](setting), "verlet": hgn.StormerVerlet()}

    def run(kind: str) -> float:
        begin = time.perf_counter()
        path = hgn.rollout(
            setting.system, setting.start, hgn.Every(TIMED_STEPS, 1), dt=setting.dt,
            integrator=kinds[kind], neighbours=setting.neighbours, states=False,
        )  # fmt: skip
        jax.block_until_ready(path.energy)
        return (time.perf_counter() - begin) / TIMED_STEPS * 1e6

    # The first pair compiles.
    pairs = [(run("thermostat"), run("verlet")) for _ in range(1 + (2 if quick else REPEATS))][1:]
    return {
        "bodies": len(setting.start.nodes["position"]),
        "microseconds": statistics.median(with_bath for with_bath, _ in pairs),
        "microseconds_verlet": statistics.median(alone for _, alone in pairs),
        "ratio": statistics.median(with_bath / alone for with_bath, alone in pairs),
    }


if __name__ == "__main__":
    main("thermostats", "Thermostats", cases)
