"""Five charges in space, the n-body benchmark of EGNN (Satorras, Hoogeboom, Welling, arXiv
2102.09844): positions at frame 40 from positions, velocities and charges at frame 30.

The generator is that of `synthetic_sim.py` in their repository: charges of +1 and -1, normal
positions, speeds of 0.5, components of forces clipped at 100, semi-implicit Euler steps of 0.001, a
frame every 100 steps. All models here move by that scheme. The model knows what the published
networks are given, the charges, and that forces are those of pairs; unlike them it learns from all
49 frames of every training trajectory (`bench.two_frames` does not). Errors are mean squares over
coordinates.
"""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax.features import AbstractPairFeatures

from .record import Case, Record, main

BODIES, STEP, EVERY, FRAMES, CLIP = 5, 1e-3, 100, 49, 100.0
FIRST, LAST = 30, 40
"""Frames between which motion is predicted; the generator's first frame has the number 0."""
NEAR = 0.3
"""Distance of two charges that counts as a close encounter."""
CUTS = (0.3, 0.45, 0.6, 0.9, 1.2)
"""Distances of pairs below which the learned force may continue as a power law. The one that
follows the training trajectories best is taken."""
SENDERS, RECEIVERS = (np.array(x) for x in zip(*(
    (i, j) for i in range(BODIES) for j in range(BODIES) if i != j
)))  # fmt: skip
EIGHTH = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280])
SIXTH = np.array([0, -1 / 60, 3 / 20, -3 / 4, 0, 3 / 4, -3 / 20, 1 / 60, 0])
"""First derivatives by central differences of orders 8 and 6, times the spacing."""

Slope = Callable[[Float[Array, "..."]], Float[Array, "..."]]
"""d phi / d r^2 of the pair potential at squared distances."""


class Trajectories(NamedTuple):
    """States at all frames, and the least distance of two charges between the frames compared."""

    charge: Float[np.ndarray, "s n"]
    position: Float[np.ndarray, "f s n 3"]
    velocity: Float[np.ndarray, "f s n 3"]
    nearest: Float[np.ndarray, " s"]


def cases(quick: bool) -> Iterator[Case]:
    count = 100 if quick else 2000
    for step in (STEP, 10 * STEP):
        settings = {"law": "true", "trajectories": 0, "step": step}
        yield Case(settings, functools.partial(_of_truth, step, count))
    for trajectories in (10,) if quick else (10, 100, 1000):
        for law in ("learned", "learned, tails"):
            settings = {"law": law, "trajectories": trajectories, "step": STEP}
            yield Case(settings, functools.partial(_learned, law, trajectories, count))


def _of_truth(step: float, count: int) -> Record:
    return errors(lambda square: -0.5 * square**-1.5, step, trajectories_of(count, seed=1))


def _learned(law: str, trajectories: int, count: int) -> Record:
    terms, observations = [hgn.Pair(64)], [hgn.Forces("uniform")]
    fit = hgn.fit(_training(trajectories), key=0, terms=terms, observations=observations)
    low, high = (float(r) for r in fit.model.pair_range())
    found: Record = {"residual": float(fit.residual), "nearest": low, "farthest": high}
    model = fit.model
    if law != "learned":
        model, cut = _with_tail(fit.model, trajectories)
        found |= {"cut": cut, "exponent": float(model.terms[0].exponents[0, 0])}
    return found | errors(tabulated(model), STEP, trajectories_of(count, seed=1))


def _with_tail(
    model: hgn.HamiltonianGraphNetwork, trajectories: int
) -> tuple[hgn.HamiltonianGraphNetwork, float]:
    """The model with the power law that follows the training trajectories best, and its start."""
    tried = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # reports the exponents
        for cut in CUTS:
            tailed = model.tails("power", below=cut)
            found = errors(tabulated(tailed), STEP, trajectories_of(trajectories, seed=0))
            tried[cut] = found["mean"], tailed
    best = min(tried, key=lambda cut: tried[cut][0])
    return tried[best][1], best


def tabulated(model: hgn.HamiltonianGraphNetwork) -> Slope:
    """Slope of the learned potential, which times r^3 is interpolated linearly in log r^2."""
    (term,), (theta,) = model.terms, model.theta
    assert isinstance(term, AbstractPairFeatures)
    first, last, points = np.log(1e-5), np.log(1e4), 2**15
    square = jnp.exp(jnp.linspace(first, last, points))
    table = jnp.concatenate([
        term.slopes(part, 0) @ theta * part**1.5 for part in jnp.split(square, 16)
    ])  # fmt: skip

    def slope(square: Float[Array, " s"]) -> Float[Array, " s"]:
        place = (jnp.log(square) - first) * ((points - 1) / (last - first))
        k = jnp.clip(place.astype(jnp.int32), 0, points - 2)
        share = place - k.astype(place.dtype)
        return ((1 - share) * table[k] + share * table[k + 1]) * square**-1.5

    return slope


def errors(slope: Slope, step: float, data: Trajectories) -> Record:
    start = jnp.asarray(data.position[FIRST]), jnp.asarray(data.velocity[FIRST])
    predicted = np.asarray(_moved(slope, step, *start, jnp.asarray(data.charge)))
    error = np.mean((predicted - data.position[LAST]) ** 2, axis=(1, 2))
    near = data.nearest < NEAR
    return {
        "starts": len(error),
        "mean": float(error.mean()),
        "median": float(np.median(error)),
        "close_encounters": float(near.mean()),
        "mean_without": float(error[~near].mean()),
    }


def _moved(
    slope: Slope,
    step: float,
    position: Float[Array, "s n 3"],
    velocity: Float[Array, "s n 3"],
    charge: Float[Array, "s n"],
) -> Float[Array, "s n 3"]:
    """Positions ten frames later: the velocity is kicked first, as in the generator."""

    def kick_and_drift(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, v = state
        apart = x[:, :, None] - x[:, None]
        square = jnp.sum(apart**2, axis=-1) + jnp.eye(BODIES)[None]
        pull = -2 * slope(square.ravel()).reshape(square.shape) * product
        force = jnp.sum(pull[..., None] * apart, axis=2)
        v = v + step * jnp.clip(force, -CLIP, CLIP)
        return x + step * v, v

    product = charge[:, :, None] * charge[:, None]
    steps = round((LAST - FIRST) * EVERY * STEP / step)
    start = position, velocity
    return jax.jit(lambda s: jax.lax.fori_loop(0, steps, kick_and_drift, s))(start)[0]


def _training(count: int) -> GraphsTuple:
    """Forces on all bodies at frames 4 to 44, by differences of velocities.

    A stored velocity belongs to the middle of the step before its frame, so that positions are
    taken there, too. Weights are the inverse of the difference of two orders, an estimate of the
    error.
    """
    charge, position, velocity, _ = trajectories_of(count, seed=0)
    spacing = EVERY * STEP
    inner = range(4, FRAMES - 4)
    around = np.stack([velocity[k - 4 : k + 5] for k in inner])
    force, lower = (np.einsum("k,fksnd->fsnd", w, around) / spacing for w in (EIGHTH, SIXTH))
    wrong = np.linalg.norm(force - lower, axis=-1)
    middle = position[4 : FRAMES - 4] - STEP / 2 * velocity[4 : FRAMES - 4]
    frames = len(inner) * count
    charges = np.broadcast_to(charge[None], (len(inner), *charge.shape)).reshape(frames, BODIES)
    coupling = charges[:, SENDERS] * charges[:, RECEIVERS]
    starts = BODIES * np.arange(frames)[:, None]
    return GraphsTuple(
        nodes={
            "position": jnp.asarray(middle.reshape(-1, 3)),
            "mass": jnp.ones(frames * BODIES),
            "force": jnp.asarray(force.reshape(-1, 3)),
            "weight": jnp.asarray(1 / (wrong.ravel() + 1e-9)),
        },
        edges={"coupling": jnp.asarray(coupling.ravel())},
        senders=jnp.asarray((starts + SENDERS[None]).ravel(), jnp.int32),
        receivers=jnp.asarray((starts + RECEIVERS[None]).ravel(), jnp.int32),
        globals={},
        n_node=jnp.full(frames, BODIES, jnp.int32),
        n_edge=jnp.full(frames, len(SENDERS), jnp.int32),
    )


@functools.cache
def trajectories_of(count: int, seed: int) -> Trajectories:
    """Trajectories of the published generator."""
    rng = np.random.default_rng(seed)
    charge = rng.choice([1.0, -1.0], (count, BODIES))
    x, v = rng.normal(size=(2, count, BODIES, 3))
    v *= 0.5 / np.linalg.norm(v, axis=-1, keepdims=True)
    positions, velocities, nearest = [], [], np.full(count, np.inf)
    v = v + STEP * coulomb(x, charge)[0]
    for step in range(1, EVERY * (FRAMES + 1)):
        x = x + STEP * v
        if step % EVERY == 0:
            positions.append(x)
            velocities.append(v)
        force, apart = coulomb(x, charge)
        v = v + STEP * force
        if EVERY * (FIRST + 1) < step <= EVERY * (LAST + 1):
            nearest = np.minimum(nearest, apart)
    return Trajectories(charge, np.stack(positions), np.stack(velocities), nearest)


def coulomb(
    x: Float[np.ndarray, "s n d"], charge: Float[np.ndarray, "s n"]
) -> tuple[Float[np.ndarray, "s n d"], Float[np.ndarray, " s"]]:
    """Forces with clipped components, and the least distance of each system."""
    apart = x[:, :, None] - x[:, None]
    square = np.einsum("sijk,sijk->sij", apart, apart)
    least = np.sqrt(np.min(square[:, SENDERS, RECEIVERS], axis=1))
    square += np.eye(BODIES)
    pull = charge[:, :, None] * charge[:, None] * square**-1.5
    return np.clip(np.einsum("sij,sijk->sik", pull, apart), -CLIP, CLIP), least


if __name__ == "__main__":
    main("charged_particles", "Five charges: mean square error of positions", cases)
