"""Section on planets from few trajectories."""

from ..markdown import rows
from ..record import Record

PUBLISHED = (
    ("Interaction network", ".200", "6.942"),
    ("SlotFormer", ".214", "2.533"),
    ("SEGNO", ".079", "2.759"),
    ("Neural Force Field", ".097", "1.226"),
)
"""Errors within and across, as published."""
KINDS = ("within", "cross")


def figures(records: list[Record]) -> dict[str, str]:
    by_law: dict[str, dict[str, Record]] = {}
    for record in records:
        by_law.setdefault(record["law"], {})[record["test"]] = record
    ours = [
        ["the true law" if law == "true" else law, *(f"{tests[k]['error']:.1e}" for k in KINDS)]
        for law, tests in by_law.items()
    ]
    return {
        "within": str(by_law["learned"]["within"]["trajectories"]),
        "across": str(by_law["learned"]["cross"]["trajectories"]),
        "table": rows([*PUBLISHED, *ours]),
        "bare_median": f"{by_law['learned']['cross']['median']:.1e}",
        "median": f"{by_law['learned, tails']['cross']['median']:.1e}",
    }
