"""Systems with a known structure: rigid rods, a Poisson matrix, angles and their momenta.

Published figures beside ours: Constrained Hamiltonian Neural Networks (arXiv 2010.13581; means of
the authors' result files) for bodies on rods, sampled Hamiltonian networks (arXiv 2411.17511) for
Henon-Heiles and the double pendulum, the NeurIPS 2022 suite (arXiv 2211.05520) for a chain from
its file (`--data`, not shipped).
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.integrate import solve_ivp

import hgn_jax as hgn

from . import phase_energies, steep_forces
from .record import Case, Record, main
from .rod_motion import (
    CHUNK,
    STEPS,
    TESTS,
    chunks_of,
    geometric_mean,
    rolled,
    rollout_error,
    states,
    trajectories,
)
from .rod_systems import System, Truth, chain, coupled, gyroscope, magnet_pendulum, rotor

CHUNKS_EACH = 4
"""Chunks of training data from every trajectory."""
CHNN = {
    "1-chain": {"CHNN": 6.1e-5, "CLNN": 5.2e-5, "HNN": 1.2e-4},
    "2-chain": {"CHNN": 1.2e-4, "CLNN": 1.1e-4, "HNN": 1.9e-3},
    "3-chain": {"CHNN": 3.4e-4, "CLNN": 3.3e-4, "HNN": 4.7e-2},
    "5-chain": {"CHNN": 1.1e-3, "CLNN": 9.3e-4, "HNN": 3.4e-1},
    "3 coupled": {"CHNN": 7.7e-3, "CLNN": 7.4e-3, "HNN": 6.5e-2},
    "magnet": {"CHNN": 1.3e-2, "CLNN": 1.0e-2, "HNN": 1.1e-1},
    "gyroscope": {"CHNN": 1.7e-5, "CLNN": 2.3e-5, "HNN": 2.2e-3},
    "rotor": {"CHNN": 5.8e-6, "CLNN": 1.1e-5, "HNN": 2.6e-1},
}
"""Geometric means over 100 rollouts, from 800 chunks of training data."""
ON_RODS: dict[str, tuple[Callable[[], System], int, tuple[Any, ...], float | None]] = {
    "1-chain": (partial(chain, 1), 200, (hgn.External(8),), None),
    "2-chain": (partial(chain, 2), 200, (hgn.External(8),), None),
    "3-chain": (partial(chain, 3), 200, (hgn.External(8),), 5e-6),
    "5-chain": (partial(chain, 5), 200, (hgn.External(8),), 6e-5),
    "3 coupled": (coupled, 200, (hgn.External(8), hgn.Pair(8)), None),
    "magnet": (magnet_pendulum, 400, (hgn.External(32),), None),
    "gyroscope": (gyroscope, 200, (hgn.External(8),), None),
    "rotor": (rotor, 200, (hgn.External(8),), None),
}
"""System, chunks of training data, terms, goal."""
INERTIA = np.array([1.0, 2.0, 3.0])


def cases(quick: bool, data: Path | None) -> Iterator[Case]:
    for name in ON_RODS:
        yield Case({"measured": "rods", "system": name}, partial(_on_rods, name, quick))
    for between, weighted in steep_forces.VARIANTS:
        settings = {"measured": "steep", "between": between, "weighted": weighted}
        yield Case(settings, partial(steep_forces.errors, between, weighted, quick))
    if data is not None:
        yield Case({"measured": "suite", "system": "3-chain at rest"}, partial(_suite, data))
    for noise in (0.0, 1e-3, 1e-2):
        settings = {"measured": "Poisson", "system": "free rigid body", "noise": noise}
        yield Case(settings, partial(_rigid_body, noise))
    for name in phase_energies.SAMPLED_HNN:
        yield Case(
            {"measured": "dense", "system": name}, partial(phase_energies.errors, name, quick)
        )


# Bodies on rods, from states alone


def _on_rods(name: str, quick: bool) -> Record:
    make, chunks, terms, goal = ON_RODS[name]
    system, rng = make(), np.random.default_rng(1)
    chunks, tests = (20, 4) if quick else (chunks, TESTS)
    train = chunks_of(trajectories(system, rng, chunks // CHUNKS_EACH), rng, CHUNKS_EACH)
    true = trajectories(system, rng, tests)
    data = states(system, system.dt * np.arange(CHUNK), *train)
    begin = time.perf_counter()
    linear = hgn.fit(
        data,
        key=0,
        terms=terms,
        dynamics=hgn.Constrained(system.rods),
        observations=[hgn.Steps(window=CHUNK, order=CHUNK - 1)],
    )
    fit = hgn.refine(linear, data)
    seconds = time.perf_counter() - begin
    return {
        "one_solve": rollout_error(system, linear.model, true),
        "refined": rollout_error(system, fit.model, true),
        "true_law": rollout_error(system, Truth(system.potential, system.rods), true),
        "goal": goal,
        **CHNN[name],
        "chunks": chunks,
        "trajectories": chunks // CHUNKS_EACH,
        "published_chunks": 800,
        "rollouts": tests,
        "seconds": seconds,
    }


# The suite's chain of three links, from derivatives


def _suite(folder: Path) -> Record:
    """Relative errors |a - b| / (|a| + |b|) of positions over 20 trajectories kept out."""
    file = np.load(folder / "pendulum3_train.npz")
    q, v, a = (file[name] for name in ("position", "velocity", "acceleration"))
    mass, times = file["mass"], file["t"]
    rods = hgn.Rods([(0, 1), (1, 2)], hinged={0: (0.0, 0.0)})
    system = System(rods, mass, [(0, 1), (1, 2)], lambda q: 10 * jnp.sum(q[:, 1]), None, times[1])
    data = states(system, times, q[:80], v[:80])
    rates = {"velocity": v[:80], "force": mass[:, None] * a[:80]}
    rates = {name: jnp.asarray(x.reshape(-1, 2)) for name, x in rates.items()}
    fit = hgn.fit(
        data._replace(nodes=data.nodes | rates),
        key=0,
        terms=[hgn.Kinetic(0), hgn.External(8)],
        dynamics=hgn.Constrained(rods),
    )
    found = {}
    for name, model in (("position_error", fit.model), ("true_law", Truth(system.potential, rods))):
        path, _ = rolled(system, model, q[80:, 0], v[80:, 0], STEPS)
        size = np.linalg.norm(path, axis=(2, 3)) + np.linalg.norm(q[80:], axis=(2, 3))
        error = np.linalg.norm(path - q[80:], axis=(2, 3)) / size
        found[name] = geometric_mean(error[:, 1:])
    return {**found, "goal": 4e-7, "snapshots": 80 * len(times), "rollouts": len(q) - 80}


# A free rigid body, from states alone


def _rigid_body(noise: float) -> Record:
    """Field and rollout of dL/dt = L x grad H(L); H by random units."""
    rng, times = np.random.default_rng(2), 0.1 * np.arange(61)
    paths = np.stack([_tumbling(start, times) for start in rng.normal(size=(20, 3))])
    noisy = paths + noise * paths.std() * rng.normal(size=paths.shape)
    data = hgn.graphs.from_trajectories(
        times, noisy[:, :, None], mass=1.0, edges=np.zeros((0, 2), int), rates=False
    )
    fit = hgn.fit(
        data,
        key=0,
        terms=[hgn.External(24, hgn.ELM())],
        dynamics=hgn.Poisson(cross_matrix),
        observations=[hgn.Steps(order=9)],
        solver=hgn.QR("groups"),
    )
    if noise:
        fit = hgn.refine(fit, data)
    start = 0.8 * rng.normal(size=3)
    graph = hgn.graphs.take(data, np.arange(len(data.n_node)) == 0)
    graph = graph._replace(nodes=graph.nodes | {"position": jnp.asarray(start)[None]})
    path = hgn.rollout(fit.model, graph, times, dt=0.01, integrator=hgn.GaussLegendre4())
    found, true = np.asarray(path.position)[:, 0], _tumbling(start, times)
    (rates,) = fit.model.vector_field(
        hgn.graphs.snapshots(graph, {"position": jnp.asarray(true)[:, None]}, {})
    )
    field = np.cross(true, true / INERTIA)
    length = np.linalg.norm(found, axis=1)
    return {
        "field_error": float(np.linalg.norm(rates - field) / np.linalg.norm(field)),
        "rollout_error": float(np.linalg.norm(found - true) / np.linalg.norm(true)),
        "length_drift": float(np.abs(length / length[0] - 1).max()),
        "goal": {0.0: 3.5e-6, 1e-3: 1.4e-3, 1e-2: 1.5e-2}[noise],
    }


def cross_matrix(x: Array) -> Array:
    zero = jnp.zeros_like(x[0])
    return jnp.array([[zero, -x[2], x[1]], [x[2], zero, -x[0]], [-x[1], x[0], zero]])


def _tumbling(start: np.ndarray, times: np.ndarray) -> Float[np.ndarray, "t 3"]:
    return solve_ivp(
        lambda t, x: np.cross(x, x / INERTIA), times[[0, -1]], start, "DOP853", times,
        rtol=1e-12, atol=1e-12,
    ).y.T  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder of the suite's file pendulum3_train.npz")


if __name__ == "__main__":
    main("constrained", "Known structure", cases, arguments=arguments)
