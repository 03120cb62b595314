"""Classes of nodes by gradient flows."""

from ..markdown import rows
from ..record import Record

PUBLISHED = {
    "texas": ((88.4, 4.5), (88.1, 5.6)),
    "wisconsin": ((87.5, 2.9), (88.8, 3.3)),
    "cornell": ((83.2, 6.5), (84.1, 6.1)),
    "film": ((36.1, 0.8), (37.1, 1.1)),
    "squirrel": ((54.5, 1.4), (47.4, 1.9)),
    "chameleon": ((71.1, 1.8), (66.8, 1.3)),
    "citeseer": ((76.9, 1.7), (77.3, 1.9)),
    "cora": ((87.6, 1.0), (88.0, 1.0)),
}
"""GRAFF with a diagonally dominant and with a diagonal W: accuracy and its deviation (%)."""
GOALS = {"squirrel": 62.0, "chameleon": 71.5}


def figures(records: list[Record]) -> dict[str, str]:
    named = {r["data"]: r for r in records}
    compared = [name for name in PUBLISHED if name in named]
    reached = [name for name in compared if _within(named[name])]
    missed = [_title(name) for name in compared if name not in reached]
    return {
        "table": rows(_row(r) for r in records),
        "compared": str(len(compared)),
        "reached": str(len(reached)),
        "missed": f"; it is missed on {', '.join(missed)}" if missed else "",
        "absent": _absent([_title(name) for name in PUBLISHED if name not in named]),
        "goals": " and ".join(
            f"{_title(name)} ({'reached' if _accuracy(named[name]) >= goal else 'missed'})"
            for name, goal in GOALS.items()
            if name in named
        ),
    }


def _absent(names: list[str]) -> str:
    return f" {' and '.join(names)} of that table was not measured." if names else ""


def _accuracy(record: Record) -> float:
    """Test accuracy of the readout that validation chose (%)."""
    return 100 * float(record[record["chosen"]]["test"])


def _within(record: Record) -> bool:
    """True if GRAFF's better variant is at most one of its standard deviations above ours."""
    mean, deviation = max(PUBLISHED[record["data"]])
    return _accuracy(record) >= mean - deviation


def _row(record: Record) -> list[str]:
    name = record["data"]
    published = [f"{m:.1f} ± {d:.1f}" for m, d in PUBLISHED.get(name, ())] or ["", ""]
    cells = []
    for readout in ("no_flow", "linear", "nonlinear"):
        best = record[readout]
        cell = f"{100 * best['test']:.1f} ± {100 * best['deviation']:.1f}"
        cells.append(f"**{cell}**" if readout == record["chosen"] else cell)
    chosen = record[record["chosen"]]
    bank, seconds = ", ".join(chosen["bank"]), f"{chosen['seconds']:.2g}"
    features = chosen["features"] + (", biases" if chosen["bias"] else "")
    return [_title(name), f"{record['homophily']:.2f}", *published, *cells, features, bank, seconds]


def _title(name: str) -> str:
    plain, _, filtered = name.partition("_")
    return plain.capitalize() + (f", {filtered}" if filtered else "")
