"""The equation of state of the pressure benchmark, and its correction for the cutoff."""

import numpy as np
import pytest
import scipy.integrate

from bench import lennard_jones_pressure as bench


@pytest.mark.parametrize("temperature", [1.5, 3.0])
def test_its_second_virial_coefficient_is_the_exact_one(temperature):
    def bond(r):
        return (np.exp(-4 * (r**-12 - r**-6) / temperature) - 1) * r**2

    exact = -2 * np.pi * scipy.integrate.quad(bond, 0.01, 60, limit=400)[0]
    rho = 1e-4
    found = (bench.pressure(temperature, rho) / (rho * temperature) - 1) / rho
    np.testing.assert_allclose(found, exact, atol=2e-3)


def test_its_critical_point_is_the_published_one():
    """T = 1.313, rho = 0.310 (Johnson, Zollweg and Gubbins): dP/drho and its slope vanish."""
    h = 1e-3
    below, at, above = (bench.pressure(1.313, 0.310 + s * h) for s in (-1, 0, 1))
    assert abs(above - below) / (2 * h) < 2e-3
    assert abs(above - 2 * at + below) / h**2 < 0.05


def test_the_correction_of_a_plain_cutoff_is_the_textbook_one():
    """The correction of the truncated and smoothed potential lies between those of cutoffs at both
    ends."""

    def plain(r, rho):
        return 16 / 3 * np.pi * rho**2 * (2 / 3 * r**-9 - r**-3)

    found = bench.tail(0.7)
    jump = 2 * np.pi / 3 * 0.7**2  # a jump of the potential adds r^3 phi(r)
    low, high = (
        plain(r, 0.7) - jump * r**3 * 4 * (r**-12 - r**-6) for r in (bench.ONSET, bench.CUTOFF)
    )
    assert min(low, high) < found < max(low, high)
