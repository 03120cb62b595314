"""Contrasts: orthonormal combinations of a window's samples in which the free start is gone."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .series import Series


def contrasts(
    series: Series,
    values: Float[Array, "n ..."],
    seen: Bool[Array, " n"],
    longest: int,
    *,
    moving: bool = False,
) -> tuple[Float[Array, "n ..."], Bool[Array, " n"]]:
    r"""Each sample less what the earlier ones of its window predict, at unit variance, and where
    there is such a prediction.

    The prediction is the mean of the earlier samples, $e_k = (x_k - \bar x_{<k}) / \sqrt{1 + 1/n}$;
    with `moving`, the straight line through them. These are the recursive residuals of Brown,
    Durbin and Evans (J. R. Stat. Soc. B 37, 1975): white if the noise of the samples is white,
    and there are as many as samples less one (or two) in each window, whichever samples are
    missing.
    """
    mask = seen.astype(series.time.dtype)
    mask = mask.reshape(-1, *[1] * (values.ndim - 1))

    def earlier(terms: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        terms = jnp.where(mask > 0, terms, 0)
        return series.cumulative(terms, longest) - terms  # without the sample itself

    number = earlier(mask)
    if not moving:
        known = jnp.maximum(number, 1)
        rows = (values - earlier(values) / known) / jnp.sqrt(1 + 1 / known)
        return _where(rows, seen & (jnp.ravel(number) > 0))
    # Times from the start of the window: squares of absolute times would cancel.
    time = series.time - series.time[jnp.arange(len(seen), dtype=jnp.int32) - series.place]
    time = time.reshape(mask.shape)
    first, second = earlier(time * mask), earlier(time**2 * mask)
    # Normal equations of the straight line through the earlier samples.
    determinant = number * second - first**2
    good = (number >= 2) & (determinant > 0)
    known = jnp.where(good, determinant, 1)
    sums, moments = earlier(values), earlier(time * values)
    level = (second * sums - first * moments) / known
    slope = (number * moments - first * sums) / known
    # Variance of the line's value at this time, in units of the noise.
    leverage = (second - 2 * time * first + time**2 * number) / known
    rows = (values - level - slope * time) / jnp.sqrt(1 + jnp.where(good, leverage, 0))
    return _where(rows, seen & jnp.ravel(good))


def _where(
    rows: Float[Array, "n ..."], valid: Bool[Array, " n"]
) -> tuple[Float[Array, "n ..."], Bool[Array, " n"]]:
    return jnp.where(valid.reshape(-1, *[1] * (rows.ndim - 1)), rows, 0), valid
