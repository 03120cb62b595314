"""Section on what limits each stage."""

from ..markdown import rows
from ..record import Record
from ..roofline import ARITHMETIC, BYTES, FUNCTIONS, PRODUCTS


def figures(records: list[Record]) -> dict[str, str]:
    (limits,) = (r for r in records if r["measured"] == "ceilings")
    functions, arithmetic = (limits[PRODUCTS] / limits[k] for k in (FUNCTIONS, ARITHMETIC))
    return {
        "relative": (
            f"one tanh takes as long as {functions:.0f} operations of a matrix product, and one "
            f"operation of a polynomial as long as {arithmetic:.1f}"
        ),
        "stages": rows(
            [
                r["stage"],
                r["per"],
                *(_short(r[kind]) for kind in (PRODUCTS, FUNCTIONS, ARITHMETIC, BYTES)),
                r["limit"],
                f"{r['share']:.0%}",
            ]
            for r in records
            if r["measured"] == "stages"
        ),
    }


def _short(amount: float) -> str:
    """Three digits at most, with thousands and millions written out."""
    return "" if amount == 0 else f"{float(f'{amount:.2g}'):,.0f}"
