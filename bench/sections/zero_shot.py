"""Accuracy on graphs larger than those of training."""

from ..record import Record

_SHOWN = (
    ("2x2x2", "16x16x16"),
    ("2x2x2", "chain of 64"),
    ("2x2", "100x100"),
    ("3x3", "100x100"),
    ("chain of 8", "16x16x16"),
)


def section(records: list[Record]) -> str:
    rows = [
        "### Zero-shot",
        "",
        "Trained on 1000 independent starts of the small graph, relative force error on five fresh "
        "snapshots of the large one, worst of three potentials (pairs out of range); more sizes "
        "in [bench/results/zero_shot.png](bench/results/zero_shot.png):",
        "",
        "| trained on | used on | uniform starts | normal starts | paper's encoder, uniform |",
        "|---|---|---|---|---|",
    ]
    for case in _SHOWN:
        cells = []
        for features, draw in (
            ("invariants", "uniform"),
            ("invariants", "normal"),
            ("paper", "uniform"),
        ):
            mine = [
                r
                for r in records
                if (r["trained_on"], r["used_on"]) == case
                and (r["features"], r["starts"]) == (features, draw)
            ]
            worst = max(mine, key=lambda r: r["relative_force_error"], default=None)
            cells.append("" if worst is None else f"{worst['relative_force_error']:.0e}")
            if worst is not None and features == "invariants":
                cells[-1] += f" ({worst['pairs_out_of_range']} of {worst['pairs']:,})"
        rows.append(f"| {case[0]} | {case[1]} | " + " | ".join(cells) + " |")
    return "\n".join(rows)
