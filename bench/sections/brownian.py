"""Section on Brownian particles."""

from ..brownian import MOBILITY
from ..markdown import rows
from ..record import Record


def figures(records: list[Record]) -> dict[str, str]:
    others = [abs(r["other_error"]) / r["other_error_bar"] for r in records]
    ratios = [r["force_error"] / r["force_error_bar"] for r in records]
    forces = max(r["force_error"] for r in records)
    return {
        "frames": f"{records[0]['frames']:,}",
        "mobility": f"{MOBILITY:g}",
        "table": rows(_row(r) for r in records),
        "forces": f"{100 * forces:.1f}%",
        "force_goal": "reached" if forces < 0.03 else "missed",
        "others": f"{100 * max(abs(r['other_error']) for r in records):.2f}%",
        "other_goal": "reached" if all(abs(r["other_error"]) < 0.01 for r in records) else "missed",
        "deviations": f"{max(others):.1f}",
        "least": f"{min(ratios):.1f}",
        "most": f"{max(ratios):.1f}",
    }


def _row(record: Record) -> list[str]:
    found = "mobility" if record["known"] == "temperature" else "temperature"
    return [
        record["system"],
        str(record["seed"]),
        f"{100 * record['force_error']:.2f}%",
        f"{100 * record['force_error_bar']:.2f}%",
        found,
        f"{100 * record['other_error']:+.3f}%",
        f"{100 * record['other_error_bar']:.3f}%",
    ]
