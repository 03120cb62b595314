"""Derivatives of a solution with respect to ridge, rows and targets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from triangle_problems import error, slope, system

import hgn_jax as hgn

UNSEEN = system(20, rows=30)
Z, U = system(21)
CLOSE = Z.copy()
CLOSE[:, -1] = CLOSE[:, 0] + 1e-4 * CLOSE[:, -1]
WAYS = system(22)


def shrunk(log_ridge, z, u):
    return hgn.QR(ridge=jnp.exp(log_ridge))(z, u).theta


def validation(log_ridge, z, u):
    return jnp.sum((UNSEEN[0] @ shrunk(log_ridge, z, u) - UNSEEN[1]) ** 2)


@jax.jit
def along(a, b, c, log_ridge, z, u):
    """The loss and its slopes along one direction of each argument."""

    def loss(step):
        return validation(log_ridge + step[0], z + step[1] * WAYS[0], u + step[2] * WAYS[1])

    return jax.value_and_grad(loss)(jnp.stack([a, b, c]))


second = jax.jit(jax.grad(jax.grad(validation)))


@pytest.mark.parametrize(
    ("z", "log_ridge"),
    [(Z, np.log(0.3)), (Z, np.log(1e-3)), (CLOSE, np.log(1e-3))],
    ids=["strong", "weak", "nearly dependent"],
)
def test_gradients_through_the_solution_are_finite_differences(z, log_ridge):
    zero = np.zeros(3)
    _, gradient = along(*zero, log_ridge, z, U)
    for axis, h in enumerate((1e-2, 1e-6, 1e-3)):

        def value(step, axis=axis):
            return float(along(*(step * np.eye(3)[axis]), log_ridge, z, U)[0])

        np.testing.assert_allclose(gradient[axis], slope(value, h), rtol=1e-5)


@pytest.mark.parametrize("z", [Z, CLOSE], ids=["independent", "nearly dependent"])
@pytest.mark.parametrize("log_ridge", np.log([0.3, 1e-3]))
def test_second_derivative_by_the_ridge_is_the_slope_of_the_first(z, log_ridge):
    def first(step):
        return float(along(*np.zeros(3), log_ridge + step, z, U)[1][0])

    np.testing.assert_allclose(second(log_ridge, z, U), slope(first, 1e-2), rtol=1e-6)


def test_gradient_by_the_ridge_is_the_closed_form_and_vanishes_at_the_floor():
    """d theta / d log lambda = -2 lambda^2 (Z^T Z + lambda^2 D^2)^-1 D^2 theta."""
    ridges = np.array([1.0, 0.1, 1e-30])
    by_ridge = jax.jit(jax.vmap(jax.jacfwd(shrunk), in_axes=(0, None, None)))
    found = np.asarray(by_ridge(np.log(ridges), Z, U))
    squares = np.diag(np.sum(Z**2, axis=0))
    for ridge, slopes in zip(ridges[:2], found):
        normal = Z.T @ Z + ridge**2 * squares
        theta = np.linalg.solve(normal, Z.T @ U)
        expected = -2 * ridge**2 * np.linalg.solve(normal, squares @ theta)
        assert error(slopes, expected) < 1e-12
    assert not found[2].any()


def test_vmap_over_ridges_is_the_closed_form_of_each():
    ridges = np.array([1e-3, 0.1, 3.0])
    thetas = jax.jit(jax.vmap(shrunk, in_axes=(0, None, None)))(np.log(ridges), Z, U)
    squares = np.diag(np.sum(Z**2, axis=0))
    for ridge, theta in zip(ridges, thetas):
        assert error(theta, np.linalg.solve(Z.T @ Z + ridge**2 * squares, Z.T @ U)) < 1e-13


def test_a_ridge_that_the_data_choose_is_held_in_derivatives():
    def loss(u, solver):
        return jnp.sum(solver(jnp.asarray(Z), u).theta ** 2)

    by_target = jax.jit(jax.grad(loss), static_argnums=1)
    ridge = float(jax.jit(hgn.QR())(Z, U).ridge[0])
    np.testing.assert_allclose(
        by_target(U, hgn.QR()), by_target(U, hgn.QR(ridge=ridge)), rtol=1e-10
    )


def test_derivatives_at_the_least_ridge_are_those_of_the_root_of_the_rounding_unit():
    """d theta / d u = D^-1 V s / (s^2 + eps) W^T, with Z D^-1 = W s V^T, s down to root eps."""
    z, way = Z.copy(), WAYS[1]
    z[:, -1] = z[:, 0] + 1e-7 * z[:, -1]
    scale, eps = np.linalg.norm(z, axis=0), np.finfo(np.float64).eps
    w, s, vt = np.linalg.svd(z / scale, full_matrices=False)
    assert eps**0.5 < s[-1] < 10 * eps**0.5
    expected = (s / (s**2 + eps) * (way @ w)) @ vt / scale
    solver = hgn.QR(ridge=0.0)
    _, found = jax.jit(lambda u: jax.jvp(lambda u: solver(jnp.asarray(z), u).theta, (u,), (way,)))(
        U
    )
    assert error(found, expected) < 1e-6


def test_zero_column_leaves_derivatives_finite():
    z = Z.copy()
    z[:, 3] = 0
    _, gradient = along(*np.zeros(3), np.log(0.1), z, U)
    assert np.isfinite(gradient).all()
