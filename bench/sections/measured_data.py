"""Data as they were measured."""

from ..markdown import rows
from ..record import Record


def figures(records: list[Record]) -> dict[str, str]:
    ratios = [ratio for r in records for ratio in r["over_deviation"]]
    return {
        "table": rows(_row(r) for r in records),
        "least": f"{min(ratios):.2f}",
        "greatest": f"{max(ratios):.2f}",
        "outside": str(sum(not 0.3 <= ratio <= 1.8 for ratio in ratios)),
        "fits": str(len(ratios)),
        "slowest": f"{max(r['refine_seconds'] for r in records):.0f}",
    }


def _row(r: Record) -> list[str]:
    one, goal = r["one_solve"], r["goal_one_solve"]
    over, most = r["refined_over_bound"], r["goal_over_bound"]
    return [
        r["system"],
        r["measured_are"],
        str(r["samples_per_period"]),
        f"{r['noise']:.0%}",
        f"{one:.1e}" + _goal(None if goal is None else f"{goal:.0e}", goal is None or one <= goal),
        f"{r['refined']:.1e}",
        f"{r['bound']:.1e}",
        f"{over:.2f}" + _goal(f"{most:.1f}", over <= most),
    ]


def _goal(goal: str | None, reached: bool) -> str:
    return "" if goal is None else f" (goal {goal}{'' if reached else ', missed'})"
