"""Motion-tracked pendulum, carts and double pendulum."""

import math
from typing import Any

from ..markdown import rows
from ..record import Record

ENERGY, STATE = 3e-4, 1e-4
"""Goals of the mean squares."""


def figures(records: list[Record]) -> dict[str, str]:
    pendulum = [r for r in records if r["measured"] == "pendulum"]
    (cart,) = (r for r in records if r["measured"] == "cart")
    (pair,) = (r for r in records if r["measured"] == "two carts")
    (double,) = (r for r in records if r["measured"] == "double")
    first = pendulum[0]
    refined = [r["refined"] for r in pendulum]
    missed = [
        kind
        for kind, energy, state in (
            ("from the first test point", "energy", "state"),
            ("as a forecast", "energy_forecast", "state_forecast"),
        )
        if _mean(refined, energy) > ENERGY or _mean(refined, state) > STATE
    ]
    return {
        "pendulum": rows(_row(pendulum, kind) for kind in ("one solve", "refined")),
        "train": str(first["train"]),
        "test": str(first["test"]),
        "seeds": str(len({r["seed"] for r in pendulum})),
        "seconds": f"{first['seconds']:.0f}",
        "candidates": ", ".join(map(str, first["candidates"])),
        "units": " or ".join(sorted({str(r["units"]) for r in pendulum})),
        "missed": f"missed {' and '.join(missed)}" if missed else "both are reached",
        "energy_goal": f"{ENERGY:.0e}",
        "state_goal": f"{STATE:.0e}",
        "kinetic": f"{_mean(pendulum, 'kinetic'):.3f}",
        "friction": f"{_mean(pendulum, 'friction'):.4f}",
        "deviation": f"{_mean(pendulum, 'friction_deviation'):.0e}",
        "cart_friction": f"{cart['friction']:.4f}",
        "cart_seconds": f"{cart['seconds']:.1f}",
        "cart_error": f"{cart['error']:.2%}",
        "mass_ratio": f"{pair['mass_ratio']:.2f}",
        "mass_deviation": f"{pair['deviation']:.2f}",
        "pair_seconds": f"{pair['seconds']:.1f}",
        "pair_error": f"{pair['error']:.1%}",
        "double_law": _law(double["law"], double["deviation"]),
        "double_frames": str(double["frames"]),
        "double_train": str(double["train_segments"]),
        "double_test": str(double["test_segments"]),
        "double_window": str(double["window"]),
        "double_residual": f"{double['weak_residual']:.1%}",
        "double_error": f"{double['forecast_error']:.4f}",
        "double_left_out": f"{double['left_out_error']:.4f}",
        "double_goal": f"{double['goal']:g}",
    }


def _law(law: list[float], deviation: list[float]) -> str:
    """2 H with standard deviations."""
    second, mixed, upper, lower = (f"{c:.3f}({d:.3f})" for c, d in zip(law, deviation))
    return f"w1^2 + {second} w2^2 + {mixed} w1 w2 cos(q1 - q2) - {upper} cos q1 - {lower} cos q2"


def _row(records: list[Record], kind: str) -> list[str]:
    mine: list[Record] = [r[kind.replace(" ", "_")] for r in records]
    names = ("energy", "state", "energy_forecast", "state_forecast")
    return [kind, *(f"{_mean(mine, name):.1e}" for name in names)]


def _mean(records: list[Any], name: str) -> float:
    return math.exp(sum(math.log(r[name]) for r in records) / len(records))
