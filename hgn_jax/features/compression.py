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
NODES = chebyshev.chebpts1(4 * DEGREES)
"""Four times as many as coefficients, so that higher degrees do not alias into them."""
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
        # Even steps alone would miss steep forces at short distances.
        close = np.geomspace(low, high, 2001) if low > 0 else even[:0]
        beyond = even[:0]
        if self.end is not None:
            # Just short of the end, from which on the curve is zero by definition.
            beyond = np.linspace(high, max(high, np.sqrt(self.end) * (1 - 1e-9)), 1001)
        x = np.concatenate([even, close, beyond])
        force = 2 * x * np.asarray(self.slope(jnp.asarray(x**2)))  # d phi / dx = 2 x d phi / ds
        typical = np.median(np.abs(force[: len(even)]))  # evenly spaced, so that none crowd
        # Where the force crosses zero, a relative error would have no bound.
        scale = np.maximum(np.abs(force), typical)
        return x, force, np.where(scale > 0, scale, 1)  # no force at all: absolute errors


class Candidate(NamedTuple):
    curve: AbstractCurve
    error: float
    seconds: float


def cheapest(
    target: Target, tolerance: float, smallest: bool, dtype: np.dtype, words: str
) -> Candidate:
    """Fastest curve within the tolerance, or that of the fewest numbers. Raises `ValueError` if
    there is none, naming `words`."""
    points = target.check_points()
    candidates = [
        _measured(build(target, variable, tolerance, points), dtype, points)
        for build in (_polynomial, _spline)
        for variable in VARIABLES
        if target.span[0] > 0 or variable == "square"  # the others have no slope at 0
    ]
    good = [c for c in candidates if c.error <= tolerance]
    if not good:
        raise not_reached(words, tolerance, min(c.error for c in candidates))
    if smallest:
        return min(good, key=lambda c: sum(a.size for a in jax.tree.leaves(c.curve)))
    fastest = min(c.seconds for c in good)
    return next(c for c in good if c.seconds <= (1 + TIE) * fastest)


def followed(low: float, high: float, words: str) -> tuple[float, float]:
    """Distances over which curves follow the model: the trained range and `MARGIN` beyond.

    **Raises:** `ValueError` if there is no range, naming `words`.
    """
    if not low <= high < np.inf:
        raise ValueError(f"no {words} in training: there is no range to compress over")
    # A rigid bond has no range, but still gets a margin.
    margin = MARGIN * (high - low) + 1e-3 * low
    return max(low - margin, low / 2), high + margin  # distances stay positive


def expansion(values: np.ndarray) -> np.ndarray:
    """Chebyshev coefficients from the values at `NODES`, whose first axis they replace."""
    series = 2 / len(NODES) * chebyshev.chebvander(NODES, DEGREES - 1).T @ values
    series[0] /= 2  # T_0 has twice the squared norm of the others
    return series


def not_reached(words: str, tolerance: float, least: float) -> ValueError:
    return ValueError(
        f"the {words} cannot be compressed to a relative error of {tolerance:g}: the best "
        f"curve reaches {least:.2g}; give a greater tolerance, or, if its terms cancel to "
        "rounding (fit.cancellation), fit with a greater ridge, solver=hgn.QR(ridge=1e-12)"
    )


def _measured(curve: AbstractCurve, dtype: np.dtype, points: _Points) -> Candidate:
    """The curve in the model's precision, with its error and time."""
    x, force, scale = points
    curve = jax.tree.map(lambda a: a.astype(dtype), curve)
    # np.resize repeats the points, so that the first values are also those to check.
    squares = jnp.asarray(np.resize(x**2, SAMPLES), dtype)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        slope = jax.block_until_ready(_slope(curve, squares))
        times.append(time.perf_counter() - start)
    wrong = np.abs(2 * x * np.asarray(slope[: len(x)], float) - force) / scale
    # The least time leaves out the first call, which compiles.
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
        of = {
            "square": np.positive, "inverse square": np.reciprocal, "root": np.square,
            "logarithm": np.exp,
        }  # fmt: skip
        # Rounding must not leave the span, where the slope may be undefined.
        return np.clip(of[self.variable](t), *self.span)

    def by_x(self, s: np.ndarray) -> np.ndarray:
        """ds/dx."""
        first, last = self.ends  # last < first for 1/s, and the signs cancel
        by_t = {
            "square": np.ones_like(s), "inverse square": -(s**2), "root": 2 * np.sqrt(s),
            "logarithm": s,
        }  # fmt: skip
        return by_t[self.variable] * (last - first) / 2

    def scaled(self, s: np.ndarray) -> np.ndarray:
        first, last = self.ends
        t = np.asarray(transformed(jnp.asarray(s), self.variable))
        return 2 * (t - first) / (last - first) - 1


def _polynomial(target: Target, variable: str, tolerance: float, points: _Points) -> AbstractCurve:
    """Polynomial of the least degree that reaches half the tolerance, or else of the best."""
    frame = _Frame(np.square(target.span), variable)
    s = frame.squares(NODES)
    # The slope is expanded, since the tolerance bounds errors of the force.
    series = expansion(np.asarray(target.slope(jnp.asarray(s))) * frame.by_x(s))
    x, force, scale = points
    basis = chebyshev.chebvander(frame.scaled(x**2), DEGREES - 1)
    if target.end is not None:
        basis -= 1  # no force at the end, where x = 1
    # Partial sums: the errors of polynomials of every degree at once.
    sums = np.cumsum(basis * series, axis=1) * (2 * x / frame.by_x(x**2))[:, None]
    errors = np.max(np.abs(sums - force[:, None]) / scale[:, None], axis=0)
    enough = errors <= tolerance / 2  # the other half is left to rounding in the model's precision
    kept = series[: 1 + int(np.argmax(enough) if enough.any() else np.argmin(errors))]
    # The constant of integration: energies agree at one point, the end if there is one.
    last, at = 0.0, 1.0
    if target.end is None:
        # x near 1.
        last, at = float(target.value(jnp.asarray(s))[-1]), float(frame.scaled(s[-1:])[0])
    else:
        kept[0] -= kept.sum()  # T_k(1) = 1: the slope vanishes at the end, too
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
    # Numbers of pieces are powers of two: coarse splines read some of the finest knots.
    knots = frame.squares(np.linspace(-1, 1, 2 * PIECES[-1] + 1))
    slopes = np.asarray(target.slope(jnp.asarray(knots))) * frame.by_x(knots)
    last = 0.0 if target.end is not None else float(target.value(jnp.asarray(knots[-1:]))[0])
    x, force, scale = points
    at, by_x = frame.scaled(x**2), frame.by_x(x**2)
    for count in PIECES:
        slope = slopes[:: PIECES[-1] // count] * (2 / count)  # by t, as a piece is 2 / count of x
        first, middle, end = slope[:-1:2], slope[1::2], slope[2::2]
        # The slope first + 2 bend t + 3 twist t^2 through its values at t = 0, 1/2 and 1.
        bend = (4 * middle - 3 * first - end) / 2
        twist = (first - 2 * middle + end) * (2 / 3)
        k = np.clip((at + 1) * (count / 2), 0, count - 1).astype(int)  # x = 1 is in the last piece
        t = (at + 1) * (count / 2) - k
        along = (first[k] + t * (2 * bend[k] + t * 3 * twist[k])) * (count / 2)
        if np.max(np.abs(2 * x * along / by_x - force) / scale) <= tolerance / 2:
            break
    # Summed backwards, from the last knot, where the energy is known.
    values = last - np.cumsum((first + bend + twist)[::-1])[::-1]
    pieces = np.stack([values, first, bend, twist], axis=1)
    return Spline(
        pieces=jnp.asarray(pieces), span=jnp.asarray(frame.span), variable=variable, end=target.end
    )
