"""Integrals of sampled rates along series, at irregular times."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .series import Series


def integrals(
    series: Series,
    rates: Float[Array, "n ..."],
    order: int | Int[Array, ""],
    points: int,
    longest: int,
) -> Float[Array, "n ..."]:
    r"""$\int_{t_0}^{t} rate \, ds$ from the start $t_0$ of each window to each of its frames.

    Each step is integrated exactly for the polynomial of degree `order` through the `order + 1`
    samples around it (fewer in shorter windows), all of its window. `points` >= order + 1 and
    `longest`, which bounds the windows, are static.
    """
    place, size = series.place, series.size
    own = jnp.arange(len(place), dtype=jnp.int32)
    count = jnp.minimum(order + 1, size)
    # Centred on the step, but inside the window.
    first = jnp.clip(place - (order + 1) // 2, 0, size - count)
    # Points beyond `count` have weight zero, but need an index that exists.
    nodes = jnp.clip(
        (own - place + first)[:, None] + jnp.arange(points, dtype=jnp.int32)[None], 0, len(own) - 1
    )
    before = jnp.maximum(own - 1, 0)
    step = jnp.where(place > 0, series.time - series.time[before], 1)
    # In units of the step, which runs from 0 to 1.
    offsets = (series.time[nodes] - series.time[before][:, None]) / step[:, None]
    weights = jnp.where((place > 0)[:, None], _weights(offsets, count) * step[:, None], 0)
    total = jnp.zeros_like(rates)
    for a in range(points):
        # One sample after the other: all of them at once would be the largest array of the fit.
        total += weights[:, a].reshape(-1, *[1] * (rates.ndim - 1)) * rates[nodes[:, a]]
    return series.cumulative(total, longest)


def _weights(offsets: Float[Array, "n s"], count: Int[Array, " n"]) -> Float[Array, "n s"]:
    """Weights of the first `count` samples for the integral from 0 to 1, exact for as many powers
    of the offsets; zero for the others."""
    power = jnp.arange(offsets.shape[1], dtype=jnp.int32)
    used = power[None] < count[:, None]
    both = used[:, :, None] & used[:, None, :]
    exponent = power.astype(offsets.dtype)
    powers = jnp.where(used, offsets, 0)[:, None, :] ** exponent[None, :, None]
    # Identity for unused points keeps the system regular.
    system = jnp.where(both, powers, jnp.eye(len(power), dtype=offsets.dtype)[None])
    moments = jnp.where(used, 1 / (1 + exponent)[None], 0)
    return jnp.linalg.solve(system, moments[..., None])[..., 0]
