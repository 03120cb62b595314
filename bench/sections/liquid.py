"""Section on a liquid learned from two snapshots."""

from ..markdown import rows
from ..record import Record

_STATES = ("same state", "larger", "hot, dilute")


def figures(records: list[Record]) -> dict[str, str]:
    best = [
        r for r in records
        if (r["truth"], r["training"], r["sampling"]) == ("smoothed", "liquid and melt", "SWIM")
    ]  # fmt: skip
    errors = {(r["units"], r["used_on"]): r for r in best if r["used_on"] != "rollout"}
    (motion,) = (r for r in best if r["used_on"] == "rollout")
    return {
        "atoms": str(errors[min(errors)]["atoms"]),
        "errors": rows(
            [str(units), *(_cell(errors[units, state]) for state in _STATES)]
            for units in sorted({units for units, _ in errors})
        ),
        "shifted": f"{_elm(records, 'force-shifted'):.0e}",
        "smoothed": f"{_elm(records, 'smoothed', 'liquid and melt'):.0e}",
        "steps": f"{motion['steps']:,}",
        "difference": f"{motion['max_difference_of_g']:.3f}",
        "halves": f"{motion['of_halves_of_the_true_run']:.3f}",
    }


def _cell(r: Record) -> str:
    return f"{r['relative_force_error']:.0e} ({r['out_of_range']})"


def _elm(records: list[Record], truth: str, training: str | None = None) -> float:
    return max(
        r["relative_force_error"] for r in records
        if (r["sampling"], r["truth"]) == ("ELM", truth) and training in (None, r["training"])
    )  # fmt: skip
