"""Time of energy and forces of a fitted potential, and of LAMMPS' SNAP, on the same core."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax.graphs.dense_edges import slotted

from .interatomic_data import Subject, training
from .interatomic_fits import Settings, fitted
from .interatomic_snap import on_one_core, snap_time
from .record import Record

LATTICE, COPIES = 5.431, 4
SITES = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0],
                  [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]) / 4  # fmt: skip
REPEATS = 5


def evaluation_time(
    folder: Path,
    subject: Subject,
    settings: Settings,
    units: int,
    quick: bool,
    lammps: str | None,
) -> list[Record]:
    """Microseconds per atom of energy and forces of diamond silicon, with given neighbours."""
    fit = fitted(training(folder, subject, settings.cutoff, quick), settings, units, 0, quick)
    copies = 2 if quick else COPIES
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model"
        hgn.save(path, fit.model)
        command = [sys.executable, "-m", "bench.interatomic_speed", path, settings.cutoff, copies]
        done = subprocess.run(
            on_one_core([str(c) for c in command]), capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"bench.interatomic_speed failed:\n{done.stderr[-3000:]}")
    records = json.loads(done.stdout.splitlines()[-1])
    if lammps is not None:
        rival = snap_time(lammps, copies)
        records.append({"model": "LAMMPS SNAP", "precision": "float64"} | rival)
    return records


def silicon(copies: int, cutoff: float) -> GraphsTuple:
    """Diamond silicon with atoms displaced by up to 0.1 A, and its neighbours."""
    corners = np.stack(np.meshgrid(*[np.arange(copies)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    position = LATTICE * (corners + SITES).reshape(-1, 3)
    position = position + np.random.default_rng(0).uniform(-0.1, 0.1, position.shape)
    lines = [f"{len(position)}", "Lattice=\"{0} 0 0 0 {0} 0 0 0 {0}\" pbc=\"T T T\" "
             "Properties=species:S:1:pos:R:3".format(LATTICE * copies)]  # fmt: skip
    lines += ["Si " + " ".join(f"{x:.8f}" for x in p) for p in position]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "silicon.xyz"
        path.write_text("\n".join(lines) + "\n")
        return hgn.read(path, cutoff=cutoff, labels=False)


def measure(path: Path, cutoff: float, copies: int) -> list[Record]:
    """Times of the model in both precisions."""
    model = hgn.load(path)
    graph = slotted(silicon(copies, cutoff))
    atoms = 8 * copies**3
    records = []
    for precision in ("float64", "float32"):
        cast = _cast((model, graph), precision)
        jax.block_until_ready(_both(*cast))
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            jax.block_until_ready(_both(*cast))
            times.append(time.perf_counter() - start)
        records.append(
            {
                "model": "hgn_jax",
                "precision": precision,
                "atoms": atoms,
                "neighbours": len(graph.senders) // len(graph.nodes["position"]),
                "microseconds_per_atom": 1e6 * min(times) / atoms,
            }
        )
    return records


def _cast(tree: PyTree, precision: str) -> PyTree:
    return jax.tree.map(lambda x: x.astype(precision) if eqx.is_inexact_array(x) else x, tree)


@eqx.filter_jit
def _both(model: hgn.HamiltonianGraphNetwork, graphs: GraphsTuple) -> tuple[jax.Array, jax.Array]:
    return model(graphs), model.vector_field(graphs)[-1]


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    print(json.dumps(measure(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
