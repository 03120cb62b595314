"""Error of a potential against the number of its training frames, chosen or drawn at random.

python -m bench.active_learning --data FOLDER
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array
from jraph import GraphsTuple

import hgn_jax as hgn

from .interatomic_data import SUBJECTS, testing, training
from .interatomic_fits import observations
from .record import Case, Record, main

CUTOFFS, RADIAL, UNITS = {"mo": 4.6, "si": 5.0}, 5, 200
BLOCK = 5
"""Frames of the first fit, which fixes features and weights, and of every update."""
FRAMES = 40
DRAWS = 3
"""Random orders of the training frames; the first frames of each are the start of a choice."""


def block(data: GraphsTuple, numbers: np.ndarray) -> GraphsTuple:
    """Those frames, padded to one size so that programs are compiled once."""
    part = hgn.graphs.take(data, np.isin(np.arange(len(data.n_node)), numbers))
    nodes, edges = (BLOCK * int(np.max(np.asarray(n))) for n in (data.n_node, data.n_edge))
    return hgn.graphs.pad(part, n_node=nodes + 1, n_edge=edges, n_graph=BLOCK + 2)


@eqx.filter_jit
def predicted(model: hgn.AbstractModel, test: GraphsTuple) -> tuple[Array, Array]:
    """Energies and forces."""
    return model(test), model.vector_field(test)[-1]


def errors(model: hgn.AbstractModel, test: GraphsTuple) -> dict[str, float]:
    """Root mean square errors of forces (eV/A) and of energies per atom (meV)."""
    energy, force = predicted(model, test)
    off = np.asarray(force - test.nodes["force"])
    per_atom = np.asarray(energy - test.globals["energy"]) / np.asarray(test.n_node)
    return {
        "force": float(np.sqrt(np.mean(off**2))),
        "energy": 1e3 * float(np.sqrt(np.mean(per_atom**2))),
    }


def curve(
    first: hgn.Fit, data: GraphsTuple, line: np.ndarray, test: GraphsTuple
) -> list[dict[str, float]]:
    """Errors of the first fit, and after each block of frames in this order."""
    fit, found = first, [errors(first.model, test)]
    for start in range(0, len(line), BLOCK):
        fit = fit.update(block(data, line[start : start + BLOCK]), throw=False)
        found.append(errors(fit.model, test))
    return found


def measure(folder: Path, element: str, draw: int, frames: int) -> list[Record]:
    """Errors for every number of frames: of a random order, and of choices after its start."""
    subject, cutoff = SUBJECTS[element], CUTOFFS[element]
    data = jax.tree.map(np.asarray, training(folder, subject, cutoff, False))
    test = testing(folder, subject, cutoff, False)
    order = np.random.default_rng(draw).permutation(len(data.n_node))
    others = np.sort(order[BLOCK:])
    start = block(data, order[:BLOCK])
    first = hgn.fit(
        start, key=0, observations=observations(start),
        terms=[
            hgn.Pair(16, cutoff=cutoff),
            hgn.ManyBody(UNITS, cutoff=cutoff, radial=RADIAL, degree=3),
        ],
    )  # fmt: skip
    candidates = hgn.graphs.take(data, np.isin(np.arange(len(order)), others))
    picks = others[hgn.select(first, candidates, frames - BLOCK)]
    curves = {
        "random": curve(first, data, order[BLOCK:frames], test),
        "chosen": curve(first, data, picks, test),
    }
    return [
        {"frames": BLOCK * (k + 1)}
        | {f"{n} {quantity}": e for n, c in curves.items() for quantity, e in c[k].items()}
        for k in range(frames // BLOCK)
    ]


def cases(quick: bool, data: Path) -> Iterator[Case]:
    """One case for each element and random order."""
    frames = 2 * BLOCK if quick else FRAMES
    for element in CUTOFFS:
        for draw in range(1 if quick else DRAWS):
            settings = {"element": element, "units": UNITS, "draw": draw}
            yield Case(settings, partial(measure, data, element, draw, frames))


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the folder of the data."""
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")


if __name__ == "__main__":
    main("active_learning", "Chosen and random training frames", cases, arguments=arguments)
