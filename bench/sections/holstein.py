"""Charge-density waves on lattices."""

from ..markdown import rows
from ..record import Record

GOALS = {("patch, D4", 12): 0.27, ("walks of 64", 12): 0.045, ("walks of 64", 24): 0.03}


def figures(records: list[Record]) -> dict[str, str]:
    densities = [r for r in records if r["measured"] == "density"]
    couplings = [r for r in records if r["measured"] == "coupling"]
    quenches = {r["model"]: r for r in records if r["measured"] == "quench"}
    right = sum(r["found"] == r["true"] for r in couplings)
    return {
        "table": rows(_row(r) for r in densities),
        "goals": "; ".join(_goal(densities, *key) for key in GOALS),
        "right": f"{right} of {len(couplings)}",
        "nats": f"{min(r['nats'] for r in couplings):.0f}",
        "weak": "; ".join(_weak(r) for r in records if r["measured"] == "weak"),
        "runs": str(len(quenches["exact"]["order"][0])),
        "quench": rows(_quench(r) for name, r in quenches.items() if name != "exact"),
    }


def _row(record: Record) -> list[str]:
    errors = (f"{record[f'error_{size}']:.1%}" for size in (12, 24, 48))
    return [record["model"], str(record["columns"]), str(record["configurations"]), *errors]


def _weak(record: Record) -> str:
    errors = (f"{record[f'error_{size}']:.1%} on {size} x {size}" for size in (12, 24))
    return f"{record['model']}, {' and '.join(errors)}"


def _goal(records: list[Record], model: str, size: int) -> str:
    """Which numbers of states reach a goal."""
    goal, key = GOALS[model, size], f"error_{size}"
    own = [r for r in records if r["model"] == model]
    reached = [str(r["configurations"]) for r in own if r[key] <= goal]
    which = f"reached with {', '.join(reached)}" if reached else "missed"
    return f"{model} on {size} x {size}, {goal:.1%}: {which}"


def _quench(record: Record) -> list[str]:
    cells = [record["model"]]
    for key in ("domain_size", "order"):
        cells += [f"{record[f'{key}_within']:.0%}", f"{record[f'{key}_distance']:.1f}"]
    return cells
