"""The solar system."""

from ..record import Record


def section(records: list[Record]) -> str:
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
