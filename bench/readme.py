"""Writes the README's figures from the results of the other scripts."""

import argparse
import json
from pathlib import Path
from typing import Any

from .optimizers import BUDGET, SAMPLED
from .race import OPTIMIZERS

NAMES = (
    "optimizers",
    "potentials",
    "zero_shot",
    "molecular_dynamics",
    "physics_informed_gnns",
    "invariance",
    "rollout",
    "energy_drift",
    "integrators",
    "solar_system",
    "fit_time",
    "least_squares",
    "cold_start",
)
FILES = (*NAMES, "h200/rollout")
README = Path(__file__).parent.parent / "README.md"
START, END = "<!-- figures -->", "<!-- /figures -->"

Record = dict[str, Any]
Results = dict[str, list[Record]]


def figures(results: Results) -> str:
    """The section as Markdown."""
    return "\n\n".join(
        [
            _race(results["optimizers"]),
            _potentials(results["potentials"]),
            _zero_shot(results["zero_shot"]),
            _liquid(results["molecular_dynamics"]),
            _benchmark(results["physics_informed_gnns"]),
            _planets(results["solar_system"]),
            _least_squares(results["least_squares"]),
            _rollouts(results["rollout"], results["h200/rollout"]),
            _energies(results["energy_drift"], results["integrators"]),
            _rest(results),
        ]
    )


_PUBLISHED = {"LBFGS": 149, "Adam": 572, "AdamW": 576, "Adafactor": 602, "SGD": 573}


def _race(records: list[Record]) -> str:
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


def _potentials(records: list[Record]) -> str:
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


_SHOWN = (
    ("2x2x2", "16x16x16"),
    ("2x2x2", "chain of 64"),
    ("2x2", "100x100"),
    ("3x3", "100x100"),
    ("chain of 8", "16x16x16"),
)


def _zero_shot(records: list[Record]) -> str:
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


def _liquid(records: list[Record]) -> str:
    best = [r for r in records if (r["truth"], r["training"], r["sampling"])
            == ("smoothed", "liquid and melt", "SWIM")]  # fmt: skip
    errors = [r for r in best if r["used_on"] != "rollout"]
    places = list(dict.fromkeys(r["used_on"] for r in errors))
    rows = [
        "### Lennard-Jones liquid",
        "",
        "![Error of the learned pair force, and the radial distribution function]"
        "(bench/results/molecular_dynamics.png)",
        "",
        f"{errors[0]['atoms']} atoms, periodic, edges by cutoff from a neighbour list, learned "
        "from two snapshots, of the liquid and of the hotter melt it was cooled from, with "
        "`Pair(units, sampling=Swim(floor=0.05), cutoff=2.5)`: relative force error (pairs out of "
        "range). The truth is smoothed from 2.0 to the cutoff at 2.5; the model's envelope knows "
        "the cutoff, not where the smoothing sets in:",
        "",
        "| units | " + " | ".join(_LIQUIDS[p] for p in places) + " |",
        "|" + "---|" * (1 + len(places)),
    ]
    for units in sorted({r["units"] for r in errors}):
        of = {r["used_on"]: r for r in errors if r["units"] == units}
        cells = [f"{of[p]['relative_force_error']:.0e} ({of[p]['out_of_range']})" for p in places]
        rows.append(f"| {units} | " + " | ".join(cells) + " |")
    shifted = [r["relative_force_error"] for r in records if r["truth"] == "force-shifted"
               and r["sampling"] == "ELM"]  # fmt: skip
    (motion,) = (r for r in best if r["used_on"] == "rollout")
    rows += [
        "",
        "What limits it is the jump of the second derivative where the smoothing sets in: with the "
        "default sampling a force-shifted truth, which has none, is learned to "
        f"{max(shifted):.0e}, the smoothed one to {_elm(records):.0e}. Over {motion['steps']:,} "
        "steps from one start, the learned and the true radial distribution function differ by at "
        f"most {motion['max_difference_of_g']:.3f}, the two halves of the true run by "
        f"{motion['of_halves_of_the_true_run']:.3f}.",
    ]
    return "\n".join(rows)


def _elm(records: list[Record]) -> float:
    return max(r["relative_force_error"] for r in records if r["sampling"] == "ELM"
               and (r["truth"], r["training"]) == ("smoothed", "liquid and melt"))  # fmt: skip


_LIQUIDS = {
    "same state": "same state",
    "larger": "10,976 atoms",
    "hot, dilute": "density 0.7, temperature 1.5",
}


def _benchmark(records: list[Record]) -> str:
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


def _planets(records: list[Record]) -> str:
    records = [r for r in records if r["sweep"] == "main" and r["sun_weight"] < 1]
    seeds = len({r["seed"] for r in records})
    years = records[0]["years"]
    rows = [
        "### Planets",
        "",
        "Trained 1990-1999 with the Sun's rows down-weighted by 1000, tested on "
        f"the {years:.1f} years after (worst of {seeds} seeds; position: greatest heliocentric "
        "error in AU); fewer units or years: "
        "[bench/results/solar_system.png](bench/results/solar_system.png):",
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


def _least_squares(records: list[Record]) -> str:
    rows = [
        "### Least squares",
        "",
        "![Time, solvers side by side, accuracy, the choice of the ridge]"
        "(bench/results/least_squares.png)",
        "",
        "One core (the stream and the second process: a core each). Z^T Z is a jitted product of "
        "the same shape. Errors over standard deviations are root mean squares on unseen data, "
        "springs with noise on velocities and forces, uniform weights:",
        "",
        "| | reached | goal |",
        "|---|---|---|",
    ]
    for goal in (r for r in records if r["case"] == "goal"):
        value = goal["value"]
        shown = "failed" if value is None else f"{value:.1e}" if value < 1e-3 else f"{value:.2f}"
        missed = "" if goal["met"] else " (missed)"
        rows.append(f"| {goal['what']} | {shown}{missed} | {goal['goal']} |")
    other = [
        f"{r['what'].replace(',', ' with', 1)} {r['details']['rms']['force']:.1f}"
        for r in records
        if r["case"] == "calibration" and not r["what"].startswith("springs, uniform")
    ]
    rows += [
        "",
        "Standard deviations of forces are overconfident where the model is wrong, or the weights "
        f"do not suit the noise; error over standard deviation: {'; '.join(other)}.",
    ]
    return "\n".join(rows)


def _rollouts(records: list[Record], on_h200: list[Record]) -> str:
    kinds = {k: [r for r in records if r["measured"] == k] for k in ("time", "precision", "curve")}
    time = {(r["system"], r["bodies"], r["hamiltonian"]): r for r in kinds["time"]}
    rows = [
        "### Rollouts",
        "",
        "![Time of a body's step against the number of bodies](bench/results/rollout.png)",
        "",
        "Stoermer-Verlet steps, two cores, side by side in one process, without compilation; the "
        "liquid's include finding neighbours anew (cutoff 2.5, skin 0.4). Learned with 256 units, "
        "and compressed to a relative error of 1e-6; jax-md with its own potential, list and "
        "integrator, from the same state. Times of a step over one another:",
        "",
        "| | bodies | compressed / true | compressed / jax-md | learned / compressed |",
        "|---|---|---|---|---|",
    ]
    for system, bodies in dict.fromkeys((r["system"], r["bodies"]) for r in kinds["time"]):

        def over(a: str, b: str, of: tuple[str, int] = (system, bodies)) -> str:
            pair = [time.get((*of, name)) for name in (a, b)]
            if None in pair:
                return ""
            first, second = (r["nanoseconds_per_body_step"] for r in pair if r)
            return f"{first / second:.2f}" if first < 10 * second else f"{first / second:.0f}"

        cells = (
            over("compressed", "true"),
            over("compressed", "jax-md"),
            over("learned", "compressed"),
        )
        rows.append(f"| {system} | {bodies:,} | " + " | ".join(cells) + " |")
    million = [r for r in kinds["time"] if "times_10648_bodies" in r]
    memory = ", ".join(f"{r['hamiltonian']} {r['peak_gib']:.1f}" for r in million)
    growth = ", ".join(f"{r['hamiltonian']} {r['times_10648_bodies']:.2f}" for r in million)
    scans = [r for r in records if r.get("times_lax.scan by hand")]
    scan = ", ".join(f"{r['times_lax.scan by hand']:.2f} ({r['bodies']:,})" for r in scans)
    curves = "; ".join(
        f"{r['system']}, {r['energy']}: {r['form']}, {r['stated_error']:.0e}"
        for r in kinds["curve"]
    )
    rows += [
        "",
        f"- A lattice of {million[0]['bodies']:,} bodies takes GiB: {memory}. A body's step there "
        f"takes that of 10,648 bodies times: {growth}.",
        f"- `hgn.rollout` over a `lax.scan` of the same step by hand, by bodies: {scan}.",
        f"- The curves, with the greatest error of their force: {curves}.",
        f"- {_h200(on_h200)}",
        "",
        "Precision: the same in float32. Random units cancel, so that a learned model in float32 "
        "follows other forces; the curve made from it in float64 does not. Errors of all forces "
        "against float64, and deviation and change of the energy, relative to the kinetic one:",
        "",
        "| | steps | Hamiltonian | force error by float32 | energy deviates | changes | time "
        "over float64's |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in kinds["precision"]:
        name, *narrow = r["hamiltonian"].split(", ")
        wide = next(
            w for w in kinds["precision"] if (w["system"], w["hamiltonian"]) == (r["system"], name)
        )
        error = f"{r['force_error_of_the_shortening']:.0e}" if narrow else ""
        over_wide = r["nanoseconds_per_body_step"] / wide["nanoseconds_per_body_step"]
        rows.append(
            f"| {r['system']}, {r['bodies']} | {r['steps']:,} | {r['hamiltonian']} | {error} "
            f"| {r['energy_deviation']:.0e} | {r['energy_change']:.0e} "
            f"| {f'{over_wide:.2f}' if narrow else ''} |"
        )
    return "\n".join(rows)


def _h200(records: list[Record]) -> str:
    """Nanoseconds of a body's step."""
    sizes: dict[int, list[str]] = {}
    for r in records:
        shown = f"{r['hamiltonian']} {r['nanoseconds_per_body_step']:.3g}"
        sizes.setdefault(r["bodies"], []).append(shown)
    liquids = "; ".join(f"{n:,} atoms: {', '.join(shown)}" for n, shown in sizes.items())
    return (
        f"The liquid on one {records[0]['environment']['device']}, nanoseconds of an atom's step: "
        f"{liquids} (commit {records[0]['commit']}; what followed has not been timed there)."
    )


def _energies(drifts: list[Record], integrators: list[Record]) -> str:
    steps, starts = drifts[0]["steps"], drifts[0]["starts"]
    rows = [
        "### Energy over a million steps",
        "",
        f"{steps:,} Stoermer-Verlet steps of eight bodies from {starts} starts: root mean square "
        "of the energy's error over the true Hamiltonian's, and linear drift over the run with "
        "standard errors from blocks and from the starts, in units of that root mean square; the "
        "first tenth, in which the drawn starts come to equilibrium, is left out of the drift:",
        "",
        "| | | amplitude | drift | by blocks | by starts |",
        "|---|---|---|---|---|---|",
    ]
    for r in drifts:
        ratio = r["amplitude_over_true"]
        shown = "1" if ratio is None else f"{ratio:.3f} +- {r['standard_error']:.3f}"
        drift, blocks, each = (
            r[key] / r["amplitude_rms"]
            for key in ("drift_per_run", "its_standard_error", "standard_error_over_starts")
        )
        rows.append(
            f"| {r['potential']} | {r['hamiltonian']} | {shown} | {drift:.1e} | +- {blocks:.0e} "
            f"| +- {each:.0e} |"
        )
    rows += [
        "",
        f"The same step, {integrators[0]['dt']}, for every integrator, {integrators[0]['steps']:,} "
        "of them, true anharmonic lattice: greatest error of the energy, and its linear drift over "
        "the run:",
        "",
        "| | greatest error | drift | its standard error | time over Stoermer-Verlet's |",
        "|---|---|---|---|---|",
    ]
    for r in integrators:
        over = r["microseconds_per_step"] / integrators[0]["microseconds_per_step"]
        stopped = r["stopped_at_step"]
        ends = "" if stopped is None else f" (until it stopped, step {stopped:,})"
        rows.append(
            f"| {r['integrator']}{ends} | {r['greatest_error']:.0e} | {r['drift_per_run']:.0e} "
            f"| {r['its_standard_error']:.0e} | {over:.1f} |"
        )
    return "\n".join(rows)


def _rest(results: Results) -> str:
    moved = [
        r[k]
        for r in results["invariance"]
        if r["encoder"] == "invariants"
        for k in ("rotation", "reflection", "translation", "permutation")
    ]
    fit = {r["what"]: r for r in results["fit_time"] if r["dtype"] == "float64"}
    single = {r["what"]: r for r in results["fit_time"] if r["dtype"] == "float32"}
    cold = {(r["step"], r["cache"]): r for r in results["cold_start"]}
    first = {c: cold["first fit (compiles)", c]["seconds"] for c in ("none", "on disk")}
    again = cold["second fit", "none"]["seconds"]
    compiled = [
        cold[f"compilations, five sizes{kind}", "in memory"]["compilations"]
        for kind in ("", ", padded alike")
    ]
    return "\n".join(
        [
            "### Symmetry, speed of a fit",
            "",
            "- Rotating, reflecting, translating or permuting the input moves the energy by at "
            f"most {max(moved):.0e} of its standard deviation.",
            f"- `fit` on {fit['fit']['rows']:,} rows x {fit['fit']['columns']} columns takes "
            f"{fit['fit']['over_gram']:.1f} times a jitted Z^T Z of that shape (float32: "
            f"{single['fit']['over_gram']:.1f} times, to a relative MSE of "
            f"{single['fit']['relative_mse']:.0e}), and "
            f"{fit['fit']['seconds'] / fit['Z^T Z of both systems']['seconds']:.1f} times the "
            "products of the two systems, kinetic and pair, that it solves.",
            f"- Cold start: the first fit of a process takes {first['none'] / again:.0f} times the "
            f"second, {first['on disk'] / again:.1f} times with JAX's persistent cache. Fits of "
            f"five sizes compile {compiled[0]} programs, padded to one shape {compiled[1]}.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no effect: quick results stay out")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    folder = parser.parse_args().out
    results = {name: json.loads((folder / f"{name}.json").read_text()) for name in FILES}
    if any(r[0]["environment"]["quick"] for r in results.values()):
        print("quick results: README left as it is")
        return
    before, rest = README.read_text().split(START)
    _, after = rest.split(END)
    README.write_text(f"{before}{START}\n{figures(results)}\n{END}{after}")
    print("wrote README.md")


if __name__ == "__main__":
    main()
