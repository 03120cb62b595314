"""Section on thermostats."""

from ..markdown import rows
from ..record import Record


def figures(records: list[Record]) -> dict[str, str]:
    sampled = [r for r in records if r["measured"] == "distribution"]
    timed = [r for r in records if r["measured"] == "cost"]
    return {
        "steps": f"{sampled[0]['steps']:,}",
        "distributions": rows(
            [
                r["system"],
                r["thermostat"],
                str(r["dt"]),
                f"{r['mean']:.4f} +- {r['mean_error']:.4f}",
                f"{r['variance']:.3f} +- {r['variance_error']:.3f}",
            ]
            for r in sampled
        ),
        "atoms": str(timed[0]["bodies"]),
        "costs": rows([r["thermostat"], f"{r['ratio']:.2f}"] for r in timed),
    }
