"""Section on sampling and one solve against gradient descent."""

from collections.abc import Iterable, Iterator

from ..markdown import factor, rows
from ..optimizers import BUDGET, OF_PAPER, SAMPLED
from ..race import OPTIMIZERS
from ..record import Record

_PUBLISHED = {"LBFGS": 149, "Adam": 572, "AdamW": 576, "Adafactor": 602, "SGD": 573}


def figures(records: list[Record]) -> dict[str, str]:
    fits = {r["encoder"]: r for r in records if r["trained_by"] == SAMPLED}
    measured = dict.fromkeys(r["trained_by"] for r in records)
    names = [n for n in measured if n not in (SAMPLED, *OPTIMIZERS)] + list(OPTIMIZERS)
    return {
        "optimizers": str(len(measured.keys() & OPTIMIZERS.keys())),
        "budget": f"{BUDGET['invariants']:.0f}",
        "error": f"{fits['invariants']['error']:.0e}",
        "race": rows(_race(records, "invariants", names)),
        "paper_budget": f"{BUDGET['paper']:.0f}",
        "paper_error": f"{fits['paper']['error']:.0e}",
        "paper_race": rows(_race(records, "paper", OF_PAPER)),
    }


def of(records: list[Record], encoder: str, name: str) -> list[Record]:
    return [r for r in records if (r["encoder"], r["trained_by"]) == (encoder, name)]


def _race(records: list[Record], encoder: str, names: Iterable[str]) -> Iterator[list[str]]:
    for name in names:
        found = of(records, encoder, name)
        yield _racer(found[0]) if found else [name, *[""] * 3, "not measured yet", *[""] * 4]


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
