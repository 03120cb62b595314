import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from triangle_problems import radial

import hgn_jax as hgn

EPS = np.finfo(np.float64).eps
SOLVERS = [hgn.QR(ridge=0.0), hgn.LSTSQ()]  # the least ridge: as plain least squares


@pytest.fixture(params=SOLVERS, ids=["QR", "LSTSQ"])
def solver(request):
    return request.param


def system(seed=0, rows=60, columns=12):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, columns)), rng.normal(size=rows)


def solved(solver, matrix, target):
    return solver(jnp.asarray(matrix), jnp.asarray(target))


def error(a, b):
    return np.linalg.norm(np.asarray(a) - b) / np.linalg.norm(b)


@pytest.mark.parametrize("shape", [(30, 1), (20, 20), (200, 40)])
def test_well_conditioned_solution_is_scipys(solver, shape):
    z, u = system(1, *shape)
    expected = scipy.linalg.lstsq(z, u)[0]
    assert error(solved(solver, z, u).theta, expected) < 1e3 * EPS


def test_column_scales_are_undone(solver):
    z, u = system(2)
    powers = 10.0 ** np.linspace(-100, 100, 12)
    theta = np.asarray(solved(solver, z * powers, u).theta) * powers
    assert error(theta, scipy.linalg.lstsq(z, u)[0]) < 1e3 * EPS


def test_zero_column_gets_zero_and_leaves_the_others_alone(solver):
    z, u = system(3)
    with_zero = np.insert(z, 5, 0.0, axis=1)
    solution = solved(solver, with_zero, u)
    assert abs(solution.theta[5]) < 100 * EPS
    assert error(np.delete(solution.theta, 5), scipy.linalg.lstsq(z, u)[0]) < 1e3 * EPS
    assert solution.rank == 12
    assert solution.condition > 1e15


def test_constant_column_is_an_intercept(solver):
    z, u = system(4)
    z[:, 0] = 7.0
    solution = solved(solver, z, u)
    assert error(solution.theta, scipy.linalg.lstsq(z, u)[0]) < 1e3 * EPS
    assert abs(np.mean(z @ np.asarray(solution.theta) - u)) < 100 * EPS


def doubled(seed):
    """A system in which four columns are duplicates, and its independent columns."""
    z, u = system(seed)
    return np.concatenate([z, z[:, :4]], axis=1), z, u


def test_duplicated_columns_share_what_one_would_get(solver):
    both, z, _ = doubled(5)
    truth = np.linspace(-1, 1, 12)
    solution = solved(solver, both, z @ truth)
    theta = np.asarray(solution.theta)
    assert solution.rank == 12
    assert error(theta[:12] + np.pad(theta[12:], (0, 8)), truth) < 1e-13


@pytest.mark.parametrize("solver", [hgn.LSTSQ(), hgn.QR(ridge=1e-8)], ids=["LSTSQ", "QR(1e-8)"])
def test_duplicated_columns_and_noisy_targets_need_a_cut_or_a_ridge(solver):
    both, z, u = doubled(5)
    theta = np.asarray(solved(solver, both, u).theta)
    assert error(theta[:12] + np.pad(theta[12:], (0, 8)), scipy.linalg.lstsq(z, u)[0]) < 1e-9


def test_least_ridge_on_duplicated_columns_and_noisy_targets_shows_in_growth_not_residual():
    both, z, u = doubled(5)
    solution = solved(hgn.QR(ridge=0.0), both, u)
    least = np.linalg.norm(z @ scipy.linalg.lstsq(z, u)[0] - u) / np.linalg.norm(u)
    assert solution.cancellation > 1e10
    assert abs(solution.residual - least) < EPS * solution.cancellation


def test_fewer_rows_than_columns_interpolate_and_report_the_rank(solver):
    z, u = system(6, rows=8, columns=30)
    solution = solved(solver, z, u)
    assert solution.rank == 8
    assert solution.residual < 1e-12
    assert error(z @ np.asarray(solution.theta), u) < 1e-12


def test_cut_and_tiny_ridge_both_give_the_minimum_norm_solution_of_the_scaled_problem():
    z, u = system(7, rows=8, columns=30)
    scale = np.linalg.norm(z, axis=0)
    expected = scipy.linalg.lstsq(z / scale, u)[0]
    assert error(np.asarray(solved(hgn.LSTSQ(), z, u).theta) * scale, expected) < 1e3 * EPS
    ridge = hgn.QR(ridge=1e-6)
    assert error(np.asarray(solved(ridge, z, u).theta) * scale, expected) < 1e-9


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 10.0])
def test_large_ridge_is_the_closed_form(ridge):
    z, u = system(8)
    scale = np.linalg.norm(z, axis=0)
    zs = z / scale
    expected = np.linalg.solve(zs.T @ zs + ridge**2 * np.eye(12), zs.T @ u) / scale
    solution = solved(hgn.QR(ridge=ridge), z, u)
    assert error(solution.theta, expected) < 1e3 * EPS
    assert solution.ridge == ridge


def test_least_ridge_is_five_rounding_units_and_lstsq_has_none():
    z, u = system(9)
    assert solved(hgn.QR(ridge=0.0), z, u).ridge == 5 * EPS
    assert solved(hgn.LSTSQ(), z, u).ridge == 0


def test_lstsq_cuts_singular_values_below_rcond():
    z, u = system(10)
    scale = np.linalg.norm(z, axis=0)
    singular = np.linalg.svd(z / scale, compute_uv=False)
    cut = float((singular[8] + singular[7]) / 2 / singular[0])
    expected = scipy.linalg.lstsq(z / scale, u, cond=cut)[0] / scale
    assert error(solved(hgn.LSTSQ(rcond=cut), z, u).theta, expected) < 1e3 * EPS


def test_quality_figures_are_numpys(solver):
    z, u = system(11)
    scale = np.linalg.norm(z, axis=0)
    singular = np.linalg.svd(z / scale, compute_uv=False)
    theta = scipy.linalg.lstsq(z, u)[0]
    solution = solved(solver, z, u)
    assert solution.rank == 12
    np.testing.assert_allclose(solution.condition, singular[0] / singular[-1], rtol=1e-12)
    np.testing.assert_allclose(
        solution.residual, np.linalg.norm(z @ theta - u) / np.linalg.norm(u), rtol=1e-12
    )
    np.testing.assert_allclose(
        solution.cancellation, np.abs(theta) @ scale / np.linalg.norm(u), rtol=1e-12
    )


@pytest.mark.parametrize("solver", [hgn.QR(ridge=1e-6), hgn.LSTSQ()], ids=["QR(1e-6)", "LSTSQ"])
def test_noise_is_the_residual_over_the_degrees_of_freedom_left(solver):
    z, u = system(11)
    z[:, 5] = z[:, 3]  # leaves 60 - 11
    left = np.linalg.norm(z @ scipy.linalg.lstsq(z, u)[0] - u)
    np.testing.assert_allclose(solved(solver, z, u).noise, left / np.sqrt(60 - 11), rtol=1e-10)


def test_rank_counts_singular_values_of_the_scaled_matrix(solver):
    rng = np.random.default_rng(12)
    z = rng.normal(size=(50, 5)) @ rng.normal(size=(5, 20)) * 10.0 ** rng.uniform(-5, 5, 20)
    solution = solved(solver, z, rng.normal(size=50))
    assert solution.rank == np.linalg.matrix_rank(z / np.linalg.norm(z, axis=0)) == 5


@pytest.mark.parametrize("ridge", [1e-9, 1e-6, 1e-3])
def test_rank_and_condition_do_not_see_the_ridge(ridge):
    both, z, u = doubled(13)
    assert solved(hgn.QR(ridge=ridge), both, u).rank == 12
    full = solved(hgn.QR(ridge=ridge), z, u)
    expected = np.linalg.cond(z / np.linalg.norm(z, axis=0))
    np.testing.assert_allclose(full.condition, expected, rtol=1e-10)


def test_zero_target_gives_zero_coefficients(solver):
    z, _ = system(14)
    solution = solved(solver, z, np.zeros(60))
    assert not np.asarray(solution.theta).any()
    assert solution.residual == 0 and solution.cancellation == 0


def test_rows_of_zero_weight_change_nothing_but_rounding(solver):
    z, u = system(15)
    more = np.concatenate([z, np.zeros((7, 12))]), np.concatenate([u, np.zeros(7)])
    assert error(solved(solver, *more).theta, np.asarray(solved(solver, z, u).theta)) < 1e3 * EPS


def test_solution_keeps_the_dtype(solver):
    z, u = system(16)
    solution = solved(solver, z.astype(np.float32), u.astype(np.float32))
    floats = (solution.theta, solution.condition, solution.residual, solution.cancellation)
    assert {x.dtype for x in (*floats, solution.ridge)} == {jnp.dtype(jnp.float32)}


# A smooth function of one variable from its derivative, by 256 tanh units between data points.


def unseen_errors(solver, dtype, seeds):
    call = jax.jit(solver)
    errors = []
    for seed in range(seeds):
        z, u, unseen, truth = radial(seed, dtype, 2000, 500)
        theta = np.asarray(call(jnp.asarray(z), jnp.asarray(u)).theta, np.float64)
        errors.append(error(unseen @ theta, truth))
    return np.array(errors)


def test_qr_in_float64_learns_a_radial_force_to_1e_12():
    assert unseen_errors(hgn.QR(), np.float64, 5).max() < 1e-12


def test_lstsq_in_float64_learns_a_radial_force_to_1e_9():
    assert unseen_errors(hgn.LSTSQ(), np.float64, 3).max() < 1e-9


def test_qr_in_float32_never_blows_up():
    assert unseen_errors(hgn.QR(), np.float32, 20).max() < 2e-5


def test_lstsq_in_float32_learns_a_radial_force_to_1e_2():
    assert unseen_errors(hgn.LSTSQ(), np.float32, 3).max() < 1e-2


def test_qr_keeps_more_digits_of_a_radial_force_than_the_cut():
    qr, cut = (unseen_errors(s, np.float64, 3) for s in SOLVERS)
    assert np.median(qr) < np.median(cut)


def test_rank_of_random_features_is_far_below_their_number():
    z, u, _, _ = radial(0, np.float64, 2000, 500)
    solution = solved(hgn.QR(), z, u)
    expected = np.linalg.matrix_rank(z / np.linalg.norm(z, axis=0))
    assert abs(int(solution.rank) - expected) <= 1
    assert expected < 100


@pytest.mark.parametrize("size", [1e-24, 1.0, 1e20])
def test_ridge_from_the_data_does_not_depend_on_units(size):
    z, u, unseen, truth = radial(0, np.float32, 2000, 500)
    theta = np.asarray(solved(hgn.QR(), z, u * np.float32(size)).theta, np.float64) / size
    assert error(unseen @ theta, truth) < 2e-5


def test_no_ridge_is_refused():
    with pytest.raises((ValueError, TypeError)):
        hgn.QR(ridge=None)
