"""H5MD files of rollouts: speed beside a plain file of the same bytes, and share of the run time.

The liquid of bench.rollout, 108,000 atoms; 100 frames of positions and momenta. Both files are
written in turn on the same disk, and handed to it by fsync.
"""

import cProfile
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax.random as jr
import numpy as np

import hgn_jax as hgn
from hgn_jax.dynamics import output_file
from hgn_jax.io.h5md import H5MDFile
from hgn_jax.io.recording import Recording

from . import liquid
from .moves import learned
from .record import Case, Record, main

FRAMES, REPEATS = 100, 5
STEPS, OUTPUTS = 100, 2
"""Steps between two outputs of the timed rollout, and their number."""
CELLS, COPIES = 6, 5
"""Atoms: 4 cells^3 copies^3."""


def speeds(atoms: int, frames: int) -> Record:
    """Median megabytes per second of a plain file, and of H5MD appended by one frame or by all."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(frames, atoms, 3)) for name in ("position", "momentum")}
    size = sum(a.nbytes for a in arrays.values()) / 1e6
    ways: dict[str, Callable[[Path], None]] = {
        "plain": partial(_plain, arrays),
        "frame_by_frame": partial(_h5md, arrays, 1),
        "at_once": partial(_h5md, arrays, frames),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    # In the working directory: a temporary folder may be in memory.
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for _ in range(REPEATS):
            for name, write in ways.items():
                path, start = Path(folder) / "run.h5", time.perf_counter()
                write(path)
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
                taken[name].append(time.perf_counter() - start)
                path.unlink()
    rates = {f"{name}_mb_s": size / statistics.median(t) for name, t in taken.items()}
    return {"megabytes": size} | rates


def _plain(arrays: dict[str, np.ndarray], path: Path) -> None:
    with path.open("wb") as file:
        for frame in zip(*arrays.values()):
            for values in frame:
                file.write(values.data)


def _h5md(arrays: dict[str, np.ndarray], block: int, path: Path) -> None:
    file, frames = H5MDFile(path, fresh=True), len(arrays["position"])
    for k in range(0, frames, block):
        part = slice(k, k + block)
        moving = {name: values[part] for name, values in arrays.items()}
        file.append([Recording("", np.arange(frames)[part], moving)])
        file.flush()
    file.close()


def share(cells: int, copies: int, steps: int) -> Record:
    """Seconds of a rollout with an output file, and of its writing: the first frame, the pace,
    locks, and closing included."""
    graph = liquid.tiled(liquid.lattice(liquid.Point(cells)), copies)
    graph = liquid.heated(graph, 2 * liquid.Point(cells).temperature, jr.key(0))
    model = learned("liquid").compress()
    near = liquid.NEIGHBOURS.allocate(graph)

    def rolled(times: hgn.Every, path: Path) -> None:
        hgn.rollout(model, graph, times, dt=liquid.DT, neighbours=near, output=path)

    with tempfile.TemporaryDirectory(dir=".") as folder:
        rolled(hgn.Every(2, 2), Path(folder) / "compiled.h5")
        profile = cProfile.Profile()
        start = time.perf_counter()
        profile.runcall(rolled, hgn.Every(steps, OUTPUTS), Path(folder) / "run.h5")
        total = time.perf_counter() - start
        size = (Path(folder) / "run.h5").stat().st_size
    own = {
        name: figures[3]  # seconds with all that it calls
        for (file, _, name), figures in pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
        if Path(file) == Path(output_file.__file__)
    }
    writing = own["__enter__"] + own["write"] + own["__exit__"]
    return {
        "steps_between_outputs": steps,
        "outputs": OUTPUTS + 1,
        "megabytes": size / 1e6,
        "seconds": total,
        "writing_seconds": writing,
        "share": writing / total,
    }


def cases(quick: bool) -> Iterator[Case]:
    cells, copies = (4, 1) if quick else (CELLS, COPIES)
    atoms = 4 * cells**3 * copies**3
    settings = {"atoms": atoms, "frames": 5 if quick else FRAMES}
    yield Case({"measured": "speed"} | settings, partial(speeds, **settings))
    steps = 10 if quick else STEPS
    settings = {"measured": "share", "atoms": atoms}
    yield Case(settings, partial(share, cells, copies, steps))


if __name__ == "__main__":
    main("output_file", "H5MD beside a plain file", cases)
