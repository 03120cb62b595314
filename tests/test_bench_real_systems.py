"""The section on real systems: means over seeds, goals that are missed, no hidden figures."""

import pytest

from bench.markdown import filled
from bench.sections import real_systems


def record(seed, energy, state):
    errors = {
        "energy": 1e-2, "state": 1e-2, "energy_forecast": energy, "state_forecast": state,
    }  # fmt: skip
    return {
        "measured": "pendulum", "seed": seed, "train": 445, "test": 110, "seconds": 18.2,
        "candidates": [0, 8], "units": 8 * seed, "kinetic": 1.05, "friction": 0.0125,
        "friction_deviation": 1e-4, "one_solve": errors, "refined": errors,
    }  # fmt: skip


CARTS = (
    {"measured": "cart", "friction": 0.0137, "seconds": 8.68, "error": 0.0085},
    {
        "measured": "two carts", "mass_ratio": 2.5, "deviation": 0.02, "seconds": 4.84,
        "error": 0.0137,
    },
)  # fmt: skip


def test_means_are_geometric_and_goals_are_judged_by_them():
    figures = real_systems.figures([record(0, 1e-4, 4e-5), record(1, 4e-4, 1e-4), *CARTS])
    assert figures["missed"] == "missed from the first test point"
    assert "| 1.0e-02 | 1.0e-02 | 2.0e-04 | 6.3e-05 |" in figures["pendulum"]
    assert figures["units"] == "0 or 8" and figures["cart_error"] == "0.85%"
    page = filled("real_systems", figures)
    assert "0.0137 per" in page and "2.50 +- 0.02 times" in page and "wrong by 1.4%" in page


@pytest.mark.parametrize(("energy", "state"), [(4e-4, 1e-5), (1e-5, 2e-4)])
def test_one_error_above_its_goal_is_a_miss(energy, state):
    figures = real_systems.figures([record(0, energy, state), *CARTS])
    assert figures["missed"] == "missed from the first test point and as a forecast"
