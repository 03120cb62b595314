"""Section on error and conditioning against width."""

from ..markdown import rows
from ..record import Record
from ..widths import EPSILON, FEATURES, POTENTIALS


def figures(records: list[Record]) -> dict[str, str]:
    widths = [r["width"] for r in records]
    return {
        "narrow": str(min(widths)),
        "wide": str(max(widths)),
        "rows": f"{records[0]['rows']:,}",
        "errors": rows(
            [potential, features, *_cells(records, potential, features)]
            for potential in POTENTIALS
            for features in FEATURES
        ),
    }


def _cells(records: list[Record], potential: str, features: str) -> list[str]:
    """Error and condition number at the least and the greatest width."""
    wanted = (potential, features)
    mine = [r for r in records if (r["potential"], r["features"]) == wanted]
    ends = mine[0], mine[-1]
    errors = [f"{r['relative_error']:.0e}" for r in ends]
    conditions = [
        f"{r['condition']:.0e}" if r["condition"] < 1 / EPSILON else "1 / epsilon" for r in ends
    ]
    return [*errors, *conditions, f"{mine[-1]['rank']:,}"]
