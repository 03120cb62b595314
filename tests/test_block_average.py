"""Block averages have the standard errors of correlated series."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import hgn_jax as hgn


def autoregressive(phi, length, series, seed=0):
    """Stationary x' = phi x + noise of variance one, `[length series]`."""
    noise = np.random.default_rng(seed).normal(size=(length, series))
    noise[0] /= np.sqrt(1 - phi**2)
    return scipy.signal.lfilter([1], [1, -phi], noise, axis=0)


@pytest.mark.parametrize("phi", [0.0, 0.7, 0.95])
def test_errors_are_those_of_an_autoregressive_process(phi):
    """The variance of the mean is (1 + phi) / (1 - phi) times that of independent samples."""
    length, series = 2**15 + 77, 300
    values = autoregressive(phi, length, series)
    average = hgn.block_average(values)
    exact = 1 / (1 - phi) / np.sqrt(length)
    np.testing.assert_allclose(np.sqrt(np.mean(average.error**2)), exact, rtol=0.05)
    np.testing.assert_allclose(average.mean, values.mean(axis=0), rtol=0, atol=1e-12)
    assert abs(np.mean(np.abs(average.mean) < 2 * average.error) - 0.954) < 0.05
    assert average.error.std() < 0.2 * exact


def test_a_series_that_is_too_short_has_no_error():
    assert np.isnan(hgn.block_average(np.arange(64.0)).error)
    with pytest.raises(ValueError, match="at least 4 samples, got 3"):
        hgn.block_average(jnp.ones(3))


def test_each_column_has_its_own_blocks_also_under_jit():
    values = np.stack([autoregressive(phi, 2048, 2) for phi in (0.0, 0.9)], axis=2)
    average = jax.jit(hgn.block_average)(values)
    assert average.mean.shape == average.error.shape == average.block.shape == (2, 2)
    alone = hgn.block_average(values[:, 1, 1])
    np.testing.assert_allclose(alone.error, average.error[1, 1], rtol=1e-12)
    assert average.block[1, 1] > average.block[1, 0]


def test_constant_series_have_no_error():
    assert hgn.block_average(np.full(100, 3)).error == 0
