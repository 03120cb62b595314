"""Real data that are shipped with the package."""

from importlib.resources import as_file, files
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from jraph import GraphsTuple

from ..graphs.trajectories import from_trajectories
from .read import read


class Ephemeris(NamedTuple):
    """Positions and velocities of the solar system's bodies: barycentric, AU and days (TDB)."""

    names: tuple[str, ...]
    gm: Float[np.ndarray, " n"]
    """G times mass (AU^3 / day^2): masses in the unit in which G = 1."""
    times: Float[np.ndarray, " t"]
    """Days since the first frame, 1 January 1990."""
    position: Float[np.ndarray, "t n 3"]
    """AU."""
    velocity: Float[np.ndarray, "t n 3"]
    """AU / day."""

    def between(self, first_year: float | int, last_year: float | int) -> "Ephemeris":
        """Selects the frames between two times, in Julian years (365.25 days) since the start."""
        days = 365.25 * np.array([first_year, last_year])
        keep = (self.times >= days[0]) & (self.times <= days[1])
        return self._replace(
            times=self.times[keep], position=self.position[keep], velocity=self.velocity[keep]
        )

    def snapshots(self, *, sun_weight: float | int = 1.0) -> GraphsTuple:
        """Data set of one graph per frame: all pairs joined, `coupling` the product of the masses.

        Forces are twelfth-order differences of velocities. At steps of two days their relative
        error is below 1e-7 even for Mercury.

        `sun_weight` multiplies the Sun's rows. The ephemeris includes general relativity, which
        changes the Sun's own small acceleration by a relative 2e-6, far more than the errors of
        the other rows.

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

    Earth is the barycentre of Earth and Moon. The file was made with the packages skyfield-data
    (MIT) and de421.
    """
    path = files("hgn_jax").joinpath("io", "data", "de421_1990_2010.npz")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        return Ephemeris(
            tuple(str(name) for name in data["names"]),
            data["gm"],
            # Absolute Julian dates would leave fewer digits to a step.
            data["julian_date"] - data["julian_date"][0],
            data["position"],
            data["velocity"],
        )


def silicon(*, cutoff: float, every: int = 1) -> GraphsTuple:
    """214 frames of silicon with energies (eV) and forces (eV/Å) from density functional theory.

    Crystals that are strained, heated, melted, cut, and lack an atom: the training set of Zuo et
    al., J. Phys. Chem. A 124, 731, 2020 (materialsvirtuallab/mlearn, BSD 3-Clause licence, beside
    the file). `cutoff` and `every` are those of `hgn.read`.
    """
    # A package may be installed as a zip, but `read` needs a file.
    with as_file(files("hgn_jax").joinpath("io", "data", "silicon_mlearn.xyz.xz")) as path:
        return read(path, cutoff=cutoff, every=every)
