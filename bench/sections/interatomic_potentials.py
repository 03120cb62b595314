"""Section on potentials learned from quantum mechanics, compared with published ones."""

from ..interatomic_fits import median
from ..interatomic_published import ELEMENTS, ETHANOL
from ..markdown import rows
from ..record import Record

ERRORS = ("energy_mae", "energy_rmse", "force_mae", "force_rmse")
RIVALS = ("MTP", "GAP", "qSNAP", "SNAP")
ATOMS = {"ethanol": 9, "acetylacetone": 15}
SEVERAL_SPECIES = ("MoNbTaW", *ATOMS)
GPA = 160.2176634
"""One eV/A^3."""
NOT_YET = "not measured yet"


def figures(records: list[Record]) -> dict[str, str]:
    """Tables of all results; parts without results say so."""
    elements = [r for r in records if r["measured"] == "errors" and r["system"] in ELEMENTS]
    seeds = {r["seed"] for r in elements} - {"mean"}
    return {
        "seeds": str(len(seeds)),
        "elements": rows(_elements(records)),
        "settings": rows(_settings(records)),
        "alloys": rows(_alloys(records)),
        "molecules": rows(_molecules(records)),
        "calibration": rows(_calibration(records)),
        "ace": rows(_ace(records)),
        "fit_time": _fit_time(records),
        "evaluation": rows(_evaluation(records)),
        "dynamics": _dynamics(records),
        "curve": rows(_curve(records)),
        **_selection(records),
    }


def _elements(records: list[Record]) -> list[list[str]]:
    table = []
    for system, published in ELEMENTS.items():
        mine = _errors(records, system)
        for units, some in mine.items():
            judged = "" if some[0]["judged_by"] == "test frames" else " (held-out training frames)"
            table.append([f"{system}{judged}", f"hgn_jax, {units} features", *_four(some)])
            for r in _errors(records, system, mean=True).get(units, []):
                name = f"hgn_jax, mean of {len(some)} models of {units}"
                table.append([f"{system}{judged}", name, *_four([r])])
        if mine:
            table += [
                [system, model, *(_figure(key, published[model].get(key)) for key in ERRORS)]
                for model in RIVALS
            ]
    return table or [[NOT_YET, *[""] * 5]]


def _settings(records: list[Record]) -> list[list[str]]:
    trials: dict[str, list[Record]] = {}
    for r in records:
        if r["measured"] == "settings":
            trials.setdefault(r["system"], []).append(r)
    table = []
    for system, some in trials.items():
        best = min(some, key=lambda r: r["score"])
        table.append(
            [
                system, str(len(some)), str(best["units"]), f"{best['cutoff']:g}",
                _radial(best["radial"]), f"{best.get('stretch') or 'none'}",
                f"{best.get('likeness', 0):g}" if system in SEVERAL_SPECIES else "",
                f"{best['energy_weight']:g}", f"{1000 * best['energy_rmse']:.1f}",
                f"{best['force_rmse']:.4f}",
            ]
        )  # fmt: skip
    return table or [[NOT_YET, *[""] * 9]]


def _alloys(records: list[Record]) -> list[list[str]]:
    keys = (*ERRORS, "stress_mae", "stress_rmse")
    table = [
        [f"hgn_jax, {units} features", str(some[0]["frames"]), *_cells(some, keys)]
        for units, some in _errors(records, "MoNbTaW").items()
    ]
    for r in records:
        if r["measured"] == "published" and r["system"] == "MoNbTaW":
            table.append(["SNAP, evaluated by LAMMPS", "5282", *_cells([r], keys)])
    return table or [[NOT_YET, *[""] * 7]]


def _molecules(records: list[Record]) -> list[list[str]]:
    table = []
    for system, atoms in ATOMS.items():
        for units, some in _errors(records, system).items():
            energy, force = (median(some, f"{kind}_mae") for kind in ("energy", "force"))
            assert energy is not None and force is not None
            table.append(
                [
                    system, f"hgn_jax, {units} features",
                    f"{1000 * atoms * energy:.1f}", f"{1000 * force:.1f}",
                ]
            )  # fmt: skip
    if table:
        table += [["ethanol", model, f"{e:g}", f"{f:g}"] for model, (e, f) in ETHANOL.items()]
    return table or [[NOT_YET, "", "", ""]]


def _ace(records: list[Record]) -> list[list[str]]:
    some = [r for r in records if r["measured"] == "ace"]
    table = [
        [r["model"], str(r["functions"]), f"{r['fit_seconds']:.0f}", *_four([r])] for r in some
    ]
    return table or [[NOT_YET, *[""] * 6]]


def _fit_time(records: list[Record]) -> str:
    for r in records:
        if r["measured"] == "fit time":
            return (
                f"{r['system']}, {r['rows']:,} rows and {r['columns']} columns: "
                f"{r['warm_seconds']:.0f} s, {r['warm_over_gram']:.1f} times the product of the "
                "normal equations alone"
            )
    return NOT_YET


def _evaluation(records: list[Record]) -> list[list[str]]:
    some = [r for r in records if r["measured"] == "evaluation time"]
    table = [
        [r["model"], r["precision"], str(r["atoms"]), f"{r['microseconds_per_atom']:.0f}"]
        for r in some
    ]
    return table or [[NOT_YET, "", "", ""]]


def _dynamics(records: list[Record]) -> str:
    for r in records:
        if r["measured"] == "dynamics":
            return (
                f"{r['atoms']:,} atoms of silicon at {r['kelvin']:.0f} K, {r['steps']:,} steps of "
                f"{r['femtoseconds']:g} fs: drift of the energy "
                f"{r['drift_per_picosecond']:.1e} +- {r['drift_error']:.1e} eV/atom/ps, "
                f"fluctuation {r['fluctuation']:.1e} eV/atom. At the end, with all pairs searched "
                f"anew, the energy is the same to {r['energy_searched_again']:.0e} eV/atom: none "
                "was lost"
            )
    return NOT_YET


def _calibration(records: list[Record]) -> list[list[str]]:
    table = [
        [
            r["system"], str(r["columns"]),
            f"{r['energy_count']:,}", f"{r['energy_ratio']:.2f}",
            f"{r['energy_rank_correlation']:.2f}",
            f"{r['force_count']:,}", f"{r['force_ratio']:.2f}",
            f"{r['force_rank_correlation']:.2f}",
        ]
        for r in records
        if r["measured"] == "calibration"
    ]  # fmt: skip
    return table or [[NOT_YET, *[""] * 7]]


def _curve(records: list[Record]) -> list[list[str]]:
    some = [r for r in records if r["measured"] == "learning curve"]
    return [[str(r["frames"]), *_four([r])] for r in some] or [[NOT_YET, *[""] * 4]]


def _selection(records: list[Record]) -> dict[str, str]:
    words = {
        "chance": "drawn at random", "pivots": "the most independent",
        "greedy": "greedily, by what they explain", "nothing": "all candidates",
    }  # fmt: skip
    some = [r for r in records if r["measured"] == "selection"]
    kept = {r["chosen_by"]: str(r["kept"]) for r in some}
    table = [[words[r["chosen_by"]], str(r["kept"]), f"{r['held_out']:.4f}"] for r in some]
    return {
        "candidates": kept.get("nothing", NOT_YET),
        "kept": kept.get("greedy", NOT_YET),
        "selection": rows(table or [[NOT_YET, "", ""]]),
    }


def _errors(records: list[Record], system: str, mean: bool = False) -> dict[int, list[Record]]:
    """Records by number of features, one for each seed, or those of the mean model."""
    found: dict[int, list[Record]] = {}
    for r in records:
        wanted = r["measured"] == "errors" and r["system"] == system
        if wanted and (r["seed"] == "mean") == mean:
            found.setdefault(r["units"], []).append(r)
    return dict(sorted(found.items()))


def _four(some: list[Record]) -> list[str]:
    return _cells(some, ERRORS)


def _cells(some: list[Record], keys: tuple[str, ...]) -> list[str]:
    return [_figure(key, median(some, key), of_tables=False) for key in keys]


def _figure(key: str, value: float | None, of_tables: bool = True) -> str:
    if value is None:
        return "-"
    if key.startswith("energy"):
        return f"{value if of_tables else 1000 * value:.2f}"
    return f"{GPA * value:.2f}" if key.startswith("stress") else f"{value:.4f}"


def _radial(radial: int | list[int]) -> str:
    return str(radial) if isinstance(radial, int) else ", ".join(map(str, radial))
