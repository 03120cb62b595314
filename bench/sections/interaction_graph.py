"""Section on which bodies interact."""

from ..markdown import rows
from ..record import Record

GOALS = {"springs": 1.0, "charges": 0.99}


def figures(records: list[Record]) -> dict[str, str]:
    return {"table": rows(_row(r) for r in records)}


def _row(record: Record) -> list[str]:
    keys = ("pairs_right", "systems_right")
    shares = [f"{100 * record[key]:.1f}" for key in keys]
    goal, published = GOALS[record["system"]], record["published"]
    missed = "" if record["pairs_right"] >= goal else " (missed)"
    return [
        record["system"], str(record["systems"]), *shares, f"{100 * goal:.0f}{missed}",
        f"{100 * published:.1f}",
    ]  # fmt: skip
