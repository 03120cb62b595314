"""100,000 Stoermer-Verlet steps of the learned and of the true Hamiltonian, same starts and step.

The lattice is chaotic: after a few hundred time units the two paths are different ones of the same
kind. So amplitudes are compared over several starts, with the standard error that these show.
"""

from collections.abc import Iterator
from functools import partial

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure

import hgn_jax as hgn

from .record import Case, Record, dots, main

DT = 0.01
BLOCKS = 20


def cases(quick: bool) -> Iterator[Case]:
    steps, starts = (10_000, 4) if quick else (100_000, 16)
    for potential in ("spring", "anharmonic", "morse"):
        settings = {"potential": potential, "steps": steps, "starts": starts}
        yield Case(settings, partial(measure, **settings))


def measure(potential: str, steps: int, starts: int) -> list[Record]:
    cube = hgn.graphs.lattice((2, 2, 2))
    times = jnp.linspace(0, steps * DT, steps // 10 + 1)
    system = hgn.systems.mass_spring(potential, rest_length=1.0)
    train = hgn.systems.simulate(system, cube, key=jr.key(0))
    model = hgn.fit(train, key=jr.key(1)).model
    start = hgn.systems.simulate(
        system, cube, key=jr.key(2), trajectories=starts, start=hgn.systems.Uniform(0.1, 0.1)
    )
    records: list[Record] = []
    true: np.ndarray | None = None
    for name, hamiltonian in (("true", system), ("learned", model)):
        energy = np.asarray(hgn.rollout(hamiltonian, start, times, dt=DT).energy)
        error = (energy - energy[0]) / np.abs(energy[0])
        slope, uncertainty = _slope(np.asarray(times), error.mean(axis=1))
        rms = np.sqrt(np.mean(error**2, axis=0))
        true = rms if true is None else true
        apart = (rms - true) / true.mean()
        records.append(
            {
                "hamiltonian": name,
                "greatest_error": float(np.abs(error).max()),
                "amplitude_rms": float(rms.mean()),
                "amplitude_over_true": 1 + float(apart.mean()) if name == "learned" else None,
                "standard_error": float(apart.std() / np.sqrt(starts))
                if name == "learned"
                else None,
                "drift_per_run": float(slope * times[-1]),
                "its_standard_error": float(uncertainty * times[-1]),
            }
        )
    return records


def _slope(times: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """Linear drift and its standard error from block averages."""
    blocks = [b.mean() for b in np.array_split(error, BLOCKS)]
    centres = [b.mean() for b in np.array_split(times, BLOCKS)]
    (slope, _), covariance = np.polyfit(centres, blocks, 1, cov=True)
    return float(slope), float(np.sqrt(covariance[0, 0]))


def draw(records: list[Record]) -> Figure:
    return dots(
        records,
        lambda r: f"{r['potential']}, {r['hamiltonian']}",
        "amplitude_rms",
        "root mean square of the energy's error, relative to the energy",
    )


if __name__ == "__main__":
    main("energy_drift", "Energy error relative to the start, same integrator and step", cases,
         draw)  # fmt: skip
