"""A million Störmer-Verlet steps of the learned, the compressed and the true Hamiltonian.

All have the same starts and step. The lattice is chaotic: after a few hundred time units two
trajectories agree only statistically. Amplitudes are therefore compared over several starts, with
their standard error. Starts are random rather than taken from the motion. Over the first tenth of
the run they equilibrate: energy moves between springs and momenta, and its error changes with it,
for the true Hamiltonian as well. Drift is the slope over the remaining run; the slope over the
whole run is recorded, too.
"""

from collections.abc import Iterator
from functools import partial

import jax.random as jr
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

import hgn_jax as hgn

from .record import Case, Record, dots, main

DT = 0.01
BLOCKS = 18


def cases(quick: bool) -> Iterator[Case]:
    steps, starts = (10_000, 4) if quick else (1_000_000, 64)
    for potential in ("anharmonic", "morse", "spring"):
        settings = {"potential": potential, "steps": steps, "starts": starts}
        yield Case(settings, partial(measure, **settings))


def measure(potential: str, steps: int, starts: int) -> list[Record]:
    cube = hgn.graphs.lattice((2, 2, 2))
    every = hgn.Every(50, steps // 50)
    system = hgn.systems.mass_spring(potential, rest_length=1.0)
    train = hgn.systems.simulate(system, cube, key=jr.key(0))
    model = hgn.fit(train, key=jr.key(1)).model
    start = hgn.systems.simulate(
        system, cube, key=jr.key(2), trajectories=starts, start=hgn.systems.Uniform(0.1, 0.1)
    )
    compared: dict[str, hgn.AbstractModel] = {
        "true": system, "learned": model, "compressed": model.compress(),
    }  # fmt: skip
    records: list[Record] = []
    true: np.ndarray | None = None
    for name, hamiltonian in compared.items():
        path = hgn.rollout(hamiltonian, start, every, dt=DT, states=False)
        energy, times = np.asarray(path.energy), np.asarray(path.times)
        error = (energy - energy[0]) / np.abs(energy[0])
        rms = np.sqrt(np.mean(error**2, axis=0))
        true = rms if true is None else true
        apart = (rms - true) / true.mean()
        settled, mean = len(times) // 10, error.mean(axis=1)
        span = float(times[-1])
        slope, uncertainty = drift(times[settled:], mean[settled:])
        whole, of_whole = drift(times, mean)
        each = [drift(times[settled:], e[settled:])[0] for e in error.T]
        records.append(
            {
                "hamiltonian": name,
                "greatest_error": float(np.abs(error).max()),
                "amplitude_rms": float(rms.mean()),
                "amplitude_over_true": None if name == "true" else 1 + float(apart.mean()),
                "standard_error": None
                if name == "true"
                else float(apart.std(ddof=1) / np.sqrt(starts)),
                "drift_per_run": slope * span,
                "its_standard_error": uncertainty * span,
                "standard_error_over_starts": float(np.std(each, ddof=1) / np.sqrt(starts) * span),
                "drift_of_the_whole": whole * span,
                "standard_error_of_the_whole": of_whole * span,
            }
        )
    return records


def drift(times: Float[np.ndarray, " t"], error: Float[np.ndarray, " t"]) -> tuple[float, float]:
    """Slope, and its standard error from averages over blocks."""
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
