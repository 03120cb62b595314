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
    """x = tanh(W x + c) in three parts, of which the last is constant."""

    def function(parts):
        image = jnp.tanh(jnp.asarray(W) @ jnp.concatenate(parts[:2]) + c)
        return [image[:2], image[2:], jnp.full(3, 0.5)]

    start = [jnp.zeros(2), jnp.zeros(4), jnp.zeros(3)]
    parts, good = fixed_point(function, start, start, tolerance, iterations)
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


def test_every_part_is_exact_in_its_own_unit():
    """Bodies of masses from 1 to 1e-9 in a common well: momenta differ as much."""
    mass, h = np.array([1.0, 1e-3, 1e-7, 1e-9]), 0.3
    pull = np.diag(mass) * np.array([0.001, 0.1, 1.0, 0.01]) + 0.01 * np.outer(mass, mass)

    def final(c):
        def function(parts):
            q, p = parts
            return [c[:4] + h * p / mass, c[4:] - h * jnp.asarray(pull) @ q]

        (q, p), good = fixed_point(function, [c[:4], c[4:]], [c[:4], c[4:]], 2e-14, 64)
        return jnp.sum(q**2) + jnp.sum(p), good

    zero = np.zeros((4, 4))
    matrix = np.eye(8) - h * np.block([[zero, np.diag(1 / mass)], [-pull, zero]])
    c = np.concatenate([[0.1, 5.0, 0.4, 30.0], mass * [0.01, 0.02, 0.03, 0.004]])
    # In units of each body's mass, so that the solve keeps its digits.
    unit = np.concatenate([np.ones(4), mass])
    x = unit * np.linalg.solve(matrix * unit / unit[:, None], c / unit)
    outward = np.concatenate([2 * x[:4], np.ones(4)])
    exact = np.linalg.solve((matrix * unit / unit[:, None]).T, unit * outward) / unit
    (value, good), slope = jax.value_and_grad(final, has_aux=True)(jnp.asarray(c))
    assert good
    np.testing.assert_allclose(value, np.sum(x[:4] ** 2) + np.sum(x[4:]), rtol=1e-13)
    np.testing.assert_allclose(slope, exact, rtol=1e-11)


def test_second_derivatives_are_differences_of_the_first():
    hessian = jax.jit(jax.hessian(lambda c: jnp.sum(solve(c)[0] ** 2)))(C)
    gradient = jax.jit(jax.grad(lambda c: jnp.sum(solve(c)[0] ** 2)))
    for k, way in enumerate(np.eye(6)):
        around = (gradient(C + 1e-5 * way) - gradient(C - 1e-5 * way)) / 2e-5
        np.testing.assert_allclose(hessian[k], around, rtol=0, atol=1e-9)


def test_second_derivatives_in_a_loop_do_not_depend_on_where_iterations_start():
    """x = sin(x) / 2 + c is solved at once for c = 0, where d2(x^2)/dc2 = 8."""

    def square(c):
        def body(c, _):
            x, _ = fixed_point(lambda x: jnp.sin(x) / 2 + c, 0 * c, jnp.ones(1), 1e-15, 50)
            return x, None

        return jnp.sum(jax.lax.scan(body, c, None, length=1)[0] ** 2)

    np.testing.assert_allclose(jax.jacrev(jax.jacfwd(square))(jnp.zeros(1)), [[8]], rtol=1e-14)
    # JAX before 0.12 has no forward over reverse mode here: the error names the remedy.
    try:
        hessian = jax.hessian(square)(jnp.zeros(1))
    except NotImplementedError as error:
        assert "reverse mode over forward mode" in str(error)
    else:
        np.testing.assert_allclose(hessian, [[8]], rtol=1e-14)


def test_derivatives_that_do_not_converge_are_not_a_number():
    """The start is the solution, but the iteration leads away from it."""

    def value(c):
        x, good = fixed_point(lambda x: c - 1.5 * x, jnp.array([2.0]), jnp.ones(1), 1e-14, 50)
        return x[0], good

    (x, good), slope = jax.value_and_grad(value, has_aux=True)(jnp.array([5.0]))
    assert good and x == 2 and np.isnan(slope).all()


def test_what_does_not_converge_is_told():
    assert not solve(C, iterations=3)[1]
    assert not fixed_point(lambda x: 2 * x + 1, jnp.ones(2), jnp.ones(2), 1e-10, 50)[1]
    assert not fixed_point(lambda x: x * jnp.nan, jnp.ones(2), jnp.ones(2), 1e-10, 50)[1]
