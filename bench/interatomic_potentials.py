"""Interatomic potentials learned from quantum mechanics: errors, published errors, and time.

Six elements (Zuo et al., J. Phys. Chem. A 124, 731 (2020)), the alloys of Mo, Nb, Ta and W (Li et
al., npj Comput. Mater. 6, 70 (2020)), ethanol (revised MD17) and acetylacetone (BOTNet datasets).
The data are not part of the repository. `--data DIR` is a folder with `mlearn/Si_train.xyz`,
`mlearn/Si_test.xyz` and so on, `alloys/`, and `molecules/`, each file plain or compressed.

Cutoff, radial functions, their stretch, the likeness of species and the weight of the energies are
chosen for each subject by cross-validation over its training frames. Test errors are used for no
choice. Without a test file, errors are those on held-out training frames.

Each result is written as soon as it is measured: a second run measures only what is missing, with
`--again` everything.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from .interatomic_ace import ace_fit
from .interatomic_calibration import calibration
from .interatomic_data import SUBJECTS, Subject, found
from .interatomic_dynamics import drift
from .interatomic_figure import draw
from .interatomic_fits import (
    DEGREE,
    Settings,
    errors_of_seeds,
    fit_time,
    learning_curve,
    search,
    trial,
)
from .interatomic_selection import selection
from .interatomic_snap import published_alloy
from .interatomic_speed import evaluation_time
from .record import Case, Record, environment, table

NAME = "interatomic_potentials"
PARTS = (*SUBJECTS, "calibration", "snap", "ace", "time", "curve", "selection", "dynamics")
TIMED = "si"
CALIBRATED = ("si", "mo", "li")
NEEDED = {"snap": ("monbtaw",), "calibration": CALIBRATED}
"""Subjects whose files a part needs; the others need those of its own name, or of `TIMED`."""
FIT_UNITS = 1000
SELECTED_UNITS = 400
DYNAMICS_UNITS = 400


@dataclasses.dataclass
class Results:
    """Records in a file, which is written after every case."""

    path: Path
    quick: bool
    again: bool

    def __post_init__(self) -> None:
        text = self.path.read_text() if self.path.exists() else "[]"
        self.records: list[Record] = json.loads(text)
        self._fresh: list[Record] = []

    def of(self, settings: Record) -> list[Record]:
        """Records with these settings and this kind of run."""
        return [
            r
            for r in self.records
            if r["environment"]["quick"] == self.quick
            and all(r.get(key) == value for key, value in settings.items())
        ]

    def drop(self, records: list[Record]) -> None:
        """Removes records, also from the file."""
        self._write([r for r in self.records if r not in records])

    def measure(self, case: Case) -> list[Record]:
        """Records of the case: those in the file, or new ones."""
        kept = self.of(case.settings)
        if kept and (not self.again or case.settings in self._fresh):
            return kept
        print(", ".join(f"{k} {v}" for k, v in case.settings.items()), flush=True)
        figures = case.measure()
        where = environment() | {"quick": self.quick}
        new = [
            case.settings | f | {"environment": where}
            for f in (figures if isinstance(figures, list) else [figures])
        ]
        self._fresh.append(case.settings)
        self._write([r for r in self.records if r not in kept] + new)
        return new

    def _write(self, records: list[Record]) -> None:
        self.records = records
        self.path.write_text(json.dumps(records, indent=1, allow_nan=False) + "\n")


def chosen(results: Results, folder: Path, subject: Subject) -> Settings:
    """Settings of the subject, by trials that are measured if they are not known yet."""
    units, degree = subject.search_units, DEGREE
    if results.quick:
        units, degree = 40, 2
        subject = subject._replace(
            cutoffs=subject.cutoffs[:1],
            radials=subject.radials[:1],
            stretches=subject.stretches[:1],
            likenesses=subject.likenesses[:1],
            weights=subject.weights[:2],
        )

    def score(settings: Settings) -> float:
        which = {"measured": "settings", "system": subject.name, "units": units}
        case = Case(
            which | settings.record(),
            partial(trial, folder, subject, settings, units, results.quick),
        )
        return results.measure(case)[0]["score"]

    best = search(subject, degree, score)
    trials = results.of({"measured": "settings", "system": subject.name})
    results.drop([r for r in trials if r["units"] != units])  # of an earlier search
    return best


def cases(
    results: Results,
    folder: Path,
    only: list[str],
    most: int,
    lammps: str | None,
    ace: str | None,
) -> Iterator[Case]:
    quick = results.quick
    for label in only:
        if label not in SUBJECTS:
            continue
        subject = SUBJECTS[label]
        settings = chosen(results, folder, subject)
        errors = results.of({"measured": "errors", "system": subject.name})
        results.drop([r for r in errors if Settings.of(r) != settings])
        for units in (40,) if quick else [u for u in subject.units if u <= most]:
            yield Case(
                {"measured": "errors", "system": subject.name, "units": units},
                partial(
                    errors_of_seeds,
                    folder,
                    subject,
                    settings,
                    units,
                    min(2, subject.seeds) if quick else subject.seeds,
                    quick,
                ),
            )
    timed = SUBJECTS[TIMED]

    def case(
        measured: str, measure: Callable[..., Any], units: int, subject: Subject = timed
    ) -> Case:
        units = 40 if quick else units
        settings = chosen(results, folder, subject)
        return Case(
            {"measured": measured, "system": subject.name, "units": units},
            partial(measure, folder, subject, settings, units=units, quick=quick),
        )

    if "calibration" in only:
        for label in CALIBRATED:
            yield case("calibration", calibration, FIT_UNITS, SUBJECTS[label])
    if "time" in only:
        yield case("fit time", fit_time, FIT_UNITS)
        yield case("evaluation time", partial(evaluation_time, lammps=lammps), FIT_UNITS)
    if "curve" in only:
        yield case("learning curve", lambda *a, **k: list(learning_curve(*a, **k)), FIT_UNITS)
    if "selection" in only:
        yield case("selection", selection, SELECTED_UNITS)
    if "dynamics" in only:
        yield case("dynamics", drift, DYNAMICS_UNITS)
    if "ace" in only and ace is not None:
        yield case("ace", partial(ace_fit, program=ace), FIT_UNITS)
    if "snap" in only and lammps is not None:
        yield Case(
            {"measured": "published", "system": "MoNbTaW", "model": "SNAP"},
            partial(published_alloy, folder, lammps, quick),
        )


def main() -> None:
    """Measures the selected parts, and draws everything measured so far."""
    options = _arguments().parse_args()
    only = options.only.split(",")
    if unknown := sorted(set(only) - set(PARTS)):
        raise SystemExit(f"--only: {unknown} are none of {', '.join(PARTS)}")
    if options.data is None:
        print(f"{NAME}: no --data DIR, the results stay as they are. {_needed()}")
        return
    for label in only:
        # Fail now, not after an hour, if a file is missing.
        for needed in NEEDED.get(label, (label if label in SUBJECTS else TIMED,)):
            subject = SUBJECTS[needed]
            for name in (subject.train, subject.test):
                if name is not None:
                    found(options.data, subject, name)
    if options.lammps is None and "snap" in only:
        print("snap is left out: it needs --lammps PYTHON")
    if options.ace is None and "ace" in only:
        print("ace is left out: it needs --ace PROGRAM")
    jax.config.update("jax_enable_x64", True)
    options.out.mkdir(parents=True, exist_ok=True)
    results = Results(options.out / f"{NAME}.json", options.quick, options.again)
    for case in cases(results, options.data, only, options.most, options.lammps, options.ace):
        results.measure(case)
    shown = results.of({})
    for kind in dict.fromkeys(r["measured"] for r in shown):
        rows = [_flat(r) for r in shown if r["measured"] == kind]
        Console(width=180).print(table(f"Interatomic potentials: {kind}", rows))
    draw(shown).savefig(results.path.with_suffix(".png"), dpi=110)
    print(f"wrote {results.path} and {results.path.with_suffix('.png')}")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m bench.{NAME}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, help=_needed())
    parser.add_argument(
        "--only", default=",".join(PARTS), help=f"parts, by commas: {', '.join(PARTS)}"
    )
    parser.add_argument(
        "--most", type=int, default=10**9, metavar="UNITS", help="no fits with more features"
    )
    parser.add_argument(
        "--lammps", metavar="PYTHON", help="a Python with the packages lammps and numpy, for SNAP"
    )
    parser.add_argument("--ace", metavar="PROGRAM", help="ace-jax, for a fit beside ours")
    parser.add_argument("--again", action="store_true", help="measure what is already there")
    parser.add_argument("--quick", action="store_true", help="few frames, few features")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="folder of results")
    return parser


def _needed() -> str:
    names = sorted({f"{s.folder}/{s.train}" for s in SUBJECTS.values()})
    return f"folder with {', '.join(names)} and the test files"


def _flat(record: Record) -> Record:
    """The record without values that do not fit into a table."""
    return {k: str(v) if isinstance(v, list) else v for k, v in record.items() if k != "parity"}


if __name__ == "__main__":
    main()
