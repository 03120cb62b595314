"""Data as they were measured."""

from ..markdown import rows
from ..record import Record

KNOWN = 0.1
"""Greatest deviation over its value of a mass that counts as determined."""


def figures(records: list[Record]) -> dict[str, str]:
    masses = [r for r in records if r.get("measured") == "masses"]
    records = [r for r in records if "measured" not in r]
    ratios = [ratio for r in records for ratio in r["over_deviation"]]
    return {
        "table": rows(_row(r) for r in records),
        "least": f"{min(ratios):.2f}",
        "greatest": f"{max(ratios):.2f}",
        "outside": str(sum(not 0.3 <= ratio <= 1.8 for ratio in ratios)),
        "fits": str(len(ratios)),
        "slowest": f"{max(r['refine_seconds'] for r in records):.0f}",
        "masses": rows(_mass_row(r) for r in masses if "noise" in r),
        **{name: text for r in masses if "bodies" in r for name, text in _planets(r).items()},
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


def _mass_row(r: Record) -> list[str]:
    error, goal = r["greatest_error"], r["goal"]
    reached = goal is None or error <= goal
    return [
        f"{r['noise']:.1%}",
        f"{error:.2%}" + _goal(None if goal is None else f"{goal:.0%}", reached),
        f"{r['errors_over_deviations']:.1f}",
    ]


def _planets(r: Record) -> dict[str, str]:
    errors = dict(zip(r["bodies"], r["errors"]))
    known = [
        body
        for body, deviation in zip(r["bodies"], r["deviations"])
        if deviation is not None and deviation < KNOWN * (1 + errors[body])
    ]
    return {
        "planets": ", ".join(f"{body} {abs(errors[body]):.0e}" for body in known),
        "known": f"{KNOWN:.0%}",
        "not_known": ", ".join(
            f"{body} ({1 + error:.2g} times the true mass)"
            for body, error in errors.items()
            if body not in known
        )
        or "none",
        "giants": f"{r['greatest_error']:.2%}"
        + _goal(f"{r['goal']:.0%}", r["greatest_error"] <= r["goal"]),
        "planet_minutes": f"{r['refine_seconds'] / 60:.0f}",
    }


def _goal(goal: str | None, reached: bool) -> str:
    return "" if goal is None else f" (goal {goal}{'' if reached else ', missed'})"
