"""Fixed points and their derivatives, against dense linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgn_jax.integrators.fixed_point import fixed_point

RNG = np.random.default_rng(0)
W = RNG.normal(size=(6, 6))
W *= 0.4 / np.linalg.norm(W, 2)
C = RNG.normal(size=6)


def solve(c, tolerance=1e-15, iterations=100):
    """x = tanh(W x + c) in three parts, of which the last depends on nothing."""

    def function(parts):
        image = jnp.tanh(jnp.asarray(W) @ jnp.concatenate(parts[:2]) + c)
        return [image[:2], image[2:], jnp.full(3, 0.5)]

    start = [jnp.zeros(2), jnp.zeros(4), jnp.zeros(3)]
    parts, good = fixed_point(function, start, tolerance, iterations)
    return jnp.concatenate(parts[:2]), good


def slopes(x):
    """dx/dc: (1 - D W) dx = D dc, with D the derivative of tanh."""
    along = np.diag(1 - x**2)
    return np.linalg.solve(np.eye(6) - along @ W, along)


def test_solution_and_first_derivatives_in_both_modes():
    x, good = map(np.asarray, solve(C))
    assert good
    np.testing.assert_allclose(x, np.tanh(W @ x + C), rtol=0, atol=1e-15)
    for derivative in (jax.jacfwd, jax.jacrev):
        found = jax.jit(derivative(lambda c: solve(c)[0]))(C)
        np.testing.assert_allclose(found, slopes(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_derivatives_in_any_unit(unit):
    found = jax.grad(lambda c: unit * jnp.sum(solve(c)[0]))(C)
    np.testing.assert_allclose(found, unit * slopes(solve(C)[0]).sum(axis=0), rtol=1e-13)


def test_second_derivatives_are_differences_of_the_first():
    hessian = jax.jit(jax.hessian(lambda c: jnp.sum(solve(c)[0] ** 2)))(C)
    gradient = jax.jit(jax.grad(lambda c: jnp.sum(solve(c)[0] ** 2)))
    for k, way in enumerate(np.eye(6)):
        around = (gradient(C + 1e-5 * way) - gradient(C - 1e-5 * way)) / 2e-5
        np.testing.assert_allclose(hessian[k], around, rtol=0, atol=1e-9)


def test_what_does_not_converge_is_told():
    assert not solve(C, iterations=3)[1]
    assert not fixed_point(lambda x: 2 * x + 1, jnp.ones(2), 1e-10, 50)[1]
    assert not fixed_point(lambda x: x * jnp.nan, jnp.ones(2), 1e-10, 50)[1]
