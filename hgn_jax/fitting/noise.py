"""Noise of measured states, estimated from the states alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .series import longest_step, measured, series

HIGHEST = 12
"""Highest order of the differences that are tried."""
NORMAL = 0.6745
"""Median of the size of a standard normal number."""
DEVIATION = 1.17
"""Relative standard deviation of that median over n numbers, times the root of n."""
CAUTION = 4
"""Standard deviations by which a higher order must be better: the least of many is too small."""


def noise_of(graphs: GraphsTuple, name: str, longest_step: Float[Array, ""]) -> Float[Array, ""]:
    r"""Standard deviation of the noise of a state's array, alike for all bodies and coordinates.

    Divided differences of order m of neighbouring samples, at irregular times and scaled to unit
    variance, hold the noise and $O(\Delta t^m)$ of the motion (Gasser, Sroka, Jennen-Steinmetz,
    Biometrika 73, 1986). Their median size estimates the noise. Of the orders 1 to 12 the one is
    taken whose estimate plus four of its own standard deviations is least: what motion is left in
    it makes the estimate too large. Data without noise give a small number, at least rounding.
    """
    along = series(graphs, None, longest_step)
    values, seen = graphs.nodes[name][along.order], measured(graphs, name)[along.order]
    time, own = along.time, jnp.arange(len(seen), dtype=jnp.int32)
    dtype = values.dtype
    # Weights of the sample itself, the one before it, and so on.
    weights = jnp.zeros((len(seen), HIGHEST + 1), dtype).at[:, 0].set(1)
    # Times in units of a step: their products up to the highest order stay near one.
    unit = jnp.maximum(longest_step, jnp.finfo(dtype).tiny)

    def raised(
        lower: tuple[Array, Array, Array], order: Int[Array, ""]
    ) -> tuple[tuple[Array, Array, Array], tuple[Array, Array]]:
        """Differences of one order more, their weights of the samples, and where they exist."""
        values, weights, valid = lower
        valid &= jnp.roll(valid, 1) & (along.place >= order)
        span = jnp.where(valid, (time - time[own - order]) / unit, 1)[:, None]
        values = (values - jnp.roll(values, 1, axis=0)) / span
        # The neighbour's weights belong to samples one further back.
        weights = (weights - jnp.roll(weights, (1, 1), axis=(0, 1))) / span
        sizes = jnp.abs(values) / jnp.linalg.norm(weights, axis=1, keepdims=True)
        size = jnp.nanmedian(jnp.where(valid[:, None], sizes, jnp.nan)) / NORMAL
        number = values.shape[1] * jnp.sum(valid).astype(dtype)
        # Overlapping differences are correlated: about every second sample counts.
        samples = number / (order.astype(dtype) + 1) * 2
        bound = size * (1 + CAUTION * DEVIATION / jnp.sqrt(jnp.maximum(samples, 1)))
        return (values, weights, valid), (size, jnp.where(number > 0, bound, jnp.inf))

    orders = jnp.arange(1, HIGHEST + 1, dtype=jnp.int32)
    _, (sizes, bounds) = jax.lax.scan(raised, (values, weights, seen), orders)
    spread = jnp.sqrt(jnp.nanmean(jnp.where(seen[:, None], values**2, jnp.nan)))
    rounding = jnp.finfo(dtype).eps * jnp.where(spread > 0, spread, 1)
    best = sizes[jnp.argmin(bounds)]
    return jnp.where(best > rounding, best, rounding)


def noise_of_state(data: GraphsTuple, names: tuple[str, ...]) -> Float[np.ndarray, " s"]:
    """Noise of every array of the state; one for those that were not measured."""
    gap = longest_step(data)
    return np.array([float(_noise(data, n, gap)) if n in data.nodes else 1.0 for n in names])


_noise = eqx.filter_jit(noise_of)
