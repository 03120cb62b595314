"""Which bodies interact: the graph of five springs, and the signs of five charges, from one
trajectory of each system.

The systems are those of neural relational inference (Kipf et al., arXiv 1802.04687; `data/
synthetic_sim.py` of github.com/ethanfetaya/NRI): five bodies in a square of half-width 5 with hard
walls. Springs of stiffness 0.1 join each pair with probability 1/2; charges are 1 or -1, with
forces q_i q_j / r^2 between them. Components of a body's force are clipped at 100. Positions and
velocities of 49 frames are seen, 0.1 units of time apart; unlike there, a velocity is that at the
time of its frame, not half a step of 0.001 before. The networks learn from 50,000 systems; here
every system is learned by itself.

Forces are central differences of the velocities, and are not used where differences of two orders
disagree, as at a wall. All pairs have types of their own, and `QR(ridge="groups")` a ridge for
each. A pair of springs counts as joined if its evidence is more than a tenth of the greatest.
Two charges attract if their learned energy rises with the distance; the signs of all charges are
those that agree best with the pairs, weighted by their evidence. Units, orders and thresholds were
chosen on systems of another seed.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

import hgn_jax as hgn

from .charged_particles import BODIES, CLIP, coulomb
from .record import Case, Record, main

BOX, FRAMES, SUBSTEPS = 5.0, 49, 100
DT, SPEED = 0.001, 0.5
PAIRS = np.array(list(itertools.combinations(range(BODIES), 2)))
SEED = 2
UNITS = 12
LEAST, PART = 10.0, 0.1
"""Evidence above which a pair counts as joined: in nats, and as a part of the greatest."""
ORDERS = (2, 4)
"""Orders of the central differences."""
AGREE = 0.1
"""Relative difference between forces of both orders above which they are not used."""
SMALL = 0.01
"""Share of the typical force that counts as none."""


class Kind(NamedTuple):
    """A kind of systems, and the accuracy of neural relational inference for it."""

    spread: float
    """Standard deviation of the first positions."""
    published: float
    """Share of the pairs that are right, learned without graphs (%): quoted from memory."""


KINDS = {"springs": Kind(0.5, 99.9), "charges": Kind(1.0, 82.0)}


def cases(quick: bool) -> Iterator[Case]:
    for name in KINDS:
        yield Case({"system": name}, functools.partial(_measured, name, 3 if quick else 200))


def _measured(name: str, systems: int) -> Record:
    every = zip(*simulated(name, systems, SEED))
    right = np.array([found(name, q, v) == true for q, v, true in every])
    return {
        "systems": systems,
        "pairs_right": float(np.mean(right)),
        "systems_right": float(np.mean(right.all(axis=1))),
        "published": KINDS[name].published / 100,
    }


def found(name: str, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """For every pair whether a spring joins it, or whether its charges attract."""
    weights: Any = "uniform" if name == "springs" else "relative"
    fit = hgn.fit(
        observed(position, velocity), key=0, terms=[hgn.Pair(UNITS)],
        observations=[hgn.Derivatives(weights)], solver=hgn.QR(ridge="groups"), throw=False,
    )  # fmt: skip
    nats = np.array([max(group.nats, 0.0) for group in fit.breaking().groups])
    if name == "springs":
        return nats > max(LEAST, PART * nats.max())
    ends = fit.trained_range["pair"]
    near, far = (
        np.array([fit.model.pair_energy(ends[t, k], t) for t in range(len(PAIRS))]) for k in (0, 1)
    )
    signs = np.array([(1, *rest) for rest in itertools.product((1, -1), repeat=BODIES - 1)])
    products = signs[:, PAIRS[:, 0]] * signs[:, PAIRS[:, 1]]
    return products[np.argmax(products @ (np.sign(near - far) * nats))] < 0


def observed(position: np.ndarray, velocity: np.ndarray) -> GraphsTuple:
    """Frames of one system with forces from differences. Where those of two orders disagree, as in
    collisions, forces have no weight."""
    times = SUBSTEPS * DT * np.arange(len(position))
    coarse, data = (
        hgn.graphs.from_trajectories(
            times, position, velocity=velocity, mass=1.0, edges=PAIRS, type=np.arange(len(PAIRS)),
            order=order, trim=False,
        )
        for order in ORDERS
    )  # fmt: skip
    force = data.nodes["force"]
    away = jnp.linalg.norm(force - coarse.nodes["force"], axis=1)
    size = jnp.linalg.norm(force, axis=1)
    # Bodies that nothing pulls have rounding errors as forces.
    weight = jnp.where(away < AGREE * jnp.maximum(size, SMALL * jnp.median(size)), 1.0, 0.0)
    return data._replace(nodes=data.nodes | {"weight": weight})


def simulated(name: str, systems: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions and velocities of all frames, `[s t n 2]`, and for every pair whether it is joined,
    or attracts, `[s p]`."""
    rng = np.random.default_rng(seed)
    q = KINDS[name].spread * rng.normal(size=(systems, BODIES, 2))
    v = rng.normal(size=q.shape)
    v *= SPEED / np.linalg.norm(v, axis=2, keepdims=True)
    if name == "springs":
        strength = np.zeros((systems, BODIES, BODIES))
        strength[:, *PAIRS.T] = rng.integers(0, 2, (systems, len(PAIRS)))
        strength += strength.swapaxes(1, 2)
        truth = strength > 0
    else:
        charge = rng.choice([-1.0, 1.0], (systems, BODIES))
        strength = charge[:, :, None] * charge[:, None]
        truth = strength < 0

    def force(q: np.ndarray) -> np.ndarray:
        if name == "charges":
            return coulomb(q, charge)[0]
        apart = q[:, :, None] - q[:, None]
        return np.clip(-0.1 * np.einsum("sij,sijk->sik", strength, apart), -CLIP, CLIP)

    frames = []
    v = v + DT / 2 * force(q)
    for step in range((FRAMES - 1) * SUBSTEPS + 1):
        if step % SUBSTEPS == 0:
            frames.append((q.copy(), v - DT / 2 * force(q)))
        q = q + DT * v
        over = np.abs(q) > BOX
        v = np.where(over, -np.sign(q) * np.abs(v), v)
        q = np.where(over, np.sign(q) * 2 * BOX - q, q)
        v = v + DT * force(q)
    position, velocity = (np.stack(some, axis=1) for some in zip(*frames))
    return position, velocity, truth[:, *PAIRS.T]


if __name__ == "__main__":
    main("interaction_graph", "Which bodies interact", cases)
