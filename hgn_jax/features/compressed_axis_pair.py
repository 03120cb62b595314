"""Pair energies of bodies with an axis as polynomials of their distance."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial import chebyshev

from .axis_pair_base import AbstractAxisPairFeatures
from .compression import DEGREES, NODES, expansion, followed, not_reached
from .sites import Site

POINTS = 2001
"""Number of distances at which errors are measured."""


class CompressedAxisPairFeatures(AbstractAxisPairFeatures):
    """The whole learned energy: for each product of Legendre polynomials a polynomial of log s.

    Polynomials follow the model up to 5% beyond the trained range, and continue linearly in log s.
    """

    polynomials: Float[Array, "k C"]
    """Chebyshev coefficients of each product."""
    derivatives: Float[Array, "k C"]
    """Those of their derivatives."""
    ends: Float[Array, " 2"]
    """Least and greatest s of the polynomials (length)."""
    error: Float[Array, ""]
    """Greatest relative error of all products together, or of their slopes. It is relative to the
    model's at the same s, or to the median over the trained range if that is greater."""
    range: Float[Array, " 2"]
    degrees: tuple[tuple[int, int, int], ...] = eqx.field(static=True)
    contact: tuple[float, float] = eqx.field(static=True)
    cutoff: float | None = eqx.field(static=True)

    def phi(self, z: Float[Array, " 4"], site: Site) -> Float[Array, " K"]:
        first, last = jnp.log(self.ends[0]), jnp.log(self.ends[1])
        x = (2 * jnp.log(self.distance(z)) - first - last) / (last - first)
        return jnp.sum(self.angular(z) * series(x, self.polynomials, self.derivatives))[None]


@jax.custom_jvp
def series(
    x: Float[Array, ""], coefficients: Float[Array, "k C"], derivatives: Float[Array, "k C"]
) -> Float[Array, " C"]:
    """Sums of Chebyshev polynomials, which continue linearly where |x| > 1."""
    beyond = x - jnp.clip(x, -1, 1)
    return _inside(x, coefficients) + beyond * _inside(x, derivatives)


@series.defjvp
def _series_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    x, _, derivatives = primals
    by_x = tangents[0] * _inside(x, derivatives)
    return series(*primals), by_x + series(x, *tangents[1:])


@jax.custom_jvp
def _inside(x: Float[Array, ""], coefficients: Float[Array, "k C"]) -> Float[Array, " C"]:
    """The sums at the nearest x from -1 to 1. Cosines of all degrees compile in half the time of a
    recurrence, but have no derivative at the ends."""
    angle = jnp.arccos(jnp.clip(x, -1, 1))
    return jnp.cos(jnp.arange(len(coefficients)).astype(x.dtype) * angle) @ coefficients


@_inside.defjvp
def _inside_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    x, coefficients = primals
    matrix = np.zeros((len(coefficients), len(coefficients)))
    matrix[:-1] = chebyshev.chebder(np.eye(len(coefficients)))
    slope = _inside(x, jnp.asarray(matrix, x.dtype) @ coefficients)
    by_x = tangents[0] * jnp.where(jnp.abs(x) <= 1, slope, 0)
    return _inside(x, coefficients), by_x + _inside(x, tangents[1])


def compressed(
    radial: Callable[[Array], tuple[Array, Array]],
    like: AbstractAxisPairFeatures,
    tolerance: float,
) -> CompressedAxisPairFeatures:
    """The polynomials of least degree that are within the tolerance of `radial(s)`: `[s C]`, and
    its slopes by log s.

    **Raises:** `ValueError` if the tolerance is not reached.
    """
    low, high = map(float, like.range)
    ends = np.log(followed(low, high, "pair of bodies with an axis"))
    half = (ends[1] - ends[0]) / 2

    def at(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, slopes = radial(jnp.asarray(np.exp(ends.mean() + half * x)))
        return np.asarray(values), half * np.asarray(slopes)

    values, slopes = at(NODES)
    # Slopes are expanded, and integrated to values: this averages rounding errors.
    by_degree = expansion(slopes)
    points = (np.linspace(np.log(low), np.log(high), POINTS) - ends.mean()) / half
    truth, errors = at(points), []
    for count in range(1, DEGREES + 1):
        kept = chebyshev.chebint(by_degree[:count])
        kept[0] += np.mean(values - chebyshev.chebval(NODES, kept).T, axis=0)
        found = chebyshev.chebval(points, kept).T, chebyshev.chebval(points, by_degree[:count]).T
        errors.append(max(map(_relative_error, found, truth)))
        if errors[-1] <= tolerance:
            return CompressedAxisPairFeatures(
                polynomials=jnp.asarray(kept),
                derivatives=jnp.asarray(np.append(by_degree[:count], 0 * by_degree[:1], axis=0)),
                ends=jnp.asarray(np.exp(ends)),
                error=jnp.asarray(errors[-1]),
                range=like.range,
                degrees=like.degrees,
                contact=like.contact,
                cutoff=like.cutoff,
            )
    raise not_reached("pair energy of bodies with an axis", tolerance, min(errors))


def _relative_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Greatest error of all products together; no product of Legendre polynomials exceeds one."""
    size = np.linalg.norm(truth, axis=1)
    scale = np.maximum(size, np.median(size))
    return float(np.max(np.linalg.norm(found - truth, axis=1) / np.where(scale > 0, scale, 1)))
