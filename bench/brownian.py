"""Tracks of Brownian particles: forces, mobility and temperature with their error bars.

27 bodies: a cube of springs, and Lennard-Jones particles in a trap. Frames are 0.02 relaxation
times 1 / (mobility * stiffness) apart. Tracks are made by ten steps of Heun from one frame to the
next: Euler's first-order error of the diffusion would exceed the error bars.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

import hgn_jax as hgn

from .record import Case, Record, main

TRAJECTORIES, INNER, EQUILIBRATION, FRAMES = 10, 10, 500, 100_000
MOBILITY, SEEDS = 0.7, 3
GRID = np.array(list(itertools.product(range(3), repeat=3)), float)
ALL = list(itertools.combinations(range(27), 2))
NEIGHBOURS = [(i, j) for i, j in ALL if abs(GRID[i] - GRID[j]).sum() == 1]

Energy = Callable[[Float[Array, "n d"]], Float[Array, ""]]


def _distances(x: Float[Array, "n d"], pairs: Any) -> Float[Array, " p"]:
    return jnp.sqrt(jnp.sum((x[pairs[:, 0]] - x[pairs[:, 1]]) ** 2, axis=1))


def _springs(x: Float[Array, "n d"], pairs: Any) -> Float[Array, ""]:
    return jnp.sum((_distances(x, pairs) - 1) ** 2) / 2


def _lennard_jones(x: Float[Array, "n d"], pairs: Any) -> Float[Array, ""]:
    s6 = _distances(x, pairs) ** -6
    return 4 * jnp.sum(s6**2 - s6) + jnp.sum(x**2) / 2


SYSTEMS: dict[str, Any] = {
    "springs": (
        _springs,
        NEIGHBOURS,
        {"stiffness": 1.0, "temperature": 0.05, "spacing": 1.0},
        [hgn.Pair(32)],
    ),
    "Lennard-Jones": (
        _lennard_jones,
        ALL,
        {"stiffness": 57.1, "temperature": 0.4, "spacing": 1.1},
        [hgn.Pair(32), hgn.HarmonicTrap()],
    ),
}
"""Energy, pairs, settings (the stiffness is that of a pair at rest) and terms."""


def cases(quick: bool) -> Iterator[Case]:
    for seed, name in itertools.product(range(1 if quick else SEEDS), SYSTEMS):
        known = ("temperature", "mobility")[seed % 2]
        settings = {"system": name, "seed": seed, "known": known}
        yield Case(settings, partial(_measured, name, seed, known, quick))


def _measured(name: str, seed: int, known: str, quick: bool) -> Record:
    energy, pairs, settings, terms = SYSTEMS[name]
    index = np.array(pairs)
    dt = 0.02 / MOBILITY / settings["stiffness"]
    frames = FRAMES // (50 if quick else 1) // TRAJECTORIES
    x = _tracks(partial(energy, pairs=index), settings, dt, frames, seed)
    times = np.tile(dt * np.arange(frames), (TRAJECTORIES, 1))
    data = hgn.graphs.from_trajectories(times, x, mass=1.0, edges=pairs, rates=False)
    start = time.perf_counter()
    given = {known: MOBILITY if known == "mobility" else settings["temperature"]}
    found = hgn.fit_brownian(data, key=seed, terms=terms, **given)
    seconds = time.perf_counter() - start
    every = len(data.n_node) // 200  # frames at which forces are compared
    some = hgn.graphs.take(data, np.arange(len(data.n_node)) % every == 0)
    force = found.fit.model.vector_field(some)[0] / found.mobility
    position = np.asarray(some.nodes["position"]).reshape(-1, 27, 3)
    true = -jax.vmap(jax.grad(partial(energy, pairs=index)))(jnp.asarray(position)).reshape(-1, 3)
    deviation = found.fit.standard_deviation(some).velocity / found.mobility
    other = "mobility" if known == "temperature" else "temperature"
    truth = {"mobility": MOBILITY, "temperature": settings["temperature"]}[other]
    record = {
        "frames": frames * TRAJECTORIES,
        "step": dt,
        "force_error": float(jnp.sqrt(jnp.mean((force - true) ** 2) / jnp.mean(true**2))),
        "force_error_bar": float(jnp.sqrt(jnp.mean(deviation**2) / jnp.mean(true**2))),
        "other_error": getattr(found, other) / truth - 1,
        "other_error_bar": getattr(found, f"{other}_deviation") / truth,
        "seconds": seconds,
    }
    if len(terms) > 1:
        record["trap"] = float(found.fit.model.theta[1][0])
    return record


def _tracks(
    energy: Energy, settings: Record, dt: float, frames: int, seed: int
) -> Float[np.ndarray, "k t n d"]:
    """Tracks after an equilibration."""
    h, gradient = dt / INNER, jax.vmap(jax.grad(energy))
    size = math.sqrt(2 * MOBILITY * settings["temperature"] * h)

    def inner(k: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        q, key = carry
        key, draw = jr.split(key)
        kicked = q + size * jr.normal(draw, q.shape, q.dtype)
        slope = -MOBILITY * h * gradient(q)
        return kicked + (slope - MOBILITY * h * gradient(kicked + slope)) / 2, key

    def frame(carry: tuple[Array, Array], _: Any) -> tuple[tuple[Array, Array], Array]:
        carry = jax.lax.fori_loop(0, INNER, inner, carry)
        return carry, carry[0]

    sites = settings["spacing"] * (GRID - 1)
    start = (jnp.asarray(np.tile(sites, (TRAJECTORIES, 1, 1))), jr.key(seed))
    run = jax.jit(lambda carry: jax.lax.scan(frame, carry, None, length=frames + EQUILIBRATION)[1])
    return np.swapaxes(np.asarray(run(start))[EQUILIBRATION:], 0, 1)


if __name__ == "__main__":
    main("brownian", "Brownian particles", cases)
