"""Section on the accuracy for several potentials."""

from ..markdown import rows
from ..paper_encoder import SAMPLINGS, SNAPSHOTS
from ..potentials import WAYS
from ..record import Record

_INVARIANTS = (*WAYS, "Adam")
_PAPER = (*SAMPLINGS, "Adam")


def figures(records: list[Record]) -> dict[str, str]:
    potentials = list(dict.fromkeys(r["potential"] for r in records))
    return {
        "invariants": rows(_row(records, "invariants", p, _INVARIANTS) for p in potentials),
        "paper": rows(_row(records, "paper", p, _PAPER) for p in potentials),
        "published": rows(_published(records, p) for p in potentials),
        "snapshots": str(SNAPSHOTS),
        "reading": _reading(records),
    }


def _row(records: list[Record], encoder: str, potential: str, ways: tuple[str, ...]) -> list[str]:
    mine = _of(records, encoder, potential)
    first, *others = (f"{mine[way]['relative_mse']:.0e}" for way in ways)
    return [potential, f"**{first}**" if encoder == "invariants" else first, *others]


def _published(records: list[Record], potential: str) -> list[str]:
    mine = _of(records, "paper", potential)
    return [potential, *(f"{mine[way]['published_mse']:.0e}" for way in ("SWIM", "ELM", "Adam"))]


def _of(records: list[Record], encoder: str, potential: str) -> dict[str, Record]:
    wanted = (encoder, potential)
    return {r["sampling"]: r for r in records if (r["encoder"], r["potential"]) == wanted}


def _reading(records: list[Record]) -> str:
    """The reading chosen, and how often."""
    chosen = [r["reading"] for r in records if "reading" in r]
    return ", ".join(
        f"{reading} {chosen.count(reading)} times of {len(chosen)}"
        for reading in dict.fromkeys(sorted(chosen, key=chosen.count, reverse=True))
    )
