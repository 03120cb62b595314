"""Section on sampling and one solve against gradient descent."""

from ..markdown import factor, rows
from ..optimizers import BUDGET, SAMPLED
from ..race import OPTIMIZERS
from ..record import Record

_PUBLISHED = {"LBFGS": 149, "Adam": 572, "AdamW": 576, "Adafactor": 602, "SGD": 573}


def figures(records: list[Record]) -> dict[str, str]:
    fits = {r["encoder"]: r for r in records if r["trained_by"] == SAMPLED}
    names = [n for n in dict.fromkeys(r["trained_by"] for r in records) if n != SAMPLED]
    return {
        "optimizers": str(len([n for n in names if n in OPTIMIZERS])),
        "budget": f"{BUDGET['invariants']:.0f}",
        "error": f"{fits['invariants']['error']:.0e}",
        "race": rows(_racer(r) for n in names for r in of(records, "invariants", n)),
        "paper_budget": f"{BUDGET['paper']:.0f}",
        "paper_error": f"{fits['paper']['error']:.0e}",
        "paper_race": rows(_racer(r) for n in _PUBLISHED for r in of(records, "paper", n)),
    }


def of(records: list[Record], encoder: str, name: str) -> list[Record]:
    return [r for r in records if (r["encoder"], r["trained_by"]) == (encoder, name)]


def _racer(record: Record) -> list[str]:
    name = record["trained_by"]
    if record["error"] is None:
        rate = record["diverged"][-1]["learning_rate"]
        return [name, "", "", "", f"diverged (learning rate {rate:g})", "", "", "", ""]
    return [
        name,
        *(factor(record["faster_at"][level]) for level in ("1e-01", "1e-02", "1e-03")),
        f"{record['error']:.0e}",
        *(factor(record[k]) for k in ("faster_to_the_least", "faster_by", "with_compilation")),
        str(_PUBLISHED.get(name, "")),
    ]
