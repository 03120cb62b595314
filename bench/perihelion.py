"""Precession of a planet's perihelion from positions and velocities."""

import numpy as np
from jaxtyping import Float

OBLIQUITY = np.deg2rad(84381.448 / 3600)
"""Angle between the equator, to which the ephemeris refers, and the ecliptic, at J2000."""
ARCSECONDS = 180 / np.pi * 3600
CENTURY = 36525.0


def precession(
    times: Float[np.ndarray, " t"],
    position: Float[np.ndarray, "t 3"],
    velocity: Float[np.ndarray, "t 3"],
    gm: float,
) -> float:
    """Slope of the line through the longitudes of perihelion, in arcseconds per century.

    Positions and velocities are heliocentric and equatorial; times are in days; `gm` is that of the
    Sun and the planet together, in units of these.
    """
    longitude = np.unwrap(longitude_of_perihelion(position, velocity, gm))
    return float(np.polyfit(times / CENTURY, longitude, 1)[0] * ARCSECONDS)


def longitude_of_perihelion(
    position: Float[np.ndarray, "t 3"], velocity: Float[np.ndarray, "t 3"], gm: float
) -> Float[np.ndarray, " t"]:
    """Longitude of the ascending node plus argument of the perihelion of the osculating ellipse:
    the direction of the eccentricity vector v x L / GM - r / |r|, with L = r x v."""
    cos, sin = np.cos(OBLIQUITY), np.sin(OBLIQUITY)
    to_ecliptic = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    r, v = position @ to_ecliptic.T, velocity @ to_ecliptic.T
    momentum = np.cross(r, v)
    eccentricity = np.cross(v, momentum) / gm - _unit(r)
    node = np.arctan2(momentum[:, 0], -momentum[:, 1])
    to_node = np.stack([np.cos(node), np.sin(node), np.zeros_like(node)], axis=1)
    ahead = np.cross(_unit(momentum), to_node)
    argument = np.arctan2(np.sum(eccentricity * ahead, 1), np.sum(eccentricity * to_node, 1))
    return node + argument


def _unit(x: Float[np.ndarray, "t 3"]) -> Float[np.ndarray, "t 3"]:
    return x / np.linalg.norm(x, axis=1, keepdims=True)
