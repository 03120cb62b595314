"""Base of energies whose columns are grouped by the degree of a harmonic."""

from functools import cache
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._arguments import whole_number
from .harmonics import solid_harmonics
from .site_energy import AbstractSiteColumns


class AbstractMultipoles(AbstractSiteColumns):
    r"""$\phi(z) = \sum_l \sum_m f_{lm}(|z|) \, Y_{lm}(z)$: radial functions times harmonics.

    Every degree l is a group of columns, ordered by m and then by radial function. Its coefficients
    are $\theta_{lmk}$, with $f_{lm} = \sum_k \theta_{lmk} u_{lk}$. Degree 0 is isotropic. Degree 1
    has a direction, degree 2 an axis.
    """

    degrees: eqx.AbstractVar[tuple[int, ...]]
    means: eqx.AbstractVar[tuple[Float[Array, " _"], ...]]
    """Mean of each radial function over the training data, for every degree."""

    def groups(self, columns: int) -> tuple[int, ...]:
        """One group for each degree."""
        d = self.dimension
        return tuple(
            components(degree, d) * mean.shape[-1] for degree, mean in zip(self.degrees, self.means)
        )

    def labels(self, count: int) -> tuple[str, ...]:
        return tuple(f"{self.name} l={degree}" for degree in self.degrees)

    def multipole(self, degree: int) -> Float[Array, "c K"]:
        r"""Matrix that maps the coefficients of one degree to the mean of $f_{lm}$ over the
        training data, one row for each m."""
        mean = self.means[self.degrees.index(degree)]
        # Columns are ordered by m first: one block of the same means for each m.
        return jnp.kron(jnp.eye(components(degree, self.dimension), dtype=mean.dtype), mean[None])


def components(degree: int, dimension: Any) -> int:
    """Number of harmonics of one degree."""
    return 2 * degree + 1 if dimension == 3 else min(2, degree + 1)  # in 2D: 1, 2, 2, ..


def outer(harmonic: Float[Array, " c"], radial: Float[Array, " u"]) -> Float[Array, " K"]:
    """Columns of one degree, ordered by m and then by radial function."""
    return (harmonic[:, None] * radial[None]).reshape(-1)


@cache
def slopes(dimension: int) -> Float[np.ndarray, "c d"]:
    """Gradients of the solid harmonics of degree 1."""
    # They are linear: their values at the unit vectors are the gradients.
    return np.stack([solid_harmonics(axis, 1)[1] for axis in np.eye(dimension)], axis=1)


@cache
def curvatures(dimension: int) -> Float[np.ndarray, "c d d"]:
    """Hessians of the solid harmonics of degree 2."""

    def value(x: np.ndarray) -> np.ndarray:
        return solid_harmonics(x, 2)[2]

    axes = np.eye(dimension)
    # Quadratic forms are known by their values at sums of unit vectors.
    mixed = [[value(a + b) - value(a) - value(b) for a in axes] for b in axes]
    return np.moveaxis(np.array(mixed), 2, 0)


def check_degrees(degrees: Any, term: str) -> None:
    """Raises `ValueError` unless the degrees are a tuple of increasing integers of at least 0."""
    if not isinstance(degrees, tuple) or not degrees:
        raise ValueError(f"{term}(degrees=...) must be a tuple such as (1, 2), got {degrees!r}")
    for degree in degrees:
        whole_number("a degree", degree, 0)
    if list(degrees) != sorted(set(degrees)):
        raise ValueError(f"{term}(degrees=...) must increase, got {degrees}")


def check_dimension(data: GraphsTuple, term: str) -> None:
    """Raises `ValueError` unless the data have two or three dimensions."""
    d = data.nodes["position"].shape[1]
    if d not in (2, 3):
        raise ValueError(f"{term}(degrees=...) is for 2 or 3 dimensions, but the data have {d}")
