"""Section on five charges in space."""

from ..markdown import rows
from ..record import Record

PUBLISHED = (
    ("Linear", "0.0819"),
    ("SE(3)-Transformer", "0.0244"),
    ("Tensor field network", "0.0155"),
    ("Graph network", "0.0107"),
    ("Radial field", "0.0104"),
    ("EGNN", "0.0071"),
    ("Frame averaging", "0.0057"),
    ("SEGNN", "0.0043"),
    ("Multivector neurons", "0.0035"),
)
"""Mean square errors as published, with 3000 training trajectories each."""


def figures(records: list[Record], two_frames: list[Record]) -> dict[str, str]:
    best = [r for r in records if r["law"] == "learned, tails"]
    hundred = next(r for r in best if r["trajectories"] == 100)
    bare = next(r for r in records if r["law"] == "learned" and r["trajectories"] == 100)
    (ends,) = two_frames
    return {
        "published": rows(PUBLISHED),
        "table": rows(
            [
                *(_row(_law(r), str(r["trajectories"] or ""), r) for r in records),
                _row(
                    "learned from frames 30 and 40, tails",
                    f"{ends['samples']} and {ends['for_the_cut']}",
                    ends,
                ),
            ]
        ),
        "samples": str(ends["samples"]),
        "for_the_cut": str(ends["for_the_cut"]),
        "steps": str(len(ends["median_misfits"])),
        "ends_mean": f"{ends['mean']:.0e}",
        "ends_below_egnn": f"{0.0071 / ends['mean']:,.0f}",
        "ends_goals": "met" if ends["mean"] <= 3e-4 and ends["median"] <= 1e-7 else "missed",
        "starts": f"{records[0]['starts']:,}",
        "share": f"{records[0]['close_encounters']:.0%}",
        "mean": f"{hundred['mean']:.0e}",
        "factor": f"{bare['mean'] / hundred['mean']:,.0f}",
        "below_egnn": f"{0.0071 / hundred['mean']:,.0f}",
        "exponents": f"{max(abs(r['exponent'] + 2) for r in best):.0e}",
        "goals": "met" if hundred["mean"] <= 2e-4 and hundred["median"] <= 1e-9 else "missed",
    }


def _law(r: Record) -> str:
    return r["law"] if r["law"] != "true" else f"the true law, steps of {r['step']:g}"


def _row(law: str, trajectories: str, r: Record) -> list[str]:
    figures = (r["mean"], r["median"], r["mean_without"])
    return [law, trajectories, *(f"{figure:.0e}" for figure in figures)]
