"""Rounding errors of cancelling terms stay below the residual of a smooth misfit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn

EPS = np.finfo(float).eps


def problem(kink, units=200):
    """Random tanh units of one variable for |x|^3, which they can express only roughly."""
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 4000)
    z = np.tanh(np.outer(x, 2 * rng.normal(size=units)) + rng.uniform(-1, 1, units))
    return z, np.abs(x) ** 3 if kink else np.sin(2 * x)


@pytest.mark.parametrize("ridge", ["evidence", "gcv"])
def test_a_smooth_misfit_does_not_eat_the_digits_of_predictions(ridge):
    z, u = problem(kink=True)
    solution = jax.jit(hgn.QR(ridge=ridge))(jnp.asarray(z), jnp.asarray(u))
    residual, growth = float(solution.residual), float(solution.cancellation)
    assert 1e-8 < residual < 1e-3
    assert 10 * EPS * growth <= 1.01 * residual
    theta = np.asarray(solution.theta)
    exact = (z.astype(np.longdouble) * theta).sum(axis=1)
    shuffled = np.random.default_rng(1).permutation(len(theta))
    rounded = np.cumsum((z * theta)[:, shuffled], axis=1)[:, -1]
    assert np.linalg.norm(rounded - exact) < 0.1 * residual * np.linalg.norm(u)


def test_the_least_ridge_that_was_asked_for_is_kept():
    """Its terms cancel more than the data allow, which the automatic choice avoids."""
    z, u = problem(kink=True)
    given = jax.jit(hgn.QR(ridge=0.0))(jnp.asarray(z), jnp.asarray(u))
    assert 10 * EPS * float(given.cancellation) > float(given.residual)


def test_data_that_are_expressed_to_rounding_get_the_least_ridge():
    z, u = problem(kink=False)
    solution = jax.jit(hgn.QR())(jnp.asarray(z), jnp.asarray(u))
    assert float(solution.residual) < 1e-10
    np.testing.assert_allclose(np.max(solution.ridge), 5 * EPS, rtol=1e-6)
