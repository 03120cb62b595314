"""A fit by ace-jax (pip install ace-jax, in an environment of its own), and ours beside it."""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ase.io
import jax
import numpy as np

from .interatomic_data import SUBJECTS, Subject, found, testing, training
from .interatomic_fits import Errors, Settings, fitted, summary, test_errors
from .interatomic_snap import on_one_core
from .record import Record

ORDER, DEGREE = 3, 16
"""Correlation order and total degree of its basis: 668 functions, and 16 of pairs."""
LABELS = ["--energy-key", "energy", "--force-key", "force"]


def ace_fit(
    folder: Path, subject: Subject, settings: Settings, units: int, quick: bool, program: str
) -> list[Record]:
    """Errors on test frames, and seconds of a fit in a fresh process on one core, reading and
    compilation included; for ace-jax also its start and an evaluation of the test frames."""
    assert subject.test is not None
    with tempfile.TemporaryDirectory() as place:
        train, test = (
            _plain(found(folder, subject, name), Path(place), quick)
            for name in (subject.train, subject.test)
        )
        fitted_to, written = f"{place}/fit", f"{place}/predicted.xyz"
        order, degree = (2, 6) if quick else (ORDER, DEGREE)
        basis = ["--order", str(order), "--max-degree", str(degree), "--elements", subject.name,
                 "--rcut", str(settings.cutoff), "--e0", "lsq"]  # fmt: skip
        files = ["--train", train, "--test", test, "--out", fitted_to]
        start = time.perf_counter()
        said = _run([program, "fit", *files, *basis, *LABELS])
        took = time.perf_counter() - start
        model = f"{fitted_to}/model.npz"
        _run([program, "eval", "--model", model, "--data", test, "--out", written, *LABELS])
        functions = re.search(r"-> (\d+) B functions", said)
        assert functions is not None
        rival = {"functions": int(functions[1]), **summary(_errors(Path(written)))}
    arguments = [str(folder), subject.label, json.dumps(settings.record()), str(units), str(+quick)]
    own = _run([sys.executable, "-m", "bench.interatomic_ace", *arguments])
    return [
        {"model": "hgn_jax", **json.loads(own.splitlines()[-1])},
        {"model": "ace-jax", "order": order, "max_degree": degree, "fit_seconds": took, **rival},
    ]


def _plain(path: Path, place: Path, quick: bool) -> str:
    """Path of an unpacked copy of the file, in a quick run of its first frames."""
    copy = place / f"{path.name.split('.')[0]}.xyz"
    ase.io.write(copy, ase.io.read(path, index=":20" if quick else ":"), format="extxyz")
    return str(copy)


def _errors(path: Path) -> Errors:
    """Predictions less labels of frames that ace-jax has written."""
    frames = ase.io.read(path, index=":")
    energy = [(a.info["ace_energy"] - a.get_potential_energy()) / len(a) for a in frames]
    force = [(a.arrays["ace_forces"] - a.arrays["force"]).ravel() for a in frames]
    return {"energy": np.array(energy), "force": np.concatenate(force)}


def _run(command: list[str]) -> str:
    done = subprocess.run(on_one_core(command), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _own(folder: str, label: str, settings: str, units: str, quick: str) -> Record:
    subject, chosen, brief = SUBJECTS[label], Settings.of(json.loads(settings)), quick == "1"
    start = time.perf_counter()
    fit = fitted(
        training(Path(folder), subject, chosen.cutoff, brief), chosen, int(units), 0, brief
    )
    jax.block_until_ready(fit.model.theta)
    took = time.perf_counter() - start
    errors, *_ = test_errors(fit.model, testing(Path(folder), subject, chosen.cutoff, brief))
    return {"fit_seconds": took, "functions": int(units), **summary(errors)}


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    print(json.dumps(_own(*sys.argv[1:])))
