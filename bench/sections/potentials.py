"""Accuracy by potential."""

from ..record import Record


def section(records: list[Record]) -> str:
    ways = [("invariants", way) for way in ("ELM", "SWIM", "SWIM, two passes", "Adam")]
    ways += [("paper", way) for way in ("SWIM", "ELM", "Adam")]
    rows = [
        "### Potentials",
        "",
        "Gradients on the paper's 2x2x2 lattice, mean square error over mean square, median over "
        "seeds (default in bold). Adam trains all weights with the best width, start and rate, "
        "one seed, for the time of the race above. The encoder of the paper is our reading of it, "
        "on data drawn by us; the paper's own figures are absolute:",
        "",
        "| potential | **invariants, ELM** | SWIM | SWIM, two passes | Adam "
        "| paper's encoder, SWIM | ELM, scale 0.3 | Adam | published SWIM | ELM | Adam |",
        "|" + "---|" * 11,
    ]
    for potential in dict.fromkeys(r["potential"] for r in records):
        mine = {(r["encoder"], r["sampling"]): r for r in records if r["potential"] == potential}
        cells = [mine[way]["relative_mse"] for way in ways]
        cells += [mine[way]["published_mse"] for way in ways[4:]]
        shown = [f"{c:.0e}" for c in cells]
        shown[0] = f"**{shown[0]}**"
        rows.append(f"| {potential} | " + " | ".join(shown) + " |")
    return "\n".join(rows)
