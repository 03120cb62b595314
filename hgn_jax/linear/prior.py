"""Normal prior of the coefficients of one system, learned from those of related systems."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float

from .base import LeastSquaresSolution, Pull, describe
from .gram import Gram
from .ridge import spectrum
from .triangle import Triangle, triangle

TRUST = (0.0, 0.3, 1.0, 3.0, 10.0, 100.0)
"""Factors of the learned covariance among which the evidence chooses; 0 leaves the prior out."""
WIDTHS = 16
"""Number of widths tau of what no other system had."""
NOISES = 49
"""Number of noises, over four standard deviations on each side."""
LEAST_SPREAD = 0.5
"""Least standard deviation of the logarithm of the noise between systems."""
SWEEPS = 100
GAIN = 1e-4
"""The search for a prior ends when a sweep gains less than this share of the evidence."""


class GaussianPrior(eqx.Module):
    r"""$\theta \sim N(\mu, \Sigma)$, and $\log \sigma$ normal for the noise of a weighted row.

    Coefficients are those of columns divided by `scale`, their root mean square over the rows of
    all systems. They have no units then, but those of the rows.
    """

    mean: Float[Array, " K"]
    covariance: Float[Array, "K K"]
    scale: Float[Array, " K"]
    log_noise: Float[Array, ""]
    """Mean of the logarithm of the noise."""
    log_noise_spread: Float[Array, ""]
    """Its standard deviation."""

    def solve(self, data: Triangle | Gram, groups: tuple[int, ...]) -> LeastSquaresSolution:
        r"""Coefficients of a new system, by the prior $N(\mu, a \Sigma + \tau^2)$, or
        $N(0, \tau^2)$ for a = 0.

        The evidence of the new data chooses the trust a in `TRUST`, the width $\tau$ of what no
        other system had, and the noise.
        """
        return _solve(*jax.lax.stop_gradient((data.triangle(), self)), groups)


class _Tried(NamedTuple):
    evidence: Float[Array, ""]
    trust: Float[Array, ""]
    width: Float[Array, ""]
    noise: Float[Array, ""]


def _solve(data: Triangle, prior: GaussianPrior, groups: tuple[int, ...]) -> LeastSquaresSolution:
    dtype = data.r.dtype
    r, n = data.r / prior.scale[None], data.rows.astype(dtype)
    size = jnp.sqrt(jnp.mean(jnp.diagonal(prior.covariance) + prior.mean**2))
    widths = size * 10.0 ** jnp.linspace(-4, 1, WIDTHS, dtype=dtype)
    steps = jnp.linspace(-4, 4, NOISES, dtype=dtype)
    noises = jnp.exp(prior.log_noise + prior.log_noise_spread * steps)

    def at(trust: Float[Array, ""], width: Float[Array, ""]) -> _Tried:
        spread = r @ _covariance(prior, trust, width) @ r.T
        # One decomposition serves all noises: only eigenvalues are divided by their squares.
        variance, axes = jnp.linalg.eigh(spread)
        off = axes.T @ (data.qu - r @ _mean(prior, trust))  # what the mean leaves

        def of_noise(noise: Float[Array, ""], step: Float[Array, ""]) -> Float[Array, ""]:
            grown = 1 + jnp.maximum(variance, 0) / noise**2  # rounding makes some negative
            misfit = (jnp.sum(off**2 / grown) + data.rest**2) / noise**2
            # Less n, the constant that `RidgePath` leaves out; step^2 is the prior of log noise.
            return -n * jnp.log(noise) - (jnp.sum(jnp.log(grown)) + misfit - n + step**2) / 2

        every = jax.vmap(of_noise)(noises, steps)
        best = jnp.argmax(every)
        return _Tried(every[best], trust, width, noises[best])

    grid = [x.ravel() for x in jnp.meshgrid(jnp.asarray(TRUST, dtype), widths, indexing="ij")]
    tried = jax.lax.map(lambda x: at(*x), tuple(grid))  # one decomposition in memory
    best = jax.tree.map(lambda a: a[jnp.argmax(tried.evidence)], tried)
    factor = jnp.linalg.cholesky(_covariance(prior, best.trust, best.width))
    # The prior as rows, L^-1 (theta - mean) with L L^T the covariance, at the noise of the data.
    pull = jsl.solve_triangular(factor, jnp.diag(prior.scale), lower=True)
    to = jsl.solve_triangular(factor, _mean(prior, best.trust), lower=True)
    rows = triangle(best.noise * pull, best.noise * to, jnp.zeros_like(data.rows))
    posterior = Triangle.merge([data, rows])
    theta = jsl.solve_triangular(posterior.r, posterior.qu)
    half = jsl.solve_triangular(posterior.r, data.r.T, trans=1)
    freedom = jnp.sum(jsl.solve_triangular(posterior.r, half) * data.r.T, axis=1)  # diag A^-1 R^T R
    none = jnp.zeros(len(groups), dtype)
    solution = describe(
        data, theta, spectrum(data)[0], none, freedom, best.evidence, best.noise, groups
    )
    # `prior` is None, which counts as a leaf only on request.
    return eqx.tree_at(
        lambda s: s.prior, solution, Pull(rows, best.trust), is_leaf=lambda x: x is None
    )


def _mean(prior: GaussianPrior, trust: Float[Array, ""]) -> Float[Array, " K"]:
    return jnp.where(trust > 0, prior.mean, 0)


def _covariance(
    prior: GaussianPrior, trust: Float[Array, ""], width: Float[Array, ""]
) -> Float[Array, "K K"]:
    return trust * prior.covariance + width**2 * jnp.eye(len(prior.mean), dtype=width.dtype)


class _Search(NamedTuple):
    mean: Float[Array, " K"]
    covariance: Float[Array, "K K"]
    evidence: Float[Array, ""]
    gain: Float[Array, ""]
    sweeps: Array


def learned(
    triangles: Sequence[Triangle], solutions: Sequence[LeastSquaresSolution]
) -> GaussianPrior:
    r"""Prior that makes the rows of all systems most probable, by expectation maximisation.

    For every system the posterior mean $m_s$ and covariance $V_s$ under the prior; then $\mu$ is
    the mean of the $m_s$, and $\Sigma$ the mean of $V_s + (m_s - \mu)(m_s - \mu)^T$ (Bishop,
    Pattern Recognition and Machine Learning, section 9.4). The noise of every system is that of its
    own fit.
    """
    rows = sum(t.rows for t in triangles).astype(triangles[0].r.dtype)  # type: ignore[union-attr]
    square = sum(jnp.sum(t.r**2, axis=0) for t in triangles)
    scale = jnp.where(square > 0, jnp.sqrt(square / rows), 1)
    noise = jnp.stack([s.noise for s in solutions])
    # Exact fits have no noise, but weights must be finite.
    tiny = 1e-12 * jnp.stack([t.target_norm / jnp.sqrt(rows) for t in triangles])
    noise = jnp.maximum(noise, tiny)
    r = jnp.stack([t.r / scale[None] for t in triangles]) / noise[:, None, None]
    u = jnp.stack([t.qu for t in triangles]) / noise[:, None]
    first = jnp.stack([s.theta for s in solutions]) * scale[None]
    search = _maximised(r, u, first)
    logs = jnp.log(noise)
    spread = jnp.maximum(jnp.std(logs), LEAST_SPREAD)
    return GaussianPrior(search.mean, search.covariance, scale, jnp.mean(logs), spread)


@eqx.filter_jit
def _maximised(
    r: Float[Array, "s K K"], u: Float[Array, "s K"], first: Float[Array, "s K"]
) -> _Search:
    count, columns = first.shape

    def sweep(search: _Search) -> _Search:
        def expected(
            system: tuple[Array, Array],
        ) -> tuple[Float[Array, " K"], Float[Array, "K K"], Float[Array, ""]]:
            # Woodbury: the covariance is never inverted, since it may be nearly singular.
            own, target = system
            spread = own @ search.covariance
            factor = jnp.linalg.cholesky(spread @ own.T + jnp.eye(columns, dtype=own.dtype))
            off = jsl.solve_triangular(factor, target - own @ search.mean, lower=True)
            half = jsl.solve_triangular(factor, spread, lower=True)
            evidence = -jnp.sum(jnp.log(jnp.diagonal(factor))) - jnp.sum(off**2) / 2
            return search.mean + half.T @ off, search.covariance - half.T @ half, evidence

        means, covariances, evidence = jax.lax.map(expected, (r, u))
        mean = jnp.mean(means, axis=0)
        deviation = means - mean[None]
        covariance = jnp.mean(covariances, axis=0) + deviation.T @ deviation / count
        total = jnp.sum(evidence)
        gain = (total - search.evidence) / jnp.abs(total)
        # Rounding makes the covariance asymmetric.
        return _Search(mean, (covariance + covariance.T) / 2, total, gain, search.sweeps + 1)

    def unfinished(search: _Search) -> Array:
        return (search.sweeps < 2) | ((search.gain > GAIN) & (search.sweeps < SWEEPS))

    mean = jnp.mean(first, axis=0)
    deviation = first - mean[None]
    size = jnp.mean(first**2)
    # Few systems span few directions: the identity opens all others.
    start = deviation.T @ deviation / count + size * jnp.eye(columns, dtype=first.dtype)
    worst = jnp.asarray(-jnp.inf, first.dtype)
    return jax.lax.while_loop(
        unfinished, sweep, _Search(mean, start, worst, -worst, jnp.asarray(0))
    )
