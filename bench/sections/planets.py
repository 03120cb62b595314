"""Section on the solar system."""

from ..markdown import rows
from ..record import Record

_KEYS = (
    "acceleration_against_de421",
    "acceleration_against_newton",
    "position_error_au",
    "newton_position_error_au",
)


def figures(records: list[Record]) -> dict[str, str]:
    main = _main(records)
    columns = [worst(records, key) for key in _KEYS]
    precessions = [r for r in records if r["sweep"] == "precession"]
    learned = [r["precession_learned"] for r in precessions]
    newton, de421 = (precessions[0][f"precession_{name}"] for name in ("newton", "de421"))
    return {
        "learned_precession": f"{min(learned):.1f} to {max(learned):.1f}",
        "newton_precession": f"{newton:.1f}",
        "de421_precession": f"{de421:.1f}",
        "relativity": f"{de421 - newton:.1f}",
        "years": f"{main[0]['years']:.1f}",
        "seeds": str(len({r["seed"] for r in main})),
        "bodies": rows(
            [body, *(f"{c[body]:.0e}" if body in c else "" for c in columns)]
            for body in dict.fromkeys(r["body"] for r in main)
        ),
    }


def worst(records: list[Record], key: str) -> dict[str, float]:
    """Greatest value over all seeds for each body; bodies without a value are left out."""
    values: dict[str, list[float]] = {}
    for r in _main(records):
        if r[key] is not None:
            values.setdefault(r["body"], []).append(r[key])
    return {body: max(v) for body, v in values.items()}


def _main(records: list[Record]) -> list[Record]:
    return [r for r in records if r["sweep"] == "main" and r["sun_weight"] < 1]
