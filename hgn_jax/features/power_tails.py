"""Pair potentials that follow a power law outside of the trained range."""

import math
import warnings
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .base import AbstractEnergy, AbstractTerm
from .pair_base import AbstractPairFeatures

SPAN = 2.0
"""Ratio of distances between which a law is measured, or the root of the whole range's if less."""
POINTS = 64
"""Number of distances at which the force is measured."""
MISFIT = 0.1
"""Root mean square of the logarithm of force over power law above which there is no law."""


class PowerTails(AbstractPairFeatures):
    r"""The units of `inner` between two distances a, and their continuation outside.

    There the slope of every unit is a power, $u'(r) = u'(a) (r / a)^m$, with one exponent m for all
    units of an edge type at each end. The potential stays linear in theta, and its force is
    continuous.
    """

    inner: AbstractPairFeatures
    starts: Float[Array, "T 2"]
    """Distances below and above which the laws hold (length); 0 and inf for none."""
    exponents: Float[Array, "T 2"]
    """Exponents m of the force below and above."""
    ranges: Float[Array, "T 2"]
    cutoff: float | None = eqx.field(static=True)

    @property
    def covered(self) -> Float[Array, "T 2"]:
        low = jnp.where(self.starts[:, 0] > 0, 0, self.ranges[:, 0])
        high = jnp.where(self.starts[:, 1] < jnp.inf, jnp.inf, self.ranges[:, 1])
        return jnp.stack([low, high], axis=1)

    def units(self, square: Float[Array, " s"], type: int) -> Float[Array, "s _"]:
        within, stretch, power = self._split(square, type)
        # The integral of x^(power - 1) from 1 to the stretch, and its limit for power 0.
        small = jnp.abs(power * stretch) < 1e-8
        # The branch that is not selected must be finite, or derivatives are NaN.
        safe = jnp.where(small, 1, power)
        integral = jnp.where(small, stretch, jnp.expm1(safe * stretch) / safe)
        slope = self.inner.slopes(within, type)
        return self.inner.units(within, type) + slope * (within * integral)[:, None]

    def slopes(self, square: Float[Array, " s"], type: int) -> Float[Array, "s _"]:
        within, stretch, power = self._split(square, type)
        # du/ds = u' / 2r has one power of r less than u': m - 1 in r, (m - 1) / 2 = power - 1 in s.
        return self.inner.slopes(within, type) * jnp.exp((power - 1) * stretch)[:, None]

    def compress(
        self,
        theta: Float[Array, " K"],
        constants: Float[Array, " c"],
        tolerance: float,
        smallest: bool,
    ) -> tuple[AbstractEnergy, Float[Array, " _"]]:
        curves, one = self.inner.compress(theta, constants, tolerance, smallest)
        if curves is self.inner:  # compressed already
            return self, theta
        assert isinstance(curves, AbstractPairFeatures)
        return continued(curves, self.starts, self.exponents), one

    def _split(
        self, square: Float[Array, " s"], type: int
    ) -> tuple[Float[Array, " s"], Float[Array, " s"], Float[Array, " s"]]:
        """Squares brought between the starts, the logarithm of what they were divided by, and
        (m + 1) / 2 of the nearer end."""
        low, high = self.starts[type] ** 2
        within = jnp.clip(square, low, high)
        stretch = jnp.log(square / within)  # zero between the starts
        below, above = (self.exponents[type] + 1) / 2
        return within, stretch, jnp.where(square < low, below, above)


def continued(
    inner: AbstractPairFeatures, starts: Float[Array, "T 2"], exponents: Float[Array, "T 2"]
) -> PowerTails:
    """Pair features with these tails."""
    return PowerTails(
        inner=inner,
        starts=starts,
        exponents=exponents,
        ranges=inner.ranges,
        cutoff=inner.cutoff,
    )


def with_power_tails(
    terms: Sequence[AbstractTerm],
    theta: Sequence[Float[Array, " _"]],
    below: float | None,
    above: float | None,
) -> tuple[AbstractTerm, ...]:
    """The terms with power laws outside of `below` and `above`, see
    `HamiltonianGraphNetwork.tails`; concrete values only."""
    pairs = [
        (term, coefficients)
        for term, coefficients in zip(terms, theta)
        if isinstance(term, AbstractPairFeatures)
    ]
    if not pairs:
        raise ValueError("the model has no pair potential that a tail could continue")
    types = max(term.types for term, _ in pairs)
    cutoff = any(term.cutoff is not None for term, _ in pairs)  # zero beyond: no law above
    starts, exponents, words = np.zeros((types, 2)), np.zeros((types, 2)), []
    for kind in range(types):
        # The law is that of the total force: terms of one model may cancel.
        own = [(term, c) for term, c in pairs if kind < term.types]
        low, high = (float(x) for x in own[0][0].ranges[kind])
        if not low < high < math.inf:
            raise ValueError(f"no pairs of edge type {kind} in training: there is no law to follow")
        first = low if below is None else float(below)
        last = math.inf if cutoff else (high if above is None else float(above))
        if not 0 <= first < min(last, high):
            raise ValueError(
                "below and above must be distances in increasing order, with a part of the trained "
                f"range {low:.4g} .. {high:.4g} between them; got {first:.4g} and {last:.4g}"
            )
        of_type = f" (edge type {kind})" if types > 1 else ""
        limits = max(first, low), min(last, high)
        span = min(SPAN, math.sqrt(limits[1] / limits[0]))
        starts[kind] = first, last
        if first > 0:
            exponents[kind, 0] = _exponent(own, kind, (first, first * span), "below")
            words.append(f"r^{exponents[kind, 0]:.4g} below {first:.4g}{of_type}")
        if last < math.inf:
            exponents[kind, 1] = _exponent(own, kind, (last / span, last), "above")
            words.append(f"r^{exponents[kind, 1]:.4g} above {last:.4g}{of_type}")
    if words:
        warnings.warn(
            f"pair forces follow {', '.join(words)}. out_of_range does not count these pairs; the "
            "laws are measured inside of the trained range",
            stacklevel=4,  # the user's line: `tails` and Equinox's bound method lie between
        )
    return tuple(
        continued(
            term,
            jnp.asarray(starts[: term.types], c.dtype),
            jnp.asarray(exponents[: term.types], c.dtype),
        )
        if isinstance(term, AbstractPairFeatures)
        else term
        for term, c in zip(terms, theta)
    )


def _exponent(
    pairs: Sequence[tuple[AbstractPairFeatures, Float[Array, " _"]]],
    kind: int,
    span: tuple[float, float],
    side: str,
) -> float:
    """Exponent of the force between two distances, by a straight line through its logarithm."""
    r = np.geomspace(*span, POINTS)
    slope = np.zeros(POINTS)
    for term, theta in pairs:
        own = jnp.split(theta, term.types)[kind]
        slope += np.asarray(term.slopes(jnp.asarray(r**2, theta.dtype), kind) @ own)
    force, x = 2 * r * slope, np.log(r)  # d phi / dr = 2 r d phi / dr^2
    where = f"pair forces between {span[0]:.4g} and {span[1]:.4g}"
    remedy = (
        f"give a distance near which they follow one, tails({side}=...), or leave out that tail, "
    ) + ("below=0" if side == "below" else "above=inf")
    if not (np.all(force > 0) or np.all(force < 0)):
        raise ValueError(f"{where} vanish or change sign, and follow no power law: {remedy}")
    (exponent, _), square, *_ = np.polyfit(x, np.log(np.abs(force)), 1, full=True)
    misfit = math.sqrt(float(np.sum(square)) / POINTS)
    if misfit > MISFIT:
        raise ValueError(f"{where} are {misfit:.0%} off any power law: {remedy}")
    return float(exponent)
