"""Symmetry, and the time of a fit."""

from ..record import Record


def section(invariance: list[Record], fit_time: list[Record], cold_start: list[Record]) -> str:
    moved = [
        r[k]
        for r in invariance
        if r["encoder"] == "invariants"
        for k in ("rotation", "reflection", "translation", "permutation")
    ]
    fit = {r["what"]: r for r in fit_time if r["dtype"] == "float64"}
    single = {r["what"]: r for r in fit_time if r["dtype"] == "float32"}
    cold = {(r["step"], r["cache"]): r for r in cold_start}
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
