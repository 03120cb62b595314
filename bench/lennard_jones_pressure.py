"""Pressure of the Lennard-Jones fluid against an equation of state from the literature.

python -m bench.lennard_jones_pressure
"""

import itertools
from collections.abc import Iterator
from functools import partial

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jraph import GraphsTuple

import hgn_jax as hgn

from .record import Case, Record, main

POINTS = ((1.5, 0.8), (2.0, 0.7), (3.0, 0.6))
"""Temperature and density, reduced units."""
CUTOFF, ONSET, CELLS, DT = 3.0, 2.5, 4, 0.004
EVERY, WARM, SAMPLES = 10, 100, 1500
"""Steps between samples, samples of the melting, samples in all."""

X = (
    0.8623085097507421, 2.976218765822098, -8.402230115796038, 0.1054136629203555,
    -0.8564583828174598, 1.582759470107601, 0.7639421948305453, 1.753173414312048,
    2.798291772190376e03, -4.8394220260857657e-2, 0.9963265197721935, -3.698000291272493e01,
    2.084012299434647e01, 8.305402124717285e01, -9.574799715203068e02, -1.477746229234994e02,
    6.398607852471505e01, 1.603993673294834e01, 6.805916615864377e01, -2.791293578795945e03,
    -6.245128304568454, -8.116836104958410e03, 1.488735559561229e01, -1.059346754655084e04,
    -1.131607632802822e02, -8.867771540418822e03, -3.986982844450543e01, -4.689270299917261e03,
    2.593535277438717e02, -2.694523589434903e03, -7.218487631550215e02, 1.721802063863269e02,
)  # fmt: skip
"""Parameters x_1 to x_32 of Johnson, Zollweg and Gubbins, The Lennard-Jones equation of state
revisited, Molecular Physics 78, 591-618, 1993, table 10; the nonlinear parameter is 3."""


def pressure(t: float, rho: float) -> float:
    """Pressure of the full potential by the equation of state (table 5 and 6 there)."""
    x = (0.0, *X)
    s = np.sqrt(t)
    a = [
        x[1] * t + x[2] * s + x[3] + x[4] / t + x[5] / t**2,
        x[6] * t + x[7] + x[8] / t + x[9] / t**2,
        x[10] * t + x[11] + x[12] / t,
        x[13],
        x[14] / t + x[15] / t**2,
        x[16] / t,
        x[17] / t + x[18] / t**2,
        x[19] / t**2,
    ]
    b = [
        x[20] / t**2 + x[21] / t**3,
        x[22] / t**2 + x[23] / t**4,
        x[24] / t**2 + x[25] / t**3,
        x[26] / t**2 + x[27] / t**4,
        x[28] / t**2 + x[29] / t**3,
        x[30] / t**2 + x[31] / t**3 + x[32] / t**4,
    ]
    regular = sum(c * rho ** (k + 2) for k, c in enumerate(a))
    damped = sum(c * rho ** (2 * k + 3) for k, c in enumerate(b))
    return rho * t + regular + damped * np.exp(-3 * rho**2)


def tail(rho: float) -> float:
    """Pressure that the fading and the cutoff take away, for a fluid without structure there."""
    r = np.linspace(ONSET, 40.0, 400_000)
    full = 4 * (r**-12 - r**-6)
    outer, inner, x = CUTOFF**2, ONSET**2, np.minimum(r, CUTOFF) ** 2
    fade = (outer - x) ** 2 * (outer + 2 * x - 3 * inner) / (outer - inner) ** 3
    missing = np.gradient(full * (1 - fade), r)
    return float(-2 * np.pi / 3 * rho**2 * np.trapezoid(r**3 * missing, r))


def crystal(rho: float) -> GraphsTuple:
    """Face-centred cubic lattice at rest, without edges."""
    side = (4 / rho) ** (1 / 3)
    base = np.array([(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)])
    sites = [np.array(c) + b for c in itertools.product(range(CELLS), repeat=3) for b in base]
    graph = hgn.graphs.from_pairs(side * np.array(sites), [])
    return graph._replace(globals={"cell": CELLS * side * jnp.eye(3)[None]})


def measure(temperature: float, density: float, samples: int) -> Record:
    """Mean pressure, with the correction for the cutoff, beside the equation of state."""
    bath = hgn.Langevin(temperature, 1.0, key=jr.key(0))
    path = hgn.rollout(
        hgn.systems.lennard_jones(cutoff=CUTOFF, onset=ONSET),
        crystal(density),
        hgn.Every(EVERY, samples),
        dt=DT,
        integrator=bath,
        neighbours=hgn.Neighbours(CUTOFF, 0.3),
        observables=[hgn.Pressure()],
        states=False,
    )
    mean = hgn.block_average(path.observed["pressure"][WARM:])
    found, expected = float(mean.mean) + tail(density), pressure(temperature, density)
    return {
        "atoms": 4 * CELLS**3,
        "steps": EVERY * (samples - WARM),
        "pressure": found,
        "standard error": float(mean.error),
        "equation of state": expected,
        "percent off": 100 * (found / expected - 1),
    }


def cases(quick: bool) -> Iterator[Case]:
    """One case for each state point."""
    for temperature, density in POINTS:
        settings = {"temperature": temperature, "density": density}
        yield Case(settings, partial(measure, temperature, density, 200 if quick else SAMPLES))


if __name__ == "__main__":
    main("lennard_jones_pressure", "Pressure of the Lennard-Jones fluid", cases)
