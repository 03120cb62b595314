"""Ridges of groups of columns that maximise the evidence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .group_evidence import GroupEvidence, group_evidence
from .ridge import floor
from .triangle import Triangle

SWEEPS = 60
"""Greatest number of Newton steps."""
TOLERANCE = 1e-6
"""Gain of evidence below which the search ends (nats)."""
ABSENT = 0.01
"""Value of K_g / lambda_g^2 below which a group of columns is left out."""


class _Search(NamedTuple):
    y: Float[Array, " G"]
    best: GroupEvidence
    radius: Float[Array, ""]
    sweeps: Int[Array, ""]


def group_ridges(
    triangle: Triangle, groups: tuple[int, ...], start: Float[Array, "*G"], gain: float = TOLERANCE
) -> GroupEvidence:
    r"""Figures of merit of the best ridges, one per group of columns. They start at `start`,
    one ridge for all or one for each, and the search ends when a step promises less than `gain`
    (nats).

    Newton's method in a trust region, in $y_g = \log(1 + K_g / \lambda_g^2)$. If the data do not
    need a group, the evidence is linear in $1 / \lambda_g^2$ near zero. Newton's method in y gets
    there in one step, while MacKay's updates and Newton's method in $\log \lambda_g^2$ are slow.
    The ridge of such a group becomes the inverse square root of the machine epsilon, so that its
    coefficients vanish.
    """
    triangle, start = jax.lax.stop_gradient((triangle, start))
    dtype = start.dtype
    widths = jnp.asarray(groups, dtype)
    least = jnp.full_like(widths, jnp.log1p(ABSENT))
    most = jnp.log1p(widths / floor(dtype) ** 2)
    # With many rows, or in single precision, the evidence has greater rounding errors.
    tolerance = jnp.maximum(gain, 10 * jnp.finfo(dtype).eps * triangle.rows.astype(dtype))

    def at(y: Float[Array, " G"]) -> GroupEvidence:
        ridge = jnp.sqrt(widths / jnp.expm1(y))
        # Rounding of the map from y may end below the floor.
        return group_evidence(triangle, groups, jnp.maximum(ridge, floor(dtype)))

    def newton(search: _Search) -> tuple[Float[Array, " G"], Float[Array, ""]]:
        return _newton(search, least, most)

    def promising(search: _Search) -> Bool[Array, ""]:
        return (newton(search)[1] > tolerance) & (search.sweeps < SWEEPS)  # G x G: cheap to repeat

    def sweep(search: _Search) -> _Search:
        step, _ = newton(search)
        length = jnp.linalg.norm(step)
        y = jnp.clip(search.y + step, least, most)
        tried = at(y)
        better = tried.evidence > search.best.evidence
        y, best = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), (y, tried), (search.y, search.best)
        )
        radius = jnp.where(better, jnp.maximum(search.radius, 2 * length), length / 4)
        return _Search(y, best, radius, search.sweeps + 1)

    y = jnp.clip(jnp.log1p(widths / start**2), least, most)
    search = _Search(y, at(y), jnp.asarray(4, dtype), jnp.asarray(0))
    search = jax.lax.while_loop(promising, sweep, search)
    # At the bound, and the evidence still grows with the ridge.
    absent = (search.y <= least) & (search.best.slope > 0)
    ridge = jnp.where(absent, jnp.finfo(dtype).eps ** -0.5, search.best.ridge)
    return group_evidence(triangle, groups, ridge)


def _newton(
    search: _Search, least: Float[Array, " G"], most: Float[Array, " G"]
) -> tuple[Float[Array, " G"], Float[Array, ""]]:
    """Step in y, uphill along every axis of the curvature, and the gain that it predicts."""
    y, best = search.y, search.best
    stretch = 1 + 1 / jnp.expm1(y)  # -d log(lambda^2) / dy
    slope = -stretch * best.slope
    curvature = stretch[:, None] * best.curvature * stretch[None]
    # The chain rule for log(lambda^2) as a function of y, whose second derivative is this factor.
    curvature += jnp.diag(best.slope * stretch * (stretch - 1))
    # A group at a bound whose slope points outwards is held there.
    inside = jnp.where(slope > 0, y < most, y > least)
    slope = jnp.where(inside, slope, 0)
    curvature = jnp.where(inside[:, None] & inside[None], curvature, 0)
    bend, axes = jnp.linalg.eigh(curvature)
    along = slope @ axes
    # The absolute value makes every step go uphill; the second one keeps it within the radius.
    bend = jnp.maximum(jnp.abs(bend), jnp.abs(along) / search.radius)
    step = along / jnp.where(bend > 0, bend, 1)  # held groups have neither slope nor bend
    return axes @ step, along @ step / 2
