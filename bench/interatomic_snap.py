"""The published SNAP of MoNbTaW on the test frames, evaluated by LAMMPS in a separate process."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from jraph import GraphsTuple

from .interatomic_data import ALLOYS, testing
from .interatomic_fits import summary
from .record import Record

SCRIPT = Path(__file__).parent / "lammps_snap.py"
FILES = ("Ta-W-Nb-Mo.snapcoeff", "Ta-W-Nb-Mo.snapparam")
BAR = 1e5 / 1.602176634e11
"""One bar in eV/A^3."""


def published_alloy(folder: Path, python: str, quick: bool) -> Record:
    """Errors of SNAP. A constant per element is fitted to its energy errors on the test frames
    themselves, which favours it."""
    coefficients, parameters = (folder / ALLOYS.folder / name for name in FILES)
    for path in (coefficients, parameters):
        if not path.is_file():
            raise SystemExit(f"--data: there is no file {path}")
    data = testing(folder, ALLOYS, 4.0, quick)
    n_node = np.asarray(data.n_node)
    found = _run(
        python, "errors", coefficients, parameters,
        n=n_node, position=np.asarray(data.nodes["position"]),
        cell=np.asarray(data.globals["cell"]), species=np.asarray(data.nodes["species"]),
    )  # fmt: skip
    wrong = (found["energy"] - np.asarray(data.globals["energy"])) / n_node
    shares = _shares(data)
    offset = shares @ np.linalg.lstsq(shares, wrong, rcond=None)[0]
    errors = {
        "energy": wrong - offset,
        "force": (found["force"] - np.asarray(data.nodes["force"])).ravel(),
    }
    # LAMMPS gives the pressure tensor in bar: stress = -pressure.
    stress = -BAR * found["pressure"] - np.asarray(data.globals["stress"])
    errors["stress"] = stress[:, *np.triu_indices(3)].ravel()
    return {
        "energy_mae_as_published": float(np.mean(np.abs(wrong))),
        "frames": len(n_node),
    } | summary(errors)


def snap_time(python: str, copies: int) -> Record:
    """Microseconds per atom and evaluation of LAMMPS' SNAP with the settings published for Si.

    All coefficients are equal, since the time does not depend on them.
    """
    with tempfile.TemporaryDirectory() as folder:
        coefficients = Path(folder) / "time.snapcoeff"
        coefficients.write_text("1 56\nSi 0.5 1\n" + "0.01\n" * 56)
        parameters = Path(folder) / "time.snapparam"
        parameters.write_text("rcutfac 4.9\ntwojmax 8\nrfac0 0.99363\nrmin0 0\n")
        result = _script(python, "time", coefficients, parameters, str(copies))
    return json.loads(result.splitlines()[-1])


def _shares(data: GraphsTuple) -> np.ndarray:
    """Share of each element in each frame."""
    species, n_node = np.asarray(data.nodes["species"]), np.asarray(data.n_node)
    frame = np.repeat(np.arange(len(n_node)), n_node)
    columns = [np.bincount(frame, species == z, len(n_node)) / n_node for z in np.unique(species)]
    return np.stack(columns, axis=1)


def _run(
    python: str, what: str, coefficients: Path, parameters: Path, **arrays: np.ndarray
) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        given, written = Path(folder) / "frames.npz", Path(folder) / "found.npz"
        np.savez(given, **arrays)  # type: ignore[arg-type]
        # Current versions of LAMMPS refuse a keyword that old ones ignored.
        lines = parameters.read_text().splitlines()
        known = Path(folder) / "known.snapparam"
        known.write_text("\n".join(s for s in lines if not s.startswith("diagonalstyle")) + "\n")
        _script(python, what, coefficients, known, str(given), str(written))
        with np.load(written) as file:
            return dict(file)


def _script(python: str, what: str, coefficients: Path, parameters: Path, *rest: str) -> str:
    command = [python, str(SCRIPT), what, str(coefficients), str(parameters), *rest]
    if what == "time":
        command = on_one_core(command)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.stdout


def on_one_core(command: list[str]) -> list[str]:
    """The command pinned to the first core of this process, if the system supports that."""
    if not hasattr(os, "sched_getaffinity"):
        return command
    return ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command]
