"""Means of correlated series, and their standard errors."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

FEWEST = 4
"""Blocks of the longest size that is tried."""


class BlockAverage(eqx.Module):
    """Mean of a series and its standard error."""

    mean: Float[Array, "..."]
    error: Float[Array, "..."]
    """Standard error; NaN if the series is too short for its correlations."""
    block: Int[Array, "..."]
    """Samples per block."""


def block_average(values: ArrayLike) -> BlockAverage:
    r"""Mean over the first axis of `values`, with its standard error for correlated samples.

    Averages of blocks of B samples are independent once B exceeds the correlation time. Their
    spread gives the error $\epsilon_B$, for B = 1, 2, 4, ... samples. The result is that of the
    first with $B^3 > 2 t (\epsilon_B / \epsilon_1)^4$, which balances the remaining correlations
    against the noise of few blocks. Remove the samples before equilibrium first. The error itself
    is uncertain, by $1 / \sqrt{2 t / B}$ of its value.

    `values` are `[t ...]`; each column has its own block size. May be jitted and vmapped.

    **Raises:** `ValueError` for fewer than four samples.

    Flyvbjerg and Petersen, Error estimates on averages of correlated data, J. Chem. Phys. 91,
    1989. Lee, Doll, Needs and Rios, Strategies for improving the efficiency of quantum Monte Carlo
    calculations, Physical Review E 83, 2011 (the choice of B).
    """
    series = jnp.asarray(values)
    series = series if jnp.issubdtype(series.dtype, jnp.floating) else series.astype(float)
    count = series.shape[0] if series.ndim else 0
    if count < FEWEST:
        raise ValueError(f"a block average needs at least {FEWEST} samples, got {count}")
    mean = jnp.mean(series, axis=0, keepdims=True)
    sizes = [2**k for k in range(count.bit_length()) if count // 2**k >= FEWEST]
    squares = jnp.stack([_square_of_error(series - mean, size) for size in sizes])
    first = jnp.where(squares[:1] > 0, squares[:1], 1)  # constant series have no error
    blocks = jnp.asarray(sizes).reshape(-1, *[1] * mean[0].ndim)
    # Floats, since cubes of integers overflow. Squared squares are the fourth power.
    enough = blocks.astype(series.dtype) ** 3 > 2 * count * (squares / first) ** 2
    chosen = jnp.argmax(enough, axis=0, keepdims=True)  # the first that is long enough
    error = jnp.sqrt(jnp.take_along_axis(squares, chosen, axis=0)[0])
    return BlockAverage(
        mean[0], jnp.where(jnp.any(enough, axis=0), error, jnp.nan), jnp.asarray(sizes)[chosen[0]]
    )


def _square_of_error(series: Float[Array, "t ..."], size: int) -> Float[Array, "..."]:
    """Squared error of the mean of a series without its mean, by blocks of that size."""
    number = len(series) // size
    blocks = jnp.mean(series[: number * size].reshape(number, size, *series.shape[1:]), axis=1)
    return jnp.var(blocks, axis=0) / (number - 1)  # unbiased: var divides by `number`
