"""Bodies with an axis: errors of forces and torques, energy over a million steps."""

from ..markdown import rows
from ..record import Record


def figures(records: list[Record]) -> dict[str, str]:
    ellipsoids = [r for r in records if "contact" in r]
    return {
        "errors": rows(_errors(r) for r in records),
        "energies": rows(_energies(r) for r in records),
        "steps": f"{records[0]['steps']:,}",
        "chosen": " and ".join(f"{r['contact']:g}" for r in ellipsoids),
        "systems": " and ".join(r["system"] for r in ellipsoids),
        "candidates": ", ".join(x for x in ellipsoids[-1]["residuals"] if x != "None"),
    }


def _errors(record: Record) -> list[str]:
    errors = (f"{record[f'{name}_error']:.1e}" for name in ("force", "torque"))
    size = f"{record['states']:,}", f"{record['columns']:,}", f"{record['seconds']:.0f}"
    return [record["system"], *errors, *size]


def _energies(record: Record) -> list[str]:
    names = [
        f"energy_{part}_{model}" for model in ("learned", "true") for part in ("first", "last")
    ]
    seconds = (f"{record[f'seconds_{model}']:.0f}" for model in ("learned", "true"))
    lengths = max(record["length_learned"], record["length_true"])
    return [record["system"], *(f"{record[n]:.1e}" for n in names), f"{lengths:.0e}", *seconds]
