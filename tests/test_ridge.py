"""Ridges chosen from the data: figures against their definitions, choices against the best."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

import hgn_jax as hgn
from hgn_jax.linear.ridge import path, ridges, spectrum
from hgn_jax.linear.triangle import triangle

EPS = np.finfo(np.float64).eps
FLOOR = 5 * EPS


def system(seed, rows=40, columns=12, noise=0.3):
    """Columns of very unequal norm, which distinguish a relative ridge from an absolute one."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, columns)) * 10.0 ** rng.uniform(-3, 3, columns)
    truth = rng.normal(size=columns) / np.linalg.norm(z, axis=0)
    return z, z @ truth + noise * rng.normal(size=rows) / np.sqrt(rows), truth


path_of = jax.jit(lambda t: path(t, *spectrum(t)[:2], ridges(t.r.dtype)))
factorise = jax.jit(triangle)


def figures(z, u, rows=None):
    return path_of(factorise(jnp.asarray(z), jnp.asarray(u), jnp.asarray(rows or len(z))))


solvers = {name: jax.jit(hgn.QR(ridge=name)) for name in ("evidence", "gcv")}
least = jax.jit(hgn.QR(ridge=0.0))


def solved(z, u, solver=solvers["evidence"]):
    return solver(jnp.asarray(z), jnp.asarray(u))


def error(a, b):
    return np.linalg.norm(np.asarray(a, np.float64) - b) / np.linalg.norm(b)


def fitted_values(z, u, ridge):
    """Z theta by LAPACK, of the rows augmented by the ridge."""
    scale = np.linalg.norm(z, axis=0)
    augmented = np.concatenate([z / scale, ridge * np.eye(len(scale))])
    right = np.concatenate([u, np.zeros((len(scale), *u.shape[1:]))])
    return z / scale @ scipy.linalg.lstsq(augmented, right)[0]


SHAPES = pytest.mark.parametrize(("rows", "columns"), [(40, 12), (12, 40)])


def large(every, least):
    """Indices of every eighth ridge that is not below `least`."""
    return [i for i in range(0, len(every.ridge), 8) if every.ridge[i] >= least]


# Figures of the path


def test_path_runs_from_the_floor_to_thirty_evenly_in_the_logarithm():
    ridge = np.asarray(ridges(jnp.dtype("float64")))
    np.testing.assert_allclose(ridge[[0, -1]], [FLOOR, 30], rtol=1e-12)
    steps = ridge[1:] / ridge[:-1]
    np.testing.assert_allclose(steps, steps[0], rtol=1e-10)
    assert steps[0] < 1.5


@SHAPES
def test_freedom_and_residual_and_gcv_are_those_of_the_hat_matrix(rows, columns):
    z, u, _ = system(1, rows, columns)
    every = figures(z, u)
    for i in large(every, 0 if rows > columns else 1e-3):
        hat = fitted_values(z, np.eye(rows), float(every.ridge[i]))
        left = np.linalg.norm(u - hat @ u)
        freedom = np.trace(hat)
        np.testing.assert_allclose(every.effective_dof[i], freedom, rtol=1e-10)
        rounding = 1e-14 * np.linalg.norm(u)
        np.testing.assert_allclose(every.residual[i], left, rtol=1e-10, atol=rounding)
        gcv = (left**2 / rows) / (np.trace(np.eye(rows) - hat) / rows) ** 2
        np.testing.assert_allclose(every.gcv[i] * rows, gcv * rows, rtol=1e-9)


@SHAPES
def test_evidence_is_the_density_of_the_targets_at_the_noise_that_maximises_it(rows, columns):
    z, u, _ = system(2, rows, columns)
    scaled = z / np.linalg.norm(z, axis=0)
    every = figures(z, u)
    for i in large(every, 1e-3):
        covariance = np.eye(rows) + scaled @ scaled.T / float(every.ridge[i]) ** 2
        variance = u @ np.linalg.solve(covariance, u) / rows
        np.testing.assert_allclose(every.noise[i] ** 2, variance, rtol=1e-8)

        def density(factor, covariance=covariance, variance=variance):
            return scipy.stats.multivariate_normal(cov=factor * variance * covariance).logpdf(u)

        constant = rows / 2 * (1 + np.log(2 * np.pi))
        np.testing.assert_allclose(every.evidence[i], density(1) + constant, rtol=0, atol=1e-7)
        assert density(1) > max(density(0.99), density(1.01))


def test_rows_that_do_not_count_are_no_data():
    z, u, _ = system(3)
    more = np.concatenate([z, np.zeros((8, 12))]), np.concatenate([u, np.zeros(8)])
    without, masked, counted = figures(z, u), figures(*more, rows=40), figures(*more)
    for a, b in zip(jax.tree.leaves(without), jax.tree.leaves(masked)):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(counted.noise**2 * 48, without.noise**2 * 40, rtol=1e-9)


@SHAPES
@pytest.mark.parametrize("choice", ["evidence", "gcv"])
def test_solver_takes_the_best_of_the_path_and_reports_its_figures(choice, rows, columns):
    z, u, _ = system(4, rows, columns)
    every, solution = figures(z, u), solved(z, u, solvers[choice])
    best = int(np.argmax(every.evidence) if choice == "evidence" else np.argmin(every.gcv))
    assert solution.ridge == every.ridge[best]
    if solution.ridge[0] > 1e-10:  # below, the path's consists of rounding errors
        np.testing.assert_allclose(solution.effective_dof, every.effective_dof[best], rtol=1e-10)
    assert solution.effective_dof <= min(rows, columns) * (1 + 1e-10)
    np.testing.assert_allclose(solution.evidence, every.evidence[best], rtol=1e-10)
    left = every.residual[best] / np.sqrt(max(rows - every.effective_dof[best], 1))
    noise = every.noise[best] if choice == "evidence" else left
    np.testing.assert_allclose(solution.noise, noise, rtol=1e-10)
    values = z @ np.asarray(solution.theta)
    np.testing.assert_allclose(values, fitted_values(z, u, float(solution.ridge[0])), atol=1e-11)


# The choice


def test_noise_is_the_true_one_for_many_rows():
    rng = np.random.default_rng(5)
    z, _, truth = system(5, 4000)
    for sigma in (1e-6, 1e-2, 1.0):
        solution = solved(z, z @ truth + sigma * rng.normal(size=4000))
        assert abs(solution.noise / sigma - 1) < 4 / np.sqrt(2 * 4000)


def test_ridge_grows_with_the_noise_to_the_ratio_of_noise_to_coefficients():
    """theta_k |z_k| ~ N(0, sigma^2 / lambda^2): lambda = sigma for those of size one."""
    rng = np.random.default_rng(6)
    z = rng.normal(size=(4000, 12))
    truth, errors = rng.normal(size=12) / np.linalg.norm(z, axis=0), rng.normal(size=4000)
    for sigma in (1e-4, 1e-2):
        found = float(solved(z, z @ truth + sigma * errors).ridge[0])
        assert 0.4 * sigma < found < 2.5 * sigma


def smooth(seed, dtype=np.float64):
    """Rows of 64 nearly dependent units, a smooth function of them, and unseen rows of both."""
    rng = np.random.default_rng(seed)
    x, unseen = rng.uniform(-1, 1, 400), rng.uniform(-0.9, 0.9, 200)
    w, b = rng.uniform(1, 3, 64) * rng.choice([-1, 1], 64), rng.uniform(-2, 2, 64)
    rows = [np.tanh(y[:, None] * w + b).astype(dtype) for y in (x, unseen)]
    return rows[0], np.sin(3 * x).astype(dtype), rows[1], np.sin(3 * unseen)


@pytest.mark.parametrize("seed", range(3))
def test_noise_free_data_get_a_ridge_of_rounding_size_and_keep_all_digits(seed):
    z, u, unseen, truth = smooth(seed)
    chosen, plain = solved(z, u), solved(z, u, least)
    assert plain.ridge == FLOOR and chosen.ridge < 20 * FLOOR
    errors = [error(unseen @ np.asarray(s.theta), truth) for s in (chosen, plain)]
    assert errors[0] < 1e-10 and errors[0] < 2 * errors[1]


def ratios_to_best(z, u, thetas, unseen, truth):
    """Errors of several theta over that of the best ridge of the path, on unseen rows."""
    scale = np.linalg.norm(z, axis=0)
    left, s, right = np.linalg.svd(z / scale, full_matrices=False)
    every = np.asarray(ridges(jnp.dtype("float64")))[:, None]
    path_thetas = (s / (s**2 + every**2) * (left.T @ u)) @ right / scale

    def errors(thetas):
        return np.linalg.norm(thetas @ unseen.T - truth, axis=1)

    return errors(np.asarray(thetas, np.float64)) / errors(path_thetas).min()


def typical(ratios):
    return np.exp(np.mean(np.log(ratios), axis=0))


def noisy_smooth(seed, noise, dtype=np.float64):
    z, u, unseen, truth = smooth(seed, dtype)
    errors = np.random.default_rng(100 + seed).normal(size=len(u))
    return z, u + (noise * errors).astype(dtype), unseen, truth


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("noise", [1e-3, 1e-2, 1e-1])
def test_noise_is_not_followed_in_either_precision(noise, dtype):
    """Ratios to the best error: below 1.3 for 90% of 60 seeds, 1.8 at worst."""
    ratios = []
    for seed in range(12):
        z, u, unseen, truth = noisy_smooth(seed, noise, dtype)
        theta = solved(z, u).theta
        assert theta.dtype == dtype
        ratios += list(ratios_to_best(z.astype(np.float64), u, [theta], unseen, truth))
    assert typical(ratios) < 1.15 and max(ratios) < 2


def test_float32_without_noise_never_blows_up():
    for seed in range(6):
        z, u, unseen, truth = smooth(seed, np.float32)
        assert error(unseen.astype(np.float64) @ np.asarray(solved(z, u).theta), truth) < 1e-5


@pytest.mark.parametrize("choice", ["evidence", "gcv"])
def test_zero_and_duplicated_columns_do_not_break_the_choice(choice):
    z, u, unseen, truth = noisy_smooth(0, 1e-2)
    plain = solved(z, u, solvers[choice])
    wide, wide_unseen = (np.concatenate([a, a[:, :8], 0 * a[:, :8]], axis=1) for a in (z, unseen))
    many = solved(wide, u, solvers[choice])
    assert not np.asarray(many.theta[72:]).any()
    assert 0.5 < many.ridge / plain.ridge < 2 and abs(many.effective_dof - plain.effective_dof) < 1
    errors = [
        error(a @ np.asarray(s.theta), truth) for a, s in ((wide_unseen, many), (unseen, plain))
    ]
    assert errors[0] < 1.2 * errors[1] < 1.2e-2


@pytest.mark.parametrize("choice", ["evidence", "gcv"])
def test_zero_target_gives_zero_coefficients_and_no_noise(choice):
    z, u, _ = system(4)
    solution = solved(z, 0 * u, solvers[choice])
    assert not np.asarray(solution.theta).any()
    assert solution.residual == 0 and solution.noise < 1e-100
    assert np.isfinite([solution.ridge[0], solution.effective_dof]).all()


def test_evidence_tolerates_noisy_rows():
    """One row in ten is a hundred times as noisy, without a smaller weight."""
    ratios = []
    for seed in range(12):
        z, u, unseen, truth = smooth(seed)
        rng = np.random.default_rng(200 + seed)
        u = u + 1e-3 * np.where(rng.uniform(size=400) < 0.1, 100, 1) * rng.normal(size=400)
        thetas = [solved(z, u, solver).theta for solver in solvers.values()]
        ratios.append(ratios_to_best(z, u, thetas, unseen, truth))
    evidence, gcv = np.transpose(ratios)
    assert typical(evidence) < 1.15 and max(evidence) < 2
    assert typical(gcv) > typical(evidence)


# Of a fit


TRIANGLE = hgn.graphs.fully_connected(3, 2, mass=jnp.array([1.0, 2.0, 0.5]))
SPRINGS = hgn.systems.mass_spring("spring", rest_length=1.0)


def simulate(seed, trajectories=60, width=0.25, noise=0.0):
    start = hgn.systems.Uniform(width, 0.3)
    return hgn.systems.simulate(
        SPRINGS, TRIANGLE, key=jr.key(seed), trajectories=trajectories, start=start, noise=noise
    )


@pytest.fixture(scope="module")
def features():
    return hgn.sample((hgn.Kinetic(8), hgn.Pair(32)), simulate(1), key=jr.key(2))


gradient = eqx.filter_jit(lambda features, graphs: features.gradient(graphs))


def errors_over_best(fit, features, test):
    """Errors of the fit's velocities and forces over those of the best ridge; the same for the
    ridge of cross-validation."""
    kinetic, pair = features
    columns = {"velocity": gradient(kinetic, test)[1], "force": -gradient(pair, test)[0]}
    ratios = []
    for t, solution, (name, z) in zip(fit.reduction.triangles, fit.solutions, columns.items()):
        every = path_of(t)
        r, qu, truth = (np.asarray(a) for a in (t.r, t.qu, test.nodes[name].ravel()))
        unseen = np.asarray(z).reshape(-1, z.shape[2])
        scale = np.linalg.norm(r, axis=0)
        below = float(every.ridge[np.argmin(every.gcv)]) * np.diag(scale)
        stacked = np.concatenate([r, below]), np.concatenate([qu, 0 * qu])
        crossed = scipy.linalg.lstsq(stacked[0] / scale, stacked[1])[0] / scale
        ratios.append(ratios_to_best(r, qu, [solution.theta, crossed], unseen, truth))
    return np.transpose(ratios)


@pytest.mark.parametrize("noise", [1e-3, 1e-2, 1e-1])
def test_noisy_springs_are_learned_nearly_as_well_as_with_the_best_ridge(noise, features):
    """Uniform weights: of 30 seeds, 90% are within 1.3 of the best, and the worst is 2.2."""
    test = simulate(9, 20, 0.2)
    data = [simulate(100 + seed, noise=noise) for seed in range(10)]
    fits = [hgn.solve(features, d, observations=(hgn.Derivatives("uniform"),)) for d in data]
    ratios = np.array([errors_over_best(f, features, test)[0] for f in fits])
    assert typical(ratios).max() < 1.2 and ratios.max() < 2


@pytest.mark.parametrize("noise", [1e-3, 1e-2])
def test_relative_weights_make_slow_bodies_loud_which_evidence_bears_and_gcv_does_not(
    noise, features
):
    test = simulate(9, 20, 0.2)
    fits = [hgn.solve(features, simulate(100 + seed, noise=noise)) for seed in range(10)]
    evidence, gcv = typical([errors_over_best(f, features, test) for f in fits])
    assert evidence.max() < 1.5
    assert gcv[1] > 1.5 * evidence[1]


paths_of = eqx.filter_jit(lambda fit: fit.ridge_paths())


def test_paths_of_a_fit_hold_its_solutions(features):
    fit = hgn.solve(features, simulate(100, noise=1e-2), observations=(hgn.Derivatives("uniform"),))
    for every, solution in zip(paths_of(fit), fit.solutions, strict=True):
        best = int(np.argmax(every.evidence))
        assert every.ridge[best] == solution.ridge
        np.testing.assert_allclose(every.noise[best], solution.noise, rtol=1e-10)
        np.testing.assert_allclose(every.effective_dof[best], solution.effective_dof, rtol=1e-10)
    np.testing.assert_allclose(
        fit.effective_dof, sum(s.effective_dof for s in fit.solutions), rtol=1e-14
    )
