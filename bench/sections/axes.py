"""Bodies with an axis: errors of forces and torques, energy over a million steps."""

from ..markdown import rows
from ..record import Record

GOAL = 1e-5


def figures(records: list[Record]) -> dict[str, str]:
    ellipsoids = [r for r in records if "contact" in r]
    missed = [r["system"] for r in records if max(r["force_error"], r["torque_error"]) > GOAL]
    return {
        "verdict": f"missed by {', '.join(missed)}" if missed else "reached by all",
        "errors": rows(_errors(r) for r in records),
        "energies": rows(_energies(r) for r in records),
        "steps": f"{records[0]['steps']:,}",
        "contacts": " and ".join(f"{r['contact']} for {r['system']}" for r in ellipsoids),
        "lengths": ", ".join(k for k in ellipsoids[-1]["by_contact"] if k != "None"),
        "ratio": f"{max(r['energy_compressed'] / r['energy_true'] for r in records):.1f}",
        "uncompressed": f"{max(r['energy_learned'] / r['energy_true'] for r in records):.0f}",
        "growth": f"{max(map(_growth, records)):.1f}",
        "held_out": rows([r["system"], _sizes(r)] for r in records),
    }


def _growth(record: Record) -> float:
    """Change of the compressed energy in the last tenth of the steps over that in the first."""
    return float(record["energy_last_compressed"] / record["energy_first_compressed"])


def _errors(record: Record) -> list[str]:
    kinds = "force_error", "torque_error"
    errors = (f"{record[f'{kind}{of}']:.1e}" for of in ("", "_compressed") for kind in kinds)
    size = f"{record['states']:,}", f"{record['columns']:,}", f"{record['seconds']:.0f}"
    return [record["system"], *errors, *size]


def _sizes(record: Record) -> str:
    """Held-out errors of all sizes; the chosen one is bold."""
    each = (
        f"**{name}: {error:.1e}**" if name == record["size"] else f"{name}: {error:.1e}"
        for name, error in record["held_out"].items()
    )
    return "; ".join(each)


def _energies(record: Record) -> list[str]:
    models = ("compressed", "true", "learned")
    changes = [f"{record[f'energy_{part}_{m}']:.1e}" for m in models for part in ("first", "last")]
    seconds = (f"{record[f'seconds_{model}']:.0f}" for model in models)
    lengths = max(record[f"length_{model}"] for model in models)
    return [record["system"], *changes, f"{lengths:.0e}", *seconds]
