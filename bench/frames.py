"""Two frames of the paper's encoder on the 2x2x2 lattice of Morse springs: axes from the nearest
nodes, as in the paper, and principal axes with averaged signs.

Snapshots start with random displacements, so that no two principal axes are equally long. The
largest step is that of the learned energy along a motion of the true system, over the range of the
energy there: a smooth energy has steps of about 1 / number of steps.
"""

from collections.abc import Iterator
from functools import partial
from typing import get_args

import jax.random as jr
import numpy as np

import hgn_jax as hgn
from hgn_jax.features.local_frame import Frame

from .paper_encoder import PLAIN
from .record import Case, Record, main

UNITS, SEEDS = 128, 3


def cases(quick: bool) -> Iterator[Case]:
    for frame in get_args(Frame):
        yield Case({"frame": frame}, partial(_measure, frame, quick))


def _measure(frame: Frame, quick: bool) -> Record:
    """Medians over seeds."""
    system, cube = hgn.systems.mass_spring("morse"), hgn.graphs.lattice((2, 2, 2))
    train, test, start = (
        hgn.systems.simulate(system, cube, key=jr.key(k), trajectories=n)
        for k, n in enumerate((50 if quick else 300, 200, 1))
    )
    times = np.linspace(0, 5, 201 if quick else 1001)
    moved = hgn.rollout(system, start, times, dt=5e-3)
    states = zip(moved.position, moved.momentum)
    path = hgn.graphs.batch(
        [start._replace(nodes=start.nodes | {"position": q, "momentum": p}) for q, p in states]
    )
    errors, steps = [], []
    for seed in range(SEEDS):
        term = hgn.MessagePassing(UNITS, frame=frame)
        model = hgn.fit(train, key=jr.key(seed), terms=[term], **PLAIN).model
        _, force = model.vector_field(test)
        true = test.nodes["force"]
        errors.append(float(np.linalg.norm(force - true) / np.linalg.norm(true)))
        energy = np.asarray(model(path))
        steps.append(float(np.abs(np.diff(energy)).max() / np.ptp(energy)))
    return {"force_error": float(np.median(errors)), "largest_step": float(np.median(steps))}


if __name__ == "__main__":
    main("frames", "Frames of the paper's encoder", cases)
