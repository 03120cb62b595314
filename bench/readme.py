"""Writes the README's figures from the results of the other scripts."""

import argparse
import json
from pathlib import Path
from typing import Any

NAMES = (
    "potentials",
    "zero_shot",
    "invariance",
    "energy_drift",
    "solar_system",
    "fit_time",
    "cold_start",
)
README = Path(__file__).parent.parent / "README.md"
START, END = "<!-- figures -->", "<!-- /figures -->"

Results = dict[str, list[dict[str, Any]]]


def figures(results: Results) -> str:
    """The section as Markdown."""
    return "\n\n".join(
        [
            _potentials(results["potentials"]),
            _zero_shot(results["zero_shot"]),
            _planets(results["solar_system"]),
            _rest(results),
        ]
    )


def _potentials(records: list[dict[str, Any]]) -> str:
    rows = [
        "Gradients on the paper's 2x2x2 lattice, mean square error over mean square, median over "
        "seeds (default in bold). The encoder of the paper is our reading of it, on data drawn by "
        "us; the paper's own figures are absolute:",
        "",
        "| potential | **invariants, ELM** | SWIM | SWIM, two passes "
        "| paper's encoder, SWIM | ELM | published SWIM | ELM |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for potential in dict.fromkeys(r["potential"] for r in records):
        mine = {(r["encoder"], r["sampling"]): r for r in records if r["potential"] == potential}
        default, *others = (
            mine["invariants", way]["relative_mse"] for way in ("ELM", "SWIM", "SWIM, two passes")
        )
        others += [mine["paper", way]["relative_mse"] for way in ("SWIM", "ELM")]
        others += [mine["paper", way]["published_mse"] for way in ("SWIM", "ELM")]
        rows.append(f"| {potential} | **{default:.0e}** | " + " | ".join(f"{c:.0e}" for c in others)
                    + " |")  # fmt: skip
    return "\n".join(rows)


def _zero_shot(records: list[dict[str, Any]]) -> str:
    rows = [
        "Zero-shot: trained on 1000 independent starts of the small graph, relative force error on "
        "five fresh snapshots of the large one, worst of three potentials (pairs out of range):",
        "",
        "| trained on | used on | uniform starts | normal starts |",
        "|---|---|---|---|",
    ]
    for case in dict.fromkeys((r["trained_on"], r["used_on"]) for r in records):
        cells = []
        for draw in ("uniform", "normal"):
            mine = [
                r for r in records if (r["trained_on"], r["used_on"], r["starts"]) == (*case, draw)
            ]
            worst = max(mine, key=lambda r: r["relative_force_error"])
            cells.append(
                f"{worst['relative_force_error']:.0e} ({worst['pairs_out_of_range']} of "
                f"{worst['pairs']:,})"
            )
        rows.append(f"| {case[0]} | {case[1]} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _planets(records: list[dict[str, Any]]) -> str:
    records = [r for r in records if r["sun_weight"] < 1]
    seeds = len({r["seed"] for r in records})
    years = records[0]["years"]
    rows = [
        "The solar system, trained 1990-1999 with the Sun's rows down-weighted by 1000, tested on "
        f"the {years:.1f} years after (worst of {seeds} seeds; position: greatest heliocentric "
        "error in AU):",
        "",
        "| | acceleration against DE421 | against Newton | position | Newton's own position |",
        "|---|---|---|---|---|",
    ]
    for body in dict.fromkeys(r["body"] for r in records):
        mine = [r for r in records if r["body"] == body]
        cells = []
        for key in (
            "acceleration_against_de421",
            "acceleration_against_newton",
            "position_error_au",
            "newton_position_error_au",
        ):
            worst = max((r[key] for r in mine if r[key] is not None), default=None)
            cells.append("" if worst is None else f"{worst:.0e}")
        rows.append(f"| {body} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _rest(results: Results) -> str:
    moved = [
        r[k]
        for r in results["invariance"]
        if r["encoder"] == "invariants"
        for k in ("rotation", "reflection", "translation", "permutation")
    ]
    ratios = [
        r["amplitude_over_true"]
        for r in results["energy_drift"]
        if r["amplitude_over_true"] is not None
    ]
    steps = results["energy_drift"][0]["steps"]
    drifts = [abs(r["drift_per_run"]) / r["its_standard_error"] for r in results["energy_drift"]]
    fit = {r["what"]: r for r in results["fit_time"] if r["dtype"] == "float64"}
    single = {r["what"]: r for r in results["fit_time"] if r["dtype"] == "float32"}
    return "\n".join(
        [
            "- Rotating, reflecting, translating or permuting the input moves the energy by at "
            f"most {max(moved):.0e} of its standard deviation.",
            f"- {steps:,} Stoermer-Verlet steps: the learned energy's error has {min(ratios):.3f} "
            f"to {max(ratios):.3f} times the true one's amplitude; the linear drift of either is "
            f"at most {max(drifts):.1f} standard errors from zero.",
            f"- `fit` on {fit['fit']['rows']:,} rows x {fit['fit']['columns']} columns takes "
            f"{fit['fit']['over_gram']:.1f} times a jitted Z^T Z of that shape (float32: "
            f"{single['fit']['over_gram']:.1f} times, to a relative MSE of "
            f"{single['fit']['relative_mse']:.0e}), and "
            f"{fit['fit']['seconds'] / fit['Z^T Z of both systems']['seconds']:.1f} times the "
            "products of the two systems, kinetic and pair, that it solves.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no effect: quick results stay out")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    folder = parser.parse_args().out
    results = {name: json.loads((folder / f"{name}.json").read_text()) for name in NAMES}
    if any(r[0]["environment"]["quick"] for r in results.values()):
        print("quick results: README left as it is")
        return
    before, rest = README.read_text().split(START)
    _, after = rest.split(END)
    README.write_text(f"{before}{START}\n{figures(results)}\n{END}{after}")
    print("wrote README.md")


if __name__ == "__main__":
    main()
