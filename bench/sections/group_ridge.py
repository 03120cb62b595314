"""Section on a ridge for each group of columns."""

from ..markdown import rows
from ..record import Record


def figures(records: list[Record]) -> dict[str, str]:
    small = records[0]
    shown = [r for r in records if (r["pair"], r["external"]) == (small["pair"], small["external"])]
    ratios = [r["groups_seconds"] / r["one_ridge_seconds"] for r in records]
    weak = next(r for r in shown if r["weights"] == "relative" and 0 < r["field"] < 0.1)
    missed = [r for r in records if r["groups_error"] > r["goal"]]
    return {
        "pair": str(small["pair"]),
        "external": str(small["external"]),
        "table": rows(_row(r) for r in shown),
        "missed": f"{len(missed)} of {len(records)}",
        "weights_of_missed": " and ".join(sorted({r["weights"] for r in missed})),
        "weak_field": f"{weak['field']:.0%}",
        "weak_field_error": f"{weak['field_off']:.0%}",
        "least_ratio": f"{min(ratios):.1f}",
        "greatest_ratio": f"{max(ratios):.1f}",
    }


def _row(r: Record) -> list[str]:
    off = r["field_off"]
    return [
        r["weights"],
        f"{r['field']:.0%}",
        *(f"{r[key]:.1e}" for key in ("pair_alone_error", "one_ridge_error", "groups_error")),
        f"{r['goal']:.1e}" + ("" if r["groups_error"] <= r["goal"] else " (missed)"),
        "" if off is None else f"{off:.1%}",
    ]
