"""Energy conservation of learned silicon over many steps at constant energy."""

from pathlib import Path

import jax.numpy as jnp
import jax.random as jr
import numpy as np

import hgn_jax as hgn

from .interatomic_data import Subject, training
from .interatomic_fits import Settings, fitted
from .interatomic_speed import silicon
from .record import Record

KELVIN = 8.617333262e-5
"""k in eV/K."""
FEMTOSECOND = 1 / 10.180505710759414
"""One fs in A sqrt(u/eV)."""
MASS = 28.085
COPIES, TEMPERATURE, DT = 5, 1000.0, 1.0
STEPS, OUTPUTS = 100_000, 1000
SKIN = 0.6
FAST = {"degree": 3, "radial": 4, "cutoff": 5.0}
"""Settings of a potential that is fast rather than accurate."""


def drift(folder: Path, subject: Subject, settings: Settings, units: int, quick: bool) -> Record:
    """Drift of the energy of 1000 atoms at 1000 K, in 100,000 steps of 1 fs: slope of a line
    through the energies, with its standard error from blocks."""
    settings = settings._replace(**FAST)
    fit = fitted(training(folder, subject, settings.cutoff, quick), settings, units, 0, quick)
    graph = silicon(3 if quick else COPIES, settings.cutoff)
    atoms = len(graph.nodes["position"])
    mass = jnp.full(atoms, MASS)
    thermal = 2 * TEMPERATURE  # half of it becomes potential energy
    momentum = jr.normal(jr.key(0), (atoms, 3)) * np.sqrt(MASS * KELVIN * thermal)
    momentum -= jnp.mean(momentum, axis=0, keepdims=True)
    start = graph._replace(nodes=graph.nodes | {"mass": mass, "momentum": momentum})
    steps = 200 if quick else STEPS
    every = max(1, steps // OUTPUTS)
    model = fit.model.compress()
    path = hgn.rollout(
        model, start, hgn.Every(every, steps // every), dt=DT * FEMTOSECOND,
        neighbours=hgn.Neighbours(cutoff=settings.cutoff, skin=SKIN),
        observables=[hgn.Temperature()], states=False,
    )  # fmt: skip
    energy = np.asarray(path.energy).ravel() / atoms
    later = slice(len(energy) // 10, None)  # the start is a crystal without thermal vibrations
    picoseconds = np.asarray(path.times) / FEMTOSECOND / 1000
    slope, error = _slope(picoseconds[later], energy[later])
    # Pairs are searched again: were one missing at the end, the energy would differ.
    anew = hgn.graphs.radius(
        np.asarray(path.end.nodes["position"]), settings.cutoff, cell=path.end.globals["cell"][0]
    )
    again = model(anew._replace(nodes=path.end.nodes))[0] / atoms
    return settings.record() | {
        "atoms": atoms,
        "steps": steps,
        "femtoseconds": DT,
        "kelvin": float(np.mean(path.observed["temperature"][later])) / KELVIN,
        "drift_per_picosecond": slope,
        "drift_error": error,
        "fluctuation": float(np.std(energy[later])),
        "energy_searched_again": float(abs(again - energy[-1])),
    }


def _slope(times: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Slope of a line through the values, and its standard error for correlated samples."""
    slope = np.polyfit(times, values, 1)[0]
    centred = times - times.mean()
    pull = hgn.block_average((values - values.mean() - slope * centred) * centred)
    return float(slope), float(pull.error / np.mean(centred**2))
