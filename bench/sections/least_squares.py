"""Section on least squares."""

from ..markdown import rows
from ..record import Record


def figures(records: list[Record]) -> dict[str, str]:
    doubtful = [
        r for r in records
        if r["case"] == "calibration" and not r["what"].startswith("springs, uniform")
    ]  # fmt: skip
    return {
        "goals": rows(_goal(r) for r in records if r["case"] == "goal"),
        "calibration": rows(
            [r["what"].replace(",", " with", 1), f"{r['details']['rms']['force']:.1f}"]
            for r in doubtful
        ),
    }


def _goal(r: Record) -> list[str]:
    value = r["value"]
    shown = "failed" if value is None else f"{value:.1e}" if value < 1e-3 else f"{value:.2f}"
    return [r["what"], shown + ("" if r["met"] else " (missed)"), r["goal"]]
