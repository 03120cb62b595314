"""Real data shipped with the package."""

from importlib.resources import files
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from jraph import GraphsTuple

from ..graphs.trajectories import from_trajectories


class Ephemeris(NamedTuple):
    """Where the bodies of the solar system were: barycentric, AU and days (TDB)."""

    names: tuple[str, ...]
    gm: Float[np.ndarray, " n"]
    """G times mass, AU^3 / day^2: the unit of mass in which G = 1."""
    times: Float[np.ndarray, " t"]
    """Days since the first frame, 1 January 1990."""
    position: Float[np.ndarray, "t n 3"]
    velocity: Float[np.ndarray, "t n 3"]

    def between(self, first_year: float | int, last_year: float | int) -> "Ephemeris":
        """The frames of those Julian years (365.25 days) since the start."""
        days = 365.25 * np.array([first_year, last_year])
        keep = (self.times >= days[0]) & (self.times <= days[1])
        return self._replace(
            times=self.times[keep], position=self.position[keep], velocity=self.velocity[keep]
        )

    def snapshots(self, *, sun_weight: float | int = 1.0) -> GraphsTuple:
        """All pairs joined, `coupling` = product of the masses, forces by differencing velocities.

        Twelfth-order differences: at two days' step their error is below 1e-7 even for Mercury.
        `sun_weight` multiplies the Sun's rows: the ephemeris knows relativity, of which the Sun's
        own small acceleration shows 2e-6, far more than what its other rows are good for.

        **Raises:** `ValueError` unless JAX is set to 64 bit, which these data need.
        """
        if jnp.result_type(float) != jnp.float64:
            raise ValueError(
                'the ephemeris needs 64 bit: call jax.config.update("jax_enable_x64", True) first'
            )
        i, j = np.triu_indices(len(self.names), 1)
        weight = np.ones(len(self.names))
        weight[self.names.index("Sun")] = sun_weight
        return from_trajectories(
            self.times,
            self.position,
            velocity=self.velocity,
            mass=self.gm,
            edges=np.stack([i, j], 1),
            coupling=self.gm[i] * self.gm[j],
            order=12,
            weight=weight,
        )


def solar_system() -> Ephemeris:
    """Sun, planets and Pluto, every second day 1990-2010, from NASA/JPL's DE421.

    Earth stands for the barycentre of Earth and Moon. Read through the packages skyfield-data
    (MIT) and de421.
    """
    path = files("hgn_jax").joinpath("io", "data", "de421_1990_2010.npz")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        return Ephemeris(
            tuple(str(name) for name in data["names"]),
            data["gm"],
            data["julian_date"] - data["julian_date"][0],
            data["position"],
            data["velocity"],
        )
