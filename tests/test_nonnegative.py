"""Coefficients of friction that must not be negative."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.optimize

import hgn_jax as hgn
from hgn_jax.features.hats import Hats
from hgn_jax.linear.nonnegative import least_squares, nonnegative
from hgn_jax.linear.triangle import triangle


@pytest.mark.parametrize("shape", [(30, 12), (12, 12), (8, 12)])
def test_least_squares_without_negative_entries_is_that_of_scipy(shape):
    for seed in range(5):
        matrix, target = np.split(np.random.default_rng(seed).normal(size=(shape[0], 13)), [12], 1)
        matrix *= 10.0 ** np.arange(-6, 6)
        truth, residual = scipy.optimize.nnls(matrix, target[:, 0])
        found = least_squares(jnp.asarray(matrix), jnp.asarray(target[:, 0]))
        assert (np.asarray(found) >= 0).all()
        assert np.linalg.norm(matrix @ found - target[:, 0]) == pytest.approx(residual, rel=1e-12)
        if shape[0] >= 12:
            np.testing.assert_allclose(found, truth, rtol=1e-9, atol=1e-12 * truth.max())


def system(seed=3):
    """Rows whose unconstrained solution has negative entries among the last four columns."""
    rng = np.random.default_rng(seed)
    matrix, truth = rng.normal(size=(40, 9)), np.array([1, -2, 3, -1, 0.5, 0.6, -0.4, 1, -0.8])
    return jnp.asarray(matrix), jnp.asarray(matrix @ truth + rng.normal(size=40))


NOISY = [hgn.Derivatives("uniform")]
MARKED = (False, True, False, False, False, True, True, True, True)


def test_only_marked_columns_are_bounded_and_the_ridge_is_kept():
    matrix, target = system()
    rows, solver = triangle(matrix, target), hgn.QR(ridge=0.3)
    free = solver.solve(rows)
    found = nonnegative(rows, free, MARKED)
    ridge = 0.3 * np.linalg.norm(matrix, axis=0)
    truth = scipy.optimize.lsq_linear(
        np.concatenate([matrix, np.diag(ridge)]), np.append(target, np.zeros(9)),
        (np.where(MARKED, 0, -np.inf), np.inf), tol=1e-15, method="bvls",
    ).x  # fmt: skip
    np.testing.assert_allclose(found.theta, truth, rtol=1e-12, atol=1e-14)
    assert np.array_equal(found.held, np.array(MARKED) & (truth == 0))
    left = np.linalg.norm(matrix @ truth - target) / np.linalg.norm(target)
    assert found.residual == pytest.approx(left, rel=1e-12)
    positive = nonnegative(rows, solver.solve(rows), tuple((np.asarray(free.theta) > 0).tolist()))
    np.testing.assert_allclose(positive.theta, free.theta, rtol=1e-12)


def bodies(force, count=40, seed=0):
    """Three bodies joined by edges, at random places and velocities."""
    rng = np.random.default_rng(seed)
    graph = hgn.graphs.from_pairs(
        np.eye(3, 2), [(0, 1), (0, 2), (1, 2)], mass=np.array([1.0, 2.0, 0.5])
    )
    q, v = rng.normal(size=(2, count, 3, 2))
    p = v * np.array([1.0, 2.0, 0.5])[:, None]
    nodes = {"position": q, "momentum": p, "velocity": v, "force": force(q, v, rng)}
    return hgn.graphs.snapshots(graph, {k: jnp.asarray(x) for k, x in nodes.items()}, {})


def damped(q, v, rng):
    """A trap and friction g = 0.3 max(0, |v| - 1), with noise."""
    speed = np.linalg.norm(v, axis=-1, keepdims=True)
    return -2 * q - 0.3 * np.maximum(speed - 1, 0) * v + 0.2 * rng.normal(size=q.shape)


def test_friction_of_a_fit_is_nowhere_negative():
    data = bodies(damped, 200)
    specs = [hgn.Kinetic(0), hgn.HarmonicTrap(), hgn.Friction(8, nonnegative=True)]
    fit = hgn.fit(data, key=0, terms=specs, observations=NOISY, throw=False)
    term, theta = fit.model.terms[2], fit.model.theta[2]
    assert isinstance(term.layer, Hats) and float(theta.min()) == 0 < float(theta.max())
    assert (np.asarray(term.coefficients(jnp.linspace(0, 9, 500)) @ theta) >= 0).all()
    loss = fit.model.power(data)["friction"]
    assert (np.asarray(loss) <= 0).all()
    free = hgn.fit(
        data, key=0, terms=[*specs[:2], hgn.Friction(12)], observations=NOISY, throw=False
    )
    assert "negative at" in free.summary() and "negative at" not in fit.summary()
    speed = jnp.linspace(0.2, 2.5, 100)
    true = 0.3 * np.maximum(speed - 1, 0)
    assert np.abs(term.coefficients(speed) @ theta - true).mean() < 0.03


def test_derivatives_of_a_fit_keep_coefficients_at_zero():
    data = bodies(damped)
    specs = [hgn.Kinetic(0), hgn.HarmonicTrap(), hgn.Friction(6, nonnegative=True)]
    direction = jr.normal(jr.key(0), data.nodes["force"].shape)

    def theta(h):
        moved = data._replace(nodes=data.nodes | {"force": data.nodes["force"] + h * direction})
        fit = hgn.fit(moved, key=0, terms=specs, solver=hgn.QR(ridge=1e-3), throw=False,
                      observations=NOISY)  # fmt: skip
        return jnp.concatenate(fit.model.theta[1:])

    value, slope = jax.jvp(theta, (0.0,), (1.0,))
    ahead, behind = theta(1e-5), theta(-1e-5)
    assert (value == 0).any() and np.array_equal(value == 0, ahead == 0)
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-8)


def test_dashpots_are_nowhere_negative_and_are_saved(tmp_path):
    def dashpots(q, v, rng):
        total = np.zeros_like(q)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            apart = q[:, i] - q[:, j]
            r = np.linalg.norm(apart, axis=1, keepdims=True)
            opening = np.sum(apart * (v[:, i] - v[:, j]), axis=1, keepdims=True) / r
            pull = np.where(r < 1.5, 0.4, 0) * opening * apart / r
            total[:, i] -= pull
            total[:, j] += pull
        return total + 0.1 * rng.normal(size=q.shape)

    data = bodies(dashpots, 200)
    specs = [hgn.Kinetic(0), hgn.PairFriction(16, nonnegative=True)]
    fit = hgn.fit(data, key=0, terms=specs, observations=NOISY, throw=False)
    term, theta = fit.model.terms[1], fit.model.theta[1]
    h = np.asarray(term.coefficients(jnp.linspace(0.1, 4.1, 401)) @ theta)
    assert (h >= 0).all() and (theta == 0).any()
    assert h[50:110].mean() == pytest.approx(0.4, rel=0.1)
    assert "coefficient of pair friction: 0 .." in fit.summary()
    fit.save(tmp_path / "model.safetensors")
    again = hgn.load(tmp_path / "model.safetensors")
    assert again.terms[1].nonnegative
    assert np.array_equal(again.vector_field(data)[1], fit.model.vector_field(data)[1])


def test_one_constant_may_be_held_at_zero():
    data = bodies(lambda q, v, rng: -2 * q + 0.1 * v)
    specs = [hgn.Kinetic(0), hgn.HarmonicTrap(), hgn.Friction(0, nonnegative=True)]
    fit = hgn.fit(data, key=0, terms=specs, observations=NOISY, throw=False)
    assert fit.model.theta[2].tolist() == [0]


def test_folds_are_refused():
    data = bodies(damped)
    specs = [hgn.Kinetic(0), hgn.HarmonicTrap(), hgn.Friction(nonnegative=True)]
    with pytest.raises(ValueError, match="must not be negative need another ridge than FrameCV"):
        hgn.fit(data, key=0, terms=specs, solver=hgn.QR(ridge=hgn.FrameCV()))
