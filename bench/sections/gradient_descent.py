"""By what factor sampling and one solve is sooner than gradient descent."""

from ..optimizers import BUDGET, SAMPLED
from ..race import OPTIMIZERS
from ..record import Record

_PUBLISHED = {"LBFGS": 149, "Adam": 572, "AdamW": 576, "Adafactor": 602, "SGD": 573}


def section(records: list[Record]) -> str:
    fits = {r["encoder"]: r for r in records if r["trained_by"] == SAMPLED}
    names = [n for n in dict.fromkeys(r["trained_by"] for r in records) if n != SAMPLED]
    rows = [
        "### Against gradient descent",
        "",
        f"![Error against time: sampling and one solve, and {len(OPTIMIZERS)} optimizers]"
        "(bench/results/optimizers.png)",
        "",
        "By what factor sampling and one solve is sooner at the same error, on the paper's 2x2x2 "
        "lattice of springs, one machine, everything compiled. Each optimizer trains all weights "
        "with the best learning rate, width and start of a grid, chosen in short runs, for "
        f"{BUDGET['invariants']:.0f} s; sampling chooses width and number of snapshots. To "
        "the least error, and to 1.5 times it, stand against a fit as good as the least; with "
        "compilation means counted on both sides, as in a fresh process. A longer run has a "
        "smaller error and a larger factor, a shorter one the reverse; the columns 1e-1 to 1e-3 "
        "count the soonest of all runs, the short ones too (a dash: never). Sampling ends at "
        f"{fits['invariants']['error']:.0e}.",
        "",
        "| trained by | 1e-1 | 1e-2 | 1e-3 | least error | to it | to 1.5 times it "
        "| the same with compilation | published |",
        "|" + "---|" * 9,
        *(_racer(r) for n in names for r in _of(records, "invariants", n)),
        "",
        f"The same, for {BUDGET['paper']:.0f} s, with the paper's encoder (our reading of it), "
        f"where sampling ends at {fits['paper']['error']:.0e} and whoever gets below that wins (a "
        "dash); the others are in [bench/results](bench/results/optimizers.json):",
        "",
        "| trained by | 1e-1 | 1e-2 | 1e-3 | least error | to it | to 1.5 times it "
        "| the same with compilation | published |",
        "|" + "---|" * 9,
        *(_racer(r) for n in _PUBLISHED for r in _of(records, "paper", n)),
    ]
    return "\n".join(rows)


def _of(records: list[Record], encoder: str, name: str) -> list[Record]:
    return [r for r in records if (r["encoder"], r["trained_by"]) == (encoder, name)]


def _racer(record: Record) -> str:
    name = record["trained_by"]
    if record["error"] is None:
        rate = record["diverged"][-1]["learning_rate"]
        return f"| {name} | | | | diverged (learning rate {rate:g}) | | | | |"
    cells = [_factor(record["faster_at"][level]) for level in ("1e-01", "1e-02", "1e-03")]
    cells += [f"{record['error']:.0e}"]
    cells += [_factor(record[k]) for k in ("faster_to_the_least", "faster_by", "with_compilation")]
    cells.append(str(_PUBLISHED.get(name, "")))
    return f"| {name} | " + " | ".join(cells) + " |"


def _factor(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
