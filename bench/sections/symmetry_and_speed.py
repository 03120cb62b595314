"""Section on symmetry and the time of a fit."""

from ..record import Record


def figures(
    invariance: list[Record], fit_time: list[Record], cold_start: list[Record]
) -> dict[str, str]:
    moved = [
        r[k]
        for r in invariance
        if r["encoder"] == "invariants"
        for k in ("rotation", "reflection", "translation", "permutation")
    ]
    double = {r["what"]: r for r in fit_time if r["dtype"] == "float64"}
    single = {r["what"]: r for r in fit_time if r["dtype"] == "float32"}
    cold = {(r["step"], r["cache"]): r for r in cold_start}
    again = cold["second fit", "none"]["seconds"]
    products = double["fit"]["seconds"] / double["Z^T Z of both systems"]["seconds"]

    def programs(kind: str) -> str:
        return str(cold[f"compilations, five sizes{kind}", "in memory"]["compilations"])

    return {
        "moved": f"{max(moved):.0e}",
        "rows": f"{double['fit']['rows']:,}",
        "columns": str(double["fit"]["columns"]),
        "over_gram": f"{double['fit']['over_gram']:.1f}",
        "float32_over_gram": f"{single['fit']['over_gram']:.1f}",
        "float32_error": f"{single['fit']['relative_mse']:.0e}",
        "over_products": f"{products:.1f}",
        "first_fit": f"{cold['first fit (compiles)', 'none']['seconds'] / again:.0f}",
        "cached_fit": f"{cold['first fit (compiles)', 'on disk']['seconds'] / again:.1f}",
        "programs": programs(""),
        "padded_programs": programs(", padded alike"),
    }
