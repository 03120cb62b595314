"""Section on how broken a symmetry is."""

from ..markdown import rows
from ..record import Record


def figures(records: list[Record]) -> dict[str, str]:
    fields = [r for r in records if r["measured"] == "fields"]
    shares = [r for r in records if r["measured"] == "shares"]
    missed = [r["field"] for r in fields if r["groups"] > r["goal"]]
    return {
        "fields": rows(_field(r) for r in fields),
        "shares": rows(
            [
                *(f"{r[key]:.2e}" for key in ("true", "found")),
                _off(r),
                f"{r['parameters']:.1f}",
                f"{r['nats']:.0f}",
            ]
            for r in shares
        ),
        "directions": rows(
            [f"{r['noise']:.0%}", *(f"{r[key]:.1e}" for key in ("electric", "magnetic", "goal"))]
            for r in records
            if r["measured"] == "directions"
        ),
        "missed": "All goals are met" if not missed else f"Missed: {', '.join(missed)}",
        "absent": f"{max(r['greatest_absent'] for r in fields):.0e}",
        "wrong": f"{sum(r['wrong_verdicts'] for r in fields)} of "
        f"{sum(r['verdicts'] for r in fields)}",
        "cost": f"{fields[0]['groups'] / fields[0]['bare']:.1f}",
        "cost_of_one_ridge": f"{fields[0]['one_ridge'] / fields[0]['bare']:.1f}",
    }


def _field(r: Record) -> list[str]:
    errors = (f"{r[key]:.1e}" for key in ("bare", "one_ridge", "groups"))
    goal = f"{r['goal']:.1e}" + ("" if r["groups"] <= r["goal"] else " (missed)")
    return [r["field"], *errors, goal, f"{r['greatest_absent']:.0e}"]


def _off(r: Record) -> str:
    """Relative error of the share found, and whether it misses its goal."""
    off = abs(r["found"] / r["true"] - 1)
    goal = 0.05 if r["strength"] >= 3e-3 else 0.15
    missed = r["strength"] >= 1e-3 and off > goal
    return f"{off:.0%}" + (" (missed)" if missed else "")
