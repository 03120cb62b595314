"""The NeurIPS 2022 benchmark."""

from ..record import Record


def section(records: list[Record]) -> str:
    cases = list(dict.fromkeys((r["system"], r["nodes"]) for r in records))
    names = {"springs": "springs", "gravity": "bodies under gravity"}
    rows = [
        "### The NeurIPS 2022 benchmark",
        "",
        "![Error of positions over time](bench/results/physics_informed_gnns.png)",
        "",
        "Springs and gravity of arXiv 2211.05520, regenerated; rollouts of 10 time units from "
        "fresh starts, relative error of positions |a - b| / (|a| + |b|), geometric mean over 20 "
        "rollouts and over time; one model for all numbers of springs. HGNN: a Hamiltonian graph "
        "network of the suite's kind, trained by Adam in this library for a small part of the "
        "suite's 10,000 epochs. Last row: the suite's own code and tests, run to the end "
        "elsewhere:",
        "",
        "| | parameters | "
        + " | ".join(f"{n} {names[s]}" for s, n in cases)
        + " | training, of ours | all 10,000 epochs (extrapolated) |",
        "|" + "---|" * (4 + len(cases)),
    ]
    ours = {r["system"]: r["training_seconds"] for r in records if r["model"] == "random features"}
    for model in dict.fromkeys(r["model"] for r in records):
        mine = {(r["system"], r["nodes"]): r for r in records if r["model"] == model}
        first = mine[cases[0]]
        cells = [f"{mine[c]['position_error_gm']:.0e}" for c in cases]
        epochs = first.get("seconds_extrapolated_to_10000_epochs")
        rows.append(
            f"| {model}{_share(first)} | {first['parameters']:,} | " + " | ".join(cells)
            + f" | {first['training_seconds'] / ours['springs']:.0f} x | "
            + ("" if epochs is None else f"{epochs / ours['springs']:,.0f} x") + " |"
        )  # fmt: skip
    suite = {r["nodes"]: r["suite"]["position_error_gm"] for r in records if r["suite"]}
    cells = [f"{suite[n]:.0e}" if s == "springs" else "" for s, n in cases]
    rows.append("| the suite's own HGNN, 10,000 epochs | 694 | " + " | ".join(cells) + " | | |")
    return "\n".join(rows)


def _share(record: Record) -> str:
    epochs = record["details"].get("epochs")
    return "" if epochs is None else f", {epochs} epochs"
