"""Section on layers, and on frames of the paper's encoder."""

from ..depth import EACH, RADIAL, SEEDS, TEST, TRAIN, UNITS
from ..markdown import rows
from ..record import Record


def figures(records: list[Record], frames: list[Record]) -> dict[str, str]:
    def of(kind: str) -> list[Record]:
        return [r for r in records if r["measured"] == kind]

    return {
        "radial": str(RADIAL),
        "units": str(UNITS),
        "train": str(TRAIN),
        "test": str(TEST),
        "seeds": str(SEEDS),
        "depths": rows(
            [
                r["target"],
                str(r["layers"]),
                f"{r['force_error']:.0e}",
                f"{r['median_error']:.0e}",
                f"{r['pairs_of_equal_width']:.0e}",
                f"{r['residual']:.0e}",
                _rank(r),
                f"{r['cancellation']:.0e}",
                f"{r['seconds']:.1f}",
            ]
            for r in of("depth")
        ),
        "widths": rows(
            [
                str(r["units"]),
                f"{r['force_error']:.0e}",
                f"{r['residual']:.0e}",
                _rank(r),
                f"{r['cancellation']:.0e}",
            ]
            for r in of("width")
        ),
        "others": rows(
            [r["target"], r["features"], str(r["columns"]), f"{r['force_error']:.0e}"]
            for r in of("others")
        ),
        "each": str(EACH),
        "frames": rows(
            [
                *(
                    [f["frame"], f"{f['force_error']:.2f}", f"{f['largest_step']:.4f}"]
                    for f in frames
                ),
                ["the true energy", "", f"{frames[0]['largest_step_of_the_truth']:.4f}"],
            ]
        ),
    }


def _rank(record: Record) -> str:
    return f"{record['rank']} / {record['columns']}"
