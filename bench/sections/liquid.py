"""A liquid learned from two snapshots."""

from ..record import Record

_LIQUIDS = {
    "same state": "same state",
    "larger": "10,976 atoms",
    "hot, dilute": "density 0.7, temperature 1.5",
}


def section(records: list[Record]) -> str:
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
        "`Pair(units, sampling=SWIM(floor=0.05), cutoff=2.5)`: relative force error (pairs out of "
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
