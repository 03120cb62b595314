"""Section on the accuracy for several potentials."""

from ..markdown import rows
from ..record import Record

_INVARIANTS = [("invariants", way) for way in ("ELM", "SWIM", "SWIM, two passes", "Adam")]
_PAPER = [("paper", way) for way in ("SWIM", "ELM", "Adam")]


def figures(records: list[Record]) -> dict[str, str]:
    potentials = list(dict.fromkeys(r["potential"] for r in records))
    return {"errors": rows(_row(records, potential) for potential in potentials)}


def _row(records: list[Record], potential: str) -> list[str]:
    mine = {(r["encoder"], r["sampling"]): r for r in records if r["potential"] == potential}
    first, *others = (f"{mine[way]['relative_mse']:.0e}" for way in (*_INVARIANTS, *_PAPER))
    published = (f"{mine[way]['published_mse']:.0e}" for way in _PAPER)
    return [potential, f"**{first}**", *others, *published]
