"""Replaces a sum of many random units of one variable by the cheapest curve within a tolerance."""

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.polynomial import chebyshev

from .curves import VARIABLES, AbstractCurve, Chebyshev, Spline, transformed

MARGIN = 0.05
"""Share of the trained range by which curves follow the model beyond it."""
DEGREES, PIECES = 128, 2 ** np.arange(4, 15)
"""Number of Chebyshev coefficients to compute, and numbers of spline pieces to try."""
SAMPLES = 2**18
"""Number of squares at which candidates are timed."""
TIE = 0.1
"""Relative difference in time that counts as a tie. The candidate that is built first then wins:
polynomials before splines, and of these the one of the simplest variable."""

T = TypeVar("T")
_Points = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Points at which errors are measured: x = sqrt(s), the force there, and the scale of errors."""


def in_double_precision(tree: T) -> T:
    """The arrays in double precision, if JAX has it enabled: a curve must not follow rounding."""
    return jax.tree.map(
        lambda a: a.astype(jnp.result_type(float)) if eqx.is_inexact_array(a) else a, tree
    )


class Target(NamedTuple):
    """phi(s) and its slope for s = x^2, with x in the trained range. Curves follow phi over `span`.
    With an `end`, phi vanishes from s = `end` on."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    trained: tuple[float, float]
    span: tuple[float, float]
    end: float | None

    def check_points(self) -> _Points:
        low, high = self.trained
        even = np.linspace(low, high, 4001)
        close = np.geomspace(low, high, 2001) if low > 0 else even[:0]
        beyond = even[:0]
        if self.end is not None:
            beyond = np.linspace(high, max(high, np.sqrt(self.end) * (1 - 1e-9)), 1001)
        x = np.concatenate([even, close, beyond])
        force = 2 * x * np.asarray(self.slope(jnp.asarray(x**2)))
        typical = np.median(np.abs(force[: len(even)]))
        scale = np.maximum(np.abs(force), typical)
        return x, force, np.where(scale > 0, scale, 1)


class Candidate(NamedTuple):
    curve: AbstractCurve
    error: float
    seconds: float


def cheapest(target: Target, tolerance: float, dtype: np.dtype, words: str) -> Candidate:
    """Fastest curve within the tolerance. Raises `ValueError` if there is none, naming `words`."""
    points = target.check_points()
    candidates = [
        _measured(build(target, variable, tolerance, points), dtype, points)
        for build in (_polynomial, _spline)
        for variable in VARIABLES
        if target.span[0] > 0 or variable == "square"
    ]
    good = [c for c in candidates if c.error <= tolerance]
    if not good:
        least = min(c.error for c in candidates)
        raise ValueError(
            f"the {words} cannot be compressed to a relative error of {tolerance:g}: the best "
            f"curve reaches {least:.2g}; give a greater tolerance, or, if its terms cancel to "
            "rounding (fit.cancellation), fit with a greater ridge, solver=hgn.QR(ridge=1e-12)"
        )
    fastest = min(c.seconds for c in good)
    return next(c for c in good if c.seconds <= (1 + TIE) * fastest)


def _measured(curve: AbstractCurve, dtype: np.dtype, points: _Points) -> Candidate:
    """The curve in the model's precision, with its error and time."""
    x, force, scale = points
    curve = jax.tree.map(lambda a: a.astype(dtype), curve)
    squares = jnp.asarray(np.resize(x**2, SAMPLES), dtype)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        slope = jax.block_until_ready(_slope(curve, squares))
        times.append(time.perf_counter() - start)
    wrong = np.abs(2 * x * np.asarray(slope[: len(x)], float) - force) / scale
    return Candidate(curve, float(np.max(wrong)), min(times))


@eqx.filter_jit
def _slope(curve: AbstractCurve, squares: Array) -> Array:
    return curve.slope(squares)


class _Frame(NamedTuple):
    """Map between s in the span and x from -1 to 1: linear in a variable t of s."""

    span: np.ndarray
    variable: str

    @property
    def ends(self) -> np.ndarray:
        return np.asarray(transformed(jnp.asarray(self.span), self.variable))

    def squares(self, x: np.ndarray) -> np.ndarray:
        first, last = self.ends
        t = first + (x + 1) / 2 * (last - first)
        of = {"square": np.positive, "inverse square": np.reciprocal, "root": np.square}
        return np.clip(of[self.variable](t), *self.span)

    def by_x(self, s: np.ndarray) -> np.ndarray:
        """ds/dx."""
        first, last = self.ends
        by_t = {"square": np.ones_like(s), "inverse square": -(s**2), "root": 2 * np.sqrt(s)}
        return by_t[self.variable] * (last - first) / 2

    def scaled(self, s: np.ndarray) -> np.ndarray:
        first, last = self.ends
        t = np.asarray(transformed(jnp.asarray(s), self.variable))
        return 2 * (t - first) / (last - first) - 1


def _polynomial(target: Target, variable: str, tolerance: float, points: _Points) -> AbstractCurve:
    """Polynomial of the least degree that reaches half the tolerance, or else of the best."""
    frame = _Frame(np.square(target.span), variable)
    angle = (np.arange(4 * DEGREES) + 0.5) * np.pi / (4 * DEGREES)
    s = frame.squares(np.cos(angle))
    slope = np.asarray(target.slope(jnp.asarray(s))) * frame.by_x(s)
    series = 2 / len(s) * np.cos(np.outer(np.arange(DEGREES), angle)) @ slope
    series[0] /= 2
    x, force, scale = points
    basis = chebyshev.chebvander(frame.scaled(x**2), DEGREES - 1)
    if target.end is not None:
        basis -= 1  # no force at the end, where x = 1
    sums = np.cumsum(basis * series, axis=1) * (2 * x / frame.by_x(x**2))[:, None]
    errors = np.max(np.abs(sums - force[:, None]) / scale[:, None], axis=0)
    enough = errors <= tolerance / 2
    kept = series[: 1 + int(np.argmax(enough) if enough.any() else np.argmin(errors))]
    last, at = 0.0, 1.0
    if target.end is None:
        last, at = float(target.value(jnp.asarray(s))[0]), float(frame.scaled(s[:1])[0])
    else:
        kept[0] -= kept.sum()
    energy = chebyshev.chebint(kept)
    energy[0] += last - chebyshev.chebval(at, energy)
    return Chebyshev(
        coefficients=jnp.asarray(energy),
        derivative=jnp.asarray(kept),
        span=jnp.asarray(frame.span),
        variable=variable,
        end=target.end,
    )


def _spline(target: Target, variable: str, tolerance: float, points: _Points) -> AbstractCurve:
    """Spline with the fewest pieces that reach half the tolerance, or else with the most.

    The slope is interpolated at both ends and the middle of each piece, and integrated to the
    value: differences of values would amplify their rounding errors.
    """
    frame = _Frame(np.square(target.span), variable)
    knots = frame.squares(np.linspace(-1, 1, 2 * PIECES[-1] + 1))
    slopes = np.asarray(target.slope(jnp.asarray(knots))) * frame.by_x(knots)
    last = 0.0 if target.end is not None else float(target.value(jnp.asarray(knots[-1:]))[0])
    x, force, scale = points
    at, by_x = frame.scaled(x**2), frame.by_x(x**2)
    for count in PIECES:
        slope = slopes[:: PIECES[-1] // count] * (2 / count)
        first, middle, end = slope[:-1:2], slope[1::2], slope[2::2]
        bend = (4 * middle - 3 * first - end) / 2
        twist = (first - 2 * middle + end) * (2 / 3)
        k = np.clip((at + 1) * (count / 2), 0, count - 1).astype(int)
        t = (at + 1) * (count / 2) - k
        along = (first[k] + t * (2 * bend[k] + t * 3 * twist[k])) * (count / 2)
        if np.max(np.abs(2 * x * along / by_x - force) / scale) <= tolerance / 2:
            break
    values = last - np.cumsum((first + bend + twist)[::-1])[::-1]
    pieces = np.stack([values, first, bend, twist], axis=1)
    return Spline(
        pieces=jnp.asarray(pieces), span=jnp.asarray(frame.span), variable=variable, end=target.end
    )
