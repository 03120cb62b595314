"""The section on real systems: means over seeds, goals that are missed, no hidden figures."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from bench import double_pendulum
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


DOUBLE = {
    "measured": "double", "law": [0.3, 0.8, 124.0, 46.0], "deviation": [0.01, 0.02, 0.3, 0.4],
    "frames": 854, "train_segments": 15, "test_segments": 5, "window": 25, "weak_residual": 0.04,
    "forecast_error": 0.0196, "left_out_error": 0.009, "goal": 0.02,
}  # fmt: skip


def test_means_are_geometric_and_goals_are_judged_by_them():
    figures = real_systems.figures([record(0, 1e-4, 4e-5), record(1, 4e-4, 1e-4), *CARTS, DOUBLE])
    assert figures["missed"] == "missed from the first test point"
    assert "| 1.0e-02 | 1.0e-02 | 2.0e-04 | 6.3e-05 |" in figures["pendulum"]
    assert figures["units"] == "0 or 8" and figures["cart_error"] == "0.85%"
    page = filled("real_systems", figures)
    assert "0.0137 per" in page and "2.50 +- 0.02 times" in page and "wrong by 1.4%" in page
    assert "w1^2 + 0.300(0.010) w2^2 + 0.800(0.020) w1 w2" in page


@pytest.mark.parametrize(("energy", "state"), [(4e-4, 1e-5), (1e-5, 2e-4)])
def test_one_error_above_its_goal_is_a_miss(energy, state):
    figures = real_systems.figures([record(0, energy, state), *CARTS, DOUBLE])
    assert figures["missed"] == "missed from the first test point and as a forecast"


def test_weak_rows_find_a_double_pendulum_without_momenta():
    """Against motion by SciPy from the Euler-Lagrange equations."""
    true, times = np.array([0.4, 0.5, 20.0, 6.0]), 0.01 * np.arange(60)
    segments = []
    for start in np.random.default_rng(0).normal(size=(6, 4)) * np.array([1, 1, 3, 3]):
        path = solve_ivp(
            lambda t, y: double_pendulum.motion(true, y),
            (0, times[-1]), start, "DOP853", times, rtol=1e-10, atol=1e-10,
        ).y.T  # fmt: skip
        segments.append(np.column_stack([times, path]))
    found = double_pendulum.law(double_pendulum.rows(segments, 25))
    np.testing.assert_allclose(found, true, rtol=1e-4)
    assert double_pendulum.forecast_error(found, segments) < 1e-4


def test_the_double_pendulum_keeps_its_energy():
    law, state = np.array([0.4, 0.5, 20.0, 6.0]), np.array([0.5, -1.0, 2.0, 3.0])

    def energy(y):
        kinetic = y[2] ** 2 + law[0] * y[3] ** 2 + 2 * law[1] * y[2] * y[3] * np.cos(y[0] - y[1])
        return kinetic / 2 - law[2] * np.cos(y[0]) - law[3] * np.cos(y[1])

    rate, h = double_pendulum.motion(law, state), 1e-5
    change = energy(state + h * rate) - energy(state - h * rate)
    assert abs(change) / (2 * h) < 1e-6
