"""Two frames of the paper's encoder on the 2x2x2 lattice of Morse springs: axes from the nearest
nodes, as in the paper, and principal axes with averaged signs.

Snapshots start with random displacements, so that no two principal axes are equally long. Energies
are followed along straight lines between unseen snapshots. The largest of a thousand steps, over
the range on that line, tells a smooth energy, such as the true one, from one that jumps.
"""

from collections.abc import Iterator
from functools import partial
from typing import get_args

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax.features.local_frame import Frame

from .paper_encoder import PLAIN
from .record import Case, Record, main

UNITS, SEEDS, LINES = 128, 3, 9


def cases(quick: bool) -> Iterator[Case]:
    for frame in get_args(Frame):
        yield Case({"frame": frame}, partial(_measure, frame, quick))


def _measure(frame: Frame, quick: bool) -> Record:
    """Medians over seeds, and over lines."""
    system, cube = hgn.systems.mass_spring("morse"), hgn.graphs.lattice((2, 2, 2))
    train, test = (
        hgn.systems.simulate(system, cube, key=jr.key(k), trajectories=n)
        for k, n in enumerate((50 if quick else 300, 200))
    )
    lines = [_line(test, k, 101 if quick else 1001) for k in range(LINES)]
    errors, steps = [], []
    for seed in range(SEEDS):
        term = hgn.MessagePassing(UNITS, frame=frame)
        model = hgn.fit(train, key=jr.key(seed), terms=[term], **PLAIN).model
        _, force = model.vector_field(test)
        true = test.nodes["force"]
        errors.append(float(jnp.linalg.norm(force - true) / jnp.linalg.norm(true)))
        steps += [_largest_step(model, line) for line in lines]
    return {
        "force_error": float(np.median(errors)),
        "largest_step": float(np.median(steps)),
        "largest_step_of_the_truth": float(np.median([_largest_step(system, x) for x in lines])),
    }


def _line(graphs: GraphsTuple, number: int, count: int) -> GraphsTuple:
    """Snapshots from one to the next of `graphs` along a straight line."""
    first, last = (hgn.graphs.frame(graphs, k) for k in (number, number + 1))
    share = jnp.linspace(0, 1, count)[:, None, None]
    between = {
        name: (1 - share) * first.nodes[name][None] + share * last.nodes[name][None]
        for name in ("position", "momentum")
    }
    copies = hgn.graphs.batch([first] * count)
    moved = {name: array.reshape(-1, array.shape[-1]) for name, array in between.items()}
    return copies._replace(nodes=copies.nodes | moved)


def _largest_step(model: hgn.AbstractModel, line: GraphsTuple) -> float:
    energy = np.asarray(model(line))
    return float(np.abs(np.diff(energy)).max() / np.ptp(energy))


if __name__ == "__main__":
    main("frames", "Frames of the paper's encoder", cases)
