"""A ridge per group of columns: the best evidence, against dense densities maximised by SciPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

import hgn_jax as hgn
from hgn_jax.linear.group_evidence import group_evidence
from hgn_jax.linear.triangle import triangle

GROUPS = (5, 4, 3)
ROWS, COLUMNS = 60, sum(GROUPS)
SOLVER = hgn.QR(ridge="groups")
ABSENT = np.finfo(np.float64).eps ** -0.5


def system(seed, sizes, noise=0.3):
    """Columns of very unequal norm; the coefficients of each group have their own size."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(ROWS, COLUMNS)) @ (np.eye(COLUMNS) + 0.3 * rng.normal(size=(COLUMNS,) * 2))
    z *= 10.0 ** rng.uniform(-3, 3, COLUMNS)
    truth = np.repeat(sizes, GROUPS) * rng.normal(size=COLUMNS) / np.linalg.norm(z, axis=0)
    return z, z @ truth + noise * rng.normal(size=ROWS) / ROWS**0.5


@functools.partial(jax.jit, static_argnums=2)
def solved(z, u, groups=GROUPS):
    return SOLVER.solve(triangle(z, u), groups)


def covariance(z, ridges, groups=GROUPS):
    """Covariance of the rows, in units of the noise."""
    scaled = z / np.linalg.norm(z, axis=0) / np.repeat(ridges, groups)
    return np.eye(len(z)) + scaled @ scaled.T


def log_density(z, u, ridges, noise, groups=GROUPS):
    """Log evidence, up to the constant that the library omits."""
    normal = scipy.stats.multivariate_normal(cov=noise**2 * covariance(z, ridges, groups))
    return normal.logpdf(u) + len(u) / 2 * (1 + np.log(2 * np.pi))


def best_density(z, u, groups=GROUPS):
    """Greatest log evidence over all ridges and noises, by SciPy from several starts."""

    def loss(x):
        ridges, noise = np.exp(x[:-1]), np.exp(x[-1])
        matrix = noise**2 * covariance(z, ridges, groups)
        chi = u @ np.linalg.solve(matrix, u)
        return (np.linalg.slogdet(matrix)[1] + chi - len(u)) / 2

    size = np.log(np.std(u))
    limits = [(np.log(1e-4), np.log(1e6))] * len(groups) + [(size - 9, size + 3)]
    starts = np.array(np.meshgrid(*[[-4.0, 1.0]] * len(groups))).reshape(len(groups), -1).T
    found = [
        scipy.optimize.minimize(loss, [*s, size], method="L-BFGS-B", bounds=limits).fun
        for s in starts
    ]
    return -min(found)


SIZES = pytest.mark.parametrize("sizes", [(3, 0.3, 1), (1, 0, 30), (0.1, 0.1, 0.1), (100, 1, 0)])


# The figures


def figures(z, u, ridges):
    return jax.jit(lambda z, u, r: group_evidence(triangle(z, u), GROUPS, r))(z, u, ridges)


RIDGES = np.array([0.03, 0.4, 2.0])


def test_evidence_noise_and_freedom_are_those_of_dense_matrices():
    z, u = system(0, (1, 1, 1))
    found = figures(z, u, RIDGES)
    matrix = covariance(z, RIDGES)
    noise = np.sqrt(u @ np.linalg.solve(matrix, u) / ROWS)
    np.testing.assert_allclose(found.noise, noise, rtol=1e-12)
    np.testing.assert_allclose(found.evidence, log_density(z, u, RIDGES, noise), rtol=1e-10)
    scaled = z / np.linalg.norm(z, axis=0)
    hat = np.linalg.solve(scaled.T @ scaled + np.diag(np.repeat(RIDGES, GROUPS) ** 2), scaled.T)
    each = np.einsum("kn,nk->k", hat, scaled)
    freedom = [part.sum() for part in np.split(each, np.cumsum(GROUPS)[:-1])]
    np.testing.assert_allclose(found.effective_dof, freedom, rtol=1e-11)


def test_slope_and_curvature_are_finite_differences_of_the_dense_evidence():
    z, u = system(1, (1, 1, 1))

    def evidence(logarithms):
        matrix = covariance(z, np.exp(logarithms / 2))
        variance = u @ np.linalg.solve(matrix, u) / ROWS
        return -(ROWS * np.log(variance) + np.linalg.slogdet(matrix)[1]) / 2

    found, x, h = figures(z, u, RIDGES), 2 * np.log(RIDGES), 1e-3 * np.eye(3)
    slope = [(evidence(x + e) - evidence(x - e)) / 2e-3 for e in h]
    np.testing.assert_allclose(found.slope, slope, rtol=1e-6, atol=1e-7)
    curvature = [
        [
            (evidence(x + a + b) - evidence(x + a - b) - evidence(x - a + b) + evidence(x - a - b))
            / 4e-6
            for b in h
        ]
        for a in h
    ]
    np.testing.assert_allclose(found.curvature, curvature, rtol=1e-4, atol=1e-5)


# The choice


@SIZES
@pytest.mark.parametrize("seed", range(3))
def test_no_ridges_and_noise_have_a_greater_density(sizes, seed):
    z, u = system(seed, sizes)
    solution = solved(z, u)
    dense = log_density(z, u, np.asarray(solution.ridge), float(solution.noise))
    np.testing.assert_allclose(solution.evidence, dense, rtol=1e-9)
    assert dense > best_density(z, u) - 1e-3


@pytest.mark.parametrize("size", [10, 1, 0.1])
def test_one_group_has_the_evidence_of_the_best_single_ridge(size):
    """The path's ridges are a third apart in the logarithm."""
    z, u = system(3, (size,) * 3)
    one, path = solved(z, u, (COLUMNS,)), jax.jit(hgn.QR())(z, u)
    best = best_density(z, u, (COLUMNS,))
    assert abs(one.evidence - best) < 1e-3
    assert path.evidence - 1e-6 < one.evidence < path.evidence + 0.1


def without(z, u, group):
    """The target without the part that this group of columns explains."""
    start = sum(GROUPS[:group])
    q, _ = np.linalg.qr(z[:, start : start + GROUPS[group]])
    return u - q @ (q.T @ u)


@pytest.mark.parametrize("group", range(3))
def test_a_group_that_no_row_wants_vanishes_and_changes_nothing(group):
    z, u = system(4, (1, 1, 1))
    mine = np.repeat(np.arange(3), GROUPS) == group
    z[:, ~mine] = np.stack([without(z, column, group) for column in z[:, ~mine].T], axis=1)
    u = without(z, u, group)
    solution = solved(z, u)
    others = solved(z[:, ~mine], u, tuple(np.delete(GROUPS, group).tolist()))
    assert solution.ridge[group] == ABSENT
    assert abs(solution.group_dof[group]) < 1e-12
    size = np.linalg.norm(z, axis=0) * np.abs(solution.theta)
    assert size[mine].max() < 1e-14 * size.max()
    np.testing.assert_allclose(solution.evidence, others.evidence, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.asarray(solution.theta)[~mine], others.theta, rtol=1e-3)


def test_a_lone_column_and_pure_noise_vanish_too():
    rng = np.random.default_rng(5)
    z = rng.normal(size=(ROWS, COLUMNS))
    u = rng.normal(size=ROWS)
    u -= z @ np.linalg.lstsq(z, u)[0]
    solution = solved(z, u, (1, COLUMNS - 1))
    assert (solution.ridge == ABSENT).all() and solution.effective_dof < 1e-12


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("unit", [1e-25, 1e25])
def test_units_of_rows_and_targets_do_not_matter(dtype, unit):
    z, u = system(6, (3, 0.3, 1))
    expected = solved(z, u)
    found = solved((z * unit).astype(dtype), (u * unit).astype(dtype))
    close = 1e-2 if dtype == np.float32 else 1e-6
    np.testing.assert_allclose(found.ridge, expected.ridge, rtol=close)
    np.testing.assert_allclose(found.noise / unit, expected.noise, rtol=close)
    assert found.theta.dtype == found.ridge.dtype == found.evidence.dtype == dtype


@SIZES
def test_float32_is_as_good_to_its_rounding(sizes):
    z, u = (a.astype(np.float32) for a in system(0, sizes))
    solution = solved(z, u)
    z, u, ridges = (np.asarray(a, np.float64) for a in (z, u, solution.ridge))
    assert log_density(z, u, ridges, float(solution.noise)) > best_density(z, u) - 2e-2


def test_zero_targets_and_zero_columns_leave_the_others_as_they_are():
    z, u = system(7, (1, 1, 1))
    z[:, 5:9] = 0  # a whole group
    none = solved(z, 0 * u)
    assert not np.asarray(none.theta).any() and none.noise < 1e-100
    some, small = solved(z, u), solved(np.delete(z, np.s_[5:9], 1), u, (5, 3))
    np.testing.assert_allclose(some.evidence, small.evidence, atol=1e-6)
    assert np.isfinite(some.theta).all() and not np.asarray(some.theta)[5:9].any()


def test_noise_free_targets_keep_their_digits_and_one_group():
    z, u = system(8, (1, 0, 0), noise=0)
    solution = solved(z, u)
    expected = np.linalg.lstsq(z[:, :5], u)[0]
    np.testing.assert_allclose(np.asarray(solution.theta)[:5], expected, rtol=1e-10)
    assert solution.ridge[0] < 1e-13 and (solution.ridge[1:] == ABSENT).all()


def test_many_targets_have_ridges_of_their_own():
    z, _ = system(9, (1, 1, 1))
    targets = np.stack([system(9, sizes)[1] for sizes in ((3, 0.3, 1), (1, 0, 30))], axis=1)
    many = solved(z, targets)
    assert many.ridge.shape == many.group_dof.shape == (2, 3)
    for k in range(2):
        one = solved(z, targets[:, k])
        np.testing.assert_allclose(many.ridge[k], one.ridge, rtol=1e-4)
        np.testing.assert_allclose(many.effective_dof[k], one.effective_dof, rtol=1e-4)


@pytest.mark.parametrize("groups", [(5, 4), (5, 4, 4), (12, 0)])
def test_widths_that_do_not_add_up_are_refused(groups):
    z, u = system(0, (1, 1, 1))
    with pytest.raises(ValueError, match="add up to the 12 columns"):
        SOLVER.solve(SOLVER.factorise(jnp.asarray(z), jnp.asarray(u)), groups)


# Other solvers


@pytest.mark.parametrize("solver", [hgn.QR(), hgn.QR(ridge=0.1), hgn.LSTSQ()])
def test_solvers_of_one_ridge_tell_the_freedom_of_each_group(solver):
    z, u = system(2, (1, 1, 1))
    one, many = (
        jax.jit(lambda z, u, g=g: solver.solve(triangle(z, u), g))(z, u)
        for g in ((COLUMNS,), GROUPS)
    )
    assert (many.theta == one.theta).all() and (many.ridge == one.ridge).all()
    ridge = float(many.ridge[0])
    scaled = z / np.linalg.norm(z, axis=0)
    each = np.diag(np.linalg.solve(scaled.T @ scaled + ridge**2 * np.eye(12), scaled.T @ scaled))
    freedom = [part.sum() for part in np.split(each, np.cumsum(GROUPS)[:-1])]
    np.testing.assert_allclose(many.group_dof, freedom, rtol=1e-10)
    np.testing.assert_allclose(many.effective_dof, sum(freedom), rtol=1e-10)


# Derivatives


def held(z, u, ridges):
    """theta at these ridges, as NumPy solves it."""
    pull = np.repeat(ridges, GROUPS) ** 2 * np.sum(z**2, axis=0)
    return np.linalg.solve(z.T @ z + np.diag(pull), z.T @ u)


def test_derivatives_are_those_at_the_chosen_ridges():
    """With respect to the target and the matrix, whose column norms scale the ridges."""
    z, u = system(2, (3, 0.3, 1))
    rng = np.random.default_rng(0)
    ways = rng.normal(size=z.shape) * np.linalg.norm(z, axis=0) / 8, rng.normal(size=ROWS)

    @jax.jit
    def along(z, u):
        def theta(step):
            moved_z, moved_u = z + step[0] * ways[0], u + step[1] * ways[1]
            found = SOLVER.factorise(moved_z, moved_u)
            solution = SOLVER.solve(found, GROUPS)
            return hgn.linear.base.differentiable(moved_z, moved_u, found, solution), solution

        return jax.jacrev(theta, has_aux=True)(jnp.zeros(2))

    slopes, solution = along(z, u)
    ridges, h = np.asarray(solution.ridge), 1e-5
    by_matrix = held(z + h * ways[0], u, ridges) - held(z - h * ways[0], u, ridges)
    by_target = held(z, u + h * ways[1], ridges) - held(z, u - h * ways[1], ridges)
    np.testing.assert_allclose(slopes[:, 0], by_matrix / (2 * h), rtol=1e-5)
    np.testing.assert_allclose(slopes[:, 1], by_target / (2 * h), rtol=1e-6)
