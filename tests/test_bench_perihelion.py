"""Precession of the perihelion of bench/, from Kepler ellipses of known elements."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bench.perihelion import longitude_of_perihelion, precession

GM, AXIS, ECCENTRICITY, INCLINATION = 2.96e-4, 0.387, 0.2056, np.deg2rad(7.0)
TIMES = np.arange(0.0, 3650.0, 4.0)
OBLIQUITY = np.deg2rad(23.4392911)  # of J2000


def ellipse(node, argument):
    """Equatorial positions and velocities on the ellipse of these elements, at many anomalies."""
    anomaly = 2 * np.pi * TIMES / 87.97
    root = np.sqrt(1 - ECCENTRICITY**2)
    distance = AXIS * (1 - ECCENTRICITY * np.cos(anomaly))
    speed = np.sqrt(GM * AXIS) / distance
    flat = np.zeros_like(anomaly)
    r = np.stack([AXIS * (np.cos(anomaly) - ECCENTRICITY), AXIS * root * np.sin(anomaly), flat], 1)
    v = np.stack([-speed * np.sin(anomaly), speed * root * np.cos(anomaly), flat], 1)
    node, argument, inclination = np.broadcast_arrays(node, argument, INCLINATION * (1 + flat))[:3]
    angles = np.stack([node, inclination, argument], 1)
    turn = Rotation.from_euler("X", OBLIQUITY) * Rotation.from_euler("ZXZ", angles)
    return turn.apply(r), turn.apply(v)


@pytest.mark.parametrize("node, argument", [(0.84, 0.51), (-2.0, 3.0), (3.0, -1.0)])
def test_longitude_is_that_of_the_ellipse(node, argument):
    found = longitude_of_perihelion(*ellipse(node, argument), GM)
    np.testing.assert_allclose(np.exp(1j * found), np.exp(1j * (node + argument)), rtol=1e-7)


def test_precession_is_the_slope_of_node_and_argument_together():
    centuries = TIMES / 36525
    node, argument = -1e-3 * centuries, 3.0 + 4e-3 * centuries  # passes no whole turn
    found = precession(TIMES, *ellipse(node, argument), GM)
    assert found == pytest.approx(3e-3 * 180 / np.pi * 3600, rel=1e-6)
