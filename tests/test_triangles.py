"""Factorise, append, merge, update: rows may come in any blocks and any order."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import scipy.linalg
from triangle_problems import FACTORISE, METHODS, error, factorised, radial, system

import hgn_jax as hgn
from hgn_jax._block_sizes import NEAR
from hgn_jax.linear import triangle as triangles

append = jax.jit(lambda t, z, u: t.append(z, u, jnp.asarray(len(z))))
merge = jax.jit(triangles.Triangle.merge)
least = jax.jit(hgn.QR(ridge=0.0).solve)


def check(t, z, u, digits=1e-14):
    """R^T R = Z^T Z, R^T Q^T u = Z^T u, and |Z theta - u| for any theta, columns scaled."""
    scale = np.linalg.norm(z, axis=0)
    z, r = z / scale, np.asarray(t.r, np.float64) / scale
    qu, rest = np.asarray(t.qu, np.float64), np.asarray(t.rest, np.float64)
    assert error(r.T @ r, z.T @ z) < digits
    assert error(r.T @ qu, z.T @ u) < digits * np.linalg.norm(u) / np.linalg.norm(z.T @ u)
    rng = np.random.default_rng(99)
    for size in (0.1, 1, 100):
        theta = size * rng.normal(size=(len(scale), *u.shape[1:]))
        left = np.linalg.norm(z @ theta - u, axis=0)
        from_triangle = np.hypot(np.linalg.norm(r @ theta - qu, axis=0), rest)
        np.testing.assert_allclose(from_triangle, left, rtol=digits * (1 + size))
    assert int(t.rows) == len(z)


# One piece


@METHODS
def test_triangle_is_that_of_the_qr_factorisation(method):
    z, u = system(1)
    t = factorised(z, u, method)
    q, r = np.linalg.qr(z)
    signs = np.sign(np.diag(r)) * np.sign(np.diag(t.r))
    assert not np.tril(t.r, -1).any()
    np.testing.assert_allclose(signs[:, None] * t.r, r, rtol=0, atol=1e-13)
    np.testing.assert_allclose(signs * t.qu, q.T @ u, rtol=0, atol=1e-13)
    np.testing.assert_allclose(t.rest, np.linalg.norm(u - q @ (q.T @ u)), rtol=1e-13)
    check(t, z, u)


@METHODS
def test_columns_may_differ_by_200_powers_of_ten(method):
    z, u = system(2)
    powers = 10.0 ** np.linspace(-100, 100, 12)
    t = factorised(z * powers, u, method)
    check(eqx.tree_at(lambda t: t.r, t, t.r / powers[None]), z, u)


@METHODS
def test_float32_keeps_its_digits(method):
    z, u = (a.astype(np.float32) for a in system(3, rows=600))
    t = factorised(z, u, method)
    assert t.r.dtype == t.qu.dtype == t.rest.dtype == np.float32
    check(t, z.astype(np.float64), u.astype(np.float64), 3e-6)


@METHODS
def test_fewer_rows_than_columns_leave_nothing(method):
    z, u = system(4, rows=8, columns=30)
    t = factorised(z, u, method)
    scale = np.linalg.norm(z, axis=0)
    assert error(t.r.T @ t.r / np.outer(scale, scale), z.T @ z / np.outer(scale, scale)) < 1e-13
    assert error(t.r.T @ t.qu, z.T @ u) < 1e-13
    solution = least(t)
    assert solution.rank == 8 and solution.residual < 1e-11
    assert error(z @ np.asarray(solution.theta), u) < 1e-11


@METHODS
def test_many_targets_are_solved_as_each_alone(method):
    z, u = system(5, targets=(3,))
    t = factorised(z, u, method)
    check(t, z, u)
    many = least(t)
    assert many.theta.shape == (3, 12) and many.ridge.shape == (3, 1)
    assert many.residual.shape == (3,)
    for k in range(3):
        one = least(factorised(z, u[:, k], method))
        np.testing.assert_allclose(many.theta[k], one.theta, rtol=1e-11)
        for name in ("residual", "noise", "cancellation", "effective_dof"):
            np.testing.assert_allclose(getattr(many, name)[k], getattr(one, name), rtol=1e-11)
    np.testing.assert_allclose(many.theta.T, scipy.linalg.lstsq(z, u)[0], rtol=1e-10)


@METHODS
def test_zero_column_is_no_rank_and_gets_zero(method):
    z, u = system(6)
    z[:, 5] = 0
    t = factorised(z, u, method)
    solution = least(t)
    assert solution.rank == 11 and not np.asarray(t.r[:, 5]).any()
    rest = np.delete(np.asarray(solution.theta), 5)
    assert solution.theta[5] == 0
    assert error(rest, scipy.linalg.lstsq(np.delete(z, 5, axis=1), u)[0]) < 1e-13


@METHODS
def test_constant_and_duplicated_columns(method):
    z, _ = system(7)
    z[:, 0], z[:, 8:] = 7.0, z[:, 4:8]
    truth = np.linspace(-1, 1, 12)
    u = z @ truth
    solution = least(factorised(z, u, method))
    assert solution.rank == 8 and solution.condition > 1e14
    theta = np.asarray(solution.theta)
    assert error(theta[:4], truth[:4]) < 1e-12
    assert error(theta[4:8] + theta[8:], truth[4:8] + truth[8:]) < 1e-12


def test_householder_of_duplicated_columns_is_exact_in_noise_too():
    z, u = system(8)
    z[:, 8:] = z[:, 4:8]
    check(factorised(z, u), z, u)


# Pieces


GROUPINGS = {
    "append": lambda f, p: functools.reduce(lambda t, x: append(t, *x), p[1:], f(*p[0])),
    "append backwards": lambda f, p: functools.reduce(lambda t, x: append(t, *x), p[:-1], f(*p[3])),
    "merge": lambda f, p: merge([f(*x) for x in p]),
    "merge of merges": lambda f, p: merge(
        [merge([f(*p[3]), f(*p[1])]), merge([f(*p[0]), f(*p[2])])]
    ),
    "one by one": lambda f, p: functools.reduce(lambda t, x: merge([t, f(*x)]), p[1:], f(*p[0])),
}


def pieces(z, u):
    return [(jnp.asarray(a), jnp.asarray(b)) for a, b in zip(np.split(z, 4), np.split(u, 4))]


@METHODS
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_any_order_and_grouping_of_rows_is_the_same_problem(method, grouping):
    z, u = system(9, rows=512)
    t = GROUPINGS[grouping](FACTORISE[method], pieces(z, u))
    check(t, z, u)
    theta, *_ = scipy.linalg.lstsq(z, u)
    solution = least(t)
    assert error(solution.theta, theta) < 1e-13
    left = np.linalg.norm(z @ theta - u)
    np.testing.assert_allclose(solution.residual, left / np.linalg.norm(u), rtol=1e-13)
    spare = 512 - solution.effective_dof
    np.testing.assert_allclose(solution.noise, left / np.sqrt(spare), rtol=1e-12)


chosen = jax.jit(hgn.QR().solve)


@METHODS
@pytest.mark.parametrize("grouping", ["append", "merge of merges"])
def test_any_grouping_of_nearly_dependent_columns_predicts_the_same(method, grouping):
    z, u, unseen, truth = radial(0)
    solution = chosen(GROUPINGS[grouping](FACTORISE[method], pieces(z, u)))
    assert error(unseen @ np.asarray(solution.theta), truth) < 1e-12


@METHODS
@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_nearly_dependent_columns_are_learned_to_the_digits_of_their_type(method, dtype, bound):
    for seed in range(5):
        z, u, unseen, truth = radial(seed, dtype)
        theta = np.asarray(chosen(factorised(z, u, method)).theta)
        assert theta.dtype == dtype
        assert error(unseen @ theta.astype(np.float64), truth) < bound


# Block by block


def in_blocks(monkeypatch, method, z, u):
    """Triangle in blocks of 96 rows, eight times the columns."""
    small = NEAR._replace(entries=1)
    monkeypatch.setattr(triangles, "NEAR", small)
    monkeypatch.setattr(triangles, "portion", lambda: small)
    blockwise = jax.jit(lambda z, u: triangles.triangle(z, u, None, method))
    assert "scan" in str(jax.make_jaxpr(blockwise)(z, u))
    return blockwise(z, u)


@METHODS
@pytest.mark.parametrize("rows", [298, 288])
def test_blocks_of_rows_are_the_whole(method, rows, monkeypatch):
    """With a remainder of ten rows, and with none."""
    z, u = system(10, rows=rows)
    check(in_blocks(monkeypatch, method, z, u), z, u, 1e-13)


@METHODS
def test_blocks_keep_the_digits_of_float32(method, monkeypatch):
    z, u = (a.astype(np.float32) for a in system(11, rows=4000))
    t = in_blocks(monkeypatch, method, z, u)
    expected = scipy.linalg.lstsq(z.astype(np.float64), u)[0]
    assert error(least(t).theta, expected) < 3e-5


def test_blocks_of_unequal_columns_and_many_targets(monkeypatch):
    z, u = system(12, rows=250, targets=(3,))
    powers = 10.0 ** np.linspace(-100, 100, 12)
    t = in_blocks(monkeypatch, "householder", z * powers, u)
    check(eqx.tree_at(lambda t: t.r, t, t.r / powers[None]), z, u, 1e-13)


# Names


@pytest.mark.parametrize("settings", [{"method": "svd"}, {"ridge": "aic"}, {"ridge": ""}])
def test_unknown_names_are_refused(settings, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would raise first
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be .*got"):
        hgn.QR(**settings)


def test_names_mean_what_they_say():
    assert hgn.QR().choice == hgn.QR(ridge="auto").choice == "auto"
    assert hgn.QR(ridge="evidence").choice == "evidence"
    assert (
        hgn.QR(ridge=hgn.FrameCV(4)).choice == "frames" and hgn.QR(ridge=hgn.FrameCV(4)).folds == 4
    )
    assert hgn.QR(ridge="gcv").choice == "gcv" and hgn.QR(ridge=0.1).choice == "given"
    for rows in (10, 10_000):
        matrix = jnp.ones((rows, 10))
        assert hgn.QR(method="cholesky").method(matrix) == "cholesky"
        assert hgn.QR(method="householder").method(matrix) == "householder"
