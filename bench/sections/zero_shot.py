"""Section on the accuracy on graphs larger than those of training."""

from ..markdown import rows
from ..record import Record

_SHOWN = (
    ("2x2x2", "16x16x16"),
    ("2x2x2", "chain of 64"),
    ("2x2", "100x100"),
    ("3x3", "100x100"),
    ("chain of 8", "16x16x16"),
)


def figures(records: list[Record]) -> dict[str, str]:
    return {"errors": rows([*case, *_cells(records, *case)] for case in _SHOWN)}


def worst_case(
    records: list[Record], trained_on: str, used_on: str, features: str, starts: str
) -> Record | None:
    """Record of the potential with the greatest force error."""
    mine = [
        r
        for r in records
        if (r["trained_on"], r["used_on"]) == (trained_on, used_on)
        and (r["features"], r["starts"]) == (features, starts)
    ]
    return max(mine, key=lambda r: r["relative_force_error"], default=None)


def _cells(records: list[Record], trained_on: str, used_on: str) -> list[str]:
    cells = []
    for features, starts in (
        ("invariants", "uniform"),
        ("invariants", "normal"),
        ("paper", "uniform"),
    ):
        r = worst_case(records, trained_on, used_on, features, starts)
        cells.append("" if r is None else f"{r['relative_force_error']:.0e}")
        if r is not None and features == "invariants":
            cells[-1] += f" ({r['pairs_out_of_range']} of {r['pairs']:,})"
    return cells
