"""Factorise, append, merge, update: rows may come in any blocks and any order."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jaxtyping
import numpy as np
import pytest
import scipy.linalg

import hgn_jax as hgn
from hgn_jax._block_sizes import NEAR
from hgn_jax.fitting.equations import Equations
from hgn_jax.fitting.weights import RelativeWeights
from hgn_jax.linear import triangle as triangles

EPS = np.finfo(np.float64).eps
METHODS = pytest.mark.parametrize("method", ["householder", "cholesky"])


def system(seed=0, rows=128, columns=12, targets=()):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, columns)), rng.normal(size=(rows, *targets))


# One function for each method, so that equal shapes compile once.
FACTORISE = {
    m: jax.jit(functools.partial(triangles.triangle, rows=None, method=m))
    for m in ("householder", "cholesky")
}
append = jax.jit(lambda t, z, u: t.append(z, u, jnp.asarray(len(z))))
merge = jax.jit(triangles.Triangle.merge)
least = jax.jit(hgn.QR(ridge=0.0).solve)


def factorised(z, u, method="householder"):
    return FACTORISE[method](jnp.asarray(z), jnp.asarray(u))


def error(a, b):
    return np.linalg.norm(np.asarray(a, np.float64) - b) / np.linalg.norm(b)


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


def alike(kind):
    """2400 rows of 256 nearly dependent columns, made awkward for a sketch of their sums."""
    z, u = radial(1)[:2]
    rng = np.random.default_rng(30)
    few = rng.normal(size=(40, 30))
    if kind == "duplicates":
        z[:, 200:] = z[:, :56]
    elif kind == "a line and rows of zeros":
        z[600:] = 0
        z[:, 3] = 0
    elif kind == "columns on neighbouring rows":
        z[:, :30] = 0
        z[500:540, :30] = few
    elif kind == "columns on scattered rows":
        z[:, :30] = 0
        z[rng.choice(2400, 40, replace=False), :30] = few
    elif kind == "one row outweighs all":
        z[5] *= 1e8
    elif kind == "rows that cancel":
        # Four rows at the corners of a rectangle of near and far neighbours: half of these cancel.
        corners = np.add.outer(20 * np.arange(6), [1, 2, 515, 516]).ravel()
        z[corners] = z[:, :24] = 0
        z[corners, :24] = rng.normal(size=(24, 24))
        z[1000:1100, :24] = 1e-4 * rng.normal(size=(100, 24))
    return z, u


AWKWARD = [
    "nothing",
    "duplicates",
    "a line and rows of zeros",
    "columns on neighbouring rows",
    "columns on scattered rows",
    "one row outweighs all",
    "rows that cancel",
]


def departure(t, z, u):
    """Greatest errors of R^T R = Z^T Z and R^T Q^T u = Z^T u, by column, and that of |u|."""
    z, u, r, qu = (np.asarray(a, np.longdouble) for a in (z, u, t.r, t.qu))
    scale = np.sqrt(np.sum(z**2, axis=0))
    scale[scale == 0] = 1
    norm = np.sqrt(np.sum(u**2))
    return (
        np.max(np.abs(r.T @ r - z.T @ z) / np.outer(scale, scale)),
        np.max(np.abs(r.T @ qu - z.T @ u) / scale) / norm,
        abs(np.sqrt(np.sum(qu**2) + np.asarray(t.rest) ** 2) / norm - 1),
    )


@METHODS
@pytest.mark.parametrize("kind", AWKWARD)
def test_rows_that_a_sketch_may_miss_keep_their_digits(method, kind):
    z, u = alike(kind)
    assert max(departure(factorised(z, u, method), z, u)) < 1e-13


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-13), (np.float32, 1e-4)])
@pytest.mark.parametrize("kind", ["nothing", "duplicates", "a line and rows of zeros"])
def test_the_sketch_suffices(kind, dtype, bound, monkeypatch):
    """Also for columns that depend on one another: Householder's way is closed here."""
    z, u = (a.astype(dtype) for a in alike(kind))
    householder = triangles._householder
    short = 1500

    def of_sketches(rows):
        return householder(rows) if len(rows) < short else jnp.full((257, 257), jnp.nan, dtype)

    monkeypatch.setattr(triangles, "_householder", of_sketches)
    t = jax.jit(lambda z, u: triangles.triangle(z, u, None, "cholesky"))(z, u)
    assert max(departure(t, z, u)) < bound


def test_batches_with_one_system_that_the_sketch_misses():
    """All of the batch take Householder's way then."""
    systems = [alike(kind) for kind in ("nothing", "rows that cancel")]
    together = jax.vmap(FACTORISE["cholesky"])(*(jnp.stack(a) for a in zip(*systems)))
    leaves, structure = jax.tree.flatten(together)
    for system, *own in zip(systems, *leaves):
        assert max(departure(jax.tree.unflatten(structure, own), *system)) < 1e-13


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


def radial(seed, dtype=np.float64):
    """256 nearly dependent units of one variable: rows and targets for training and testing."""
    rng = np.random.default_rng(seed)
    x, unseen = rng.uniform(0.5, 2.0, 2400), rng.uniform(0.5, 2.0, 300)
    first, second = rng.choice(x, 256), rng.choice(x, 256)
    step = second - first
    w = np.log(3) * np.where(step < 0, -1, 1) / np.maximum(np.abs(step), 0.2)
    b = -w * first - np.log(3) / 2
    rows = [(w / np.cosh(w * r[:, None] + b) ** 2).astype(dtype) for r in (x, unseen)]
    force = [(2 * (1 - np.exp(1 - r)) * np.exp(1 - r)).astype(dtype) for r in (x, unseen)]
    return rows[0], force[0], rows[1].astype(np.float64), force[1].astype(np.float64)


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


# Derivatives


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


def slope(f, h):
    """Central difference of fourth order."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


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


# Of a fit


TRIANGLE = hgn.graphs.fully_connected(3, 2, mass=jnp.array([1.0, 2.0, 0.5]))
SPRINGS = hgn.systems.mass_spring("spring", rest_length=1.0)


@pytest.fixture(scope="module")
def data():
    """Noisy data, so that every snapshot matters."""
    start = hgn.systems.Uniform(0.25, 0.3)
    return hgn.systems.simulate(
        SPRINGS, TRIANGLE, key=jr.key(1), trajectories=60, start=start, noise=1e-3
    )


def thirds(data):
    return [hgn.graphs.take(data, np.arange(60) // 20 == k) for k in range(3)]


@pytest.fixture(scope="module")
def features(data):
    return hgn.sample((hgn.Kinetic(8), hgn.Pair(32)), data, key=jr.key(2))


predict = eqx.filter_jit(lambda model, graphs: (model(graphs), *model.vector_field(graphs)))


def differ(a, b, data):
    """Greatest relative difference of energies, velocities, forces."""
    pairs = zip(predict(a.model, data), predict(b.model, data))
    return max(float(jnp.abs(x - y).max() / jnp.abs(y).max()) for x, y in pairs)


def test_update_is_the_fit_to_everything_weighted_by_the_first(data, features):
    one, two, three = thirds(data)
    first = hgn.solve(features, one)
    updated = first.update(two).update(three)
    floors = first.equations.observations[0].weights.floors
    whole = hgn.solve(features, data, observations=[hgn.Derivatives(RelativeWeights(floors))])
    assert differ(updated, whole, data) < 1e-10
    assert differ(first, whole, data) > 1e-5
    assert updated.rows == whole.rows == 720 and updated.result == hgn.RESULTS.successful
    assert (updated.equations.observations[0].weights.floors == floors).all()
    for a, b in zip(updated.solutions, whole.solutions):
        np.testing.assert_allclose(a.ridge, b.ridge, rtol=1e-12)
        for name in ("noise", "residual", "effective_dof"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-6)
    np.testing.assert_allclose(updated.model.constants, whole.model.constants, rtol=1e-10)
    assert updated.constant_known and len(updated.model.constants) == 1


def test_rows_of_further_data_have_the_scales_of_the_first(data, features):
    one, two, _ = thirds(data)

    @jax.jit
    def system_of(first, further):
        both = (hgn.Derivatives(), hgn.Energies())
        return Equations(hgn.Basis(features), both, first).systems(further)[0]

    target = np.asarray(system_of(one, two).target)
    # All graphs have the same number of pairs: the constant is the mean energy of the first.
    energy = np.asarray(one.globals["energy"])
    expected = (np.asarray(two.globals["energy"]) - energy.mean()) / np.std(energy)
    np.testing.assert_allclose(target[-20:], expected, rtol=1e-11, atol=1e-12)
    mass = np.asarray(two.nodes["mass"])[:, None]
    here, before = (np.asarray(d.nodes["force"]) / mass for d in (two, one))
    size = [np.linalg.norm(a, axis=1, keepdims=True) for a in (here, before)]
    expected = here / np.maximum(size[0], np.median(size[1]) / 100)
    np.testing.assert_allclose(target[-140:-20], expected.ravel(), rtol=1e-12)


def without_energies(data):
    return data._replace(globals={})


def test_update_without_energies_that_the_first_data_had_is_refused(data, features):
    one, two, _ = thirds(data)
    with pytest.raises(ValueError, match="energy"):
        hgn.solve(features, one).update(without_energies(two))


def test_update_with_energies_that_the_first_data_lacked_is_refused(data, features):
    one, two, _ = thirds(data)
    fit = hgn.solve(features, without_energies(one))
    with pytest.raises(
        ValueError, match=r"globals hold \['energy'\], those of the first data \[\]"
    ):
        fit.update(two)


def test_update_with_nan_names_its_place(data, features):
    one, two, _ = thirds(data)
    force = two.nodes["force"].at[4, 1].set(jnp.nan)
    with pytest.raises(ValueError, match=r"force.*frame 1, node 1"):
        hgn.solve(features, one).update(two._replace(nodes=two.nodes | {"force": force}))


def with_width(features, factor):
    """The model with wider pair units of r."""

    def where(drawn):
        return drawn[1].layers[0][0].weight

    return eqx.tree_at(where, features, factor * where(features))


@pytest.fixture(scope="module")
def losses(data, features):
    """Losses of forces and of energies, and their gradients with respect to the factor of the width
    and the logarithm of the ridge."""
    one, unseen, _ = thirds(data)

    def both(step):
        solver = hgn.QR(ridge=1e-2 * jnp.exp(step[1]))
        model = hgn.solve(with_width(features, 1 + step[0]), one, solver=solver, throw=False).model
        force = model.vector_field(unseen)[1] - unseen.nodes["force"]
        energy = model(unseen) - unseen.globals["energy"]
        found = jnp.stack([jnp.sum(force**2), jnp.sum(energy**2)])
        return found, found

    return jax.jit(jax.jacrev(both, has_aux=True))


@pytest.mark.parametrize("axis", [0, 1], ids=["width", "ridge"])
@pytest.mark.parametrize("which", [0, 1], ids=["forces", "energies"])
def test_gradients_through_a_solve_are_finite_differences(which, axis, losses):
    """The constant of the energy, too, is a function of the features and of theta."""
    gradient, _ = losses(jnp.zeros(2))
    found = slope(lambda h: float(losses(h * jnp.eye(2)[axis])[1][which]), 1e-3)
    np.testing.assert_allclose(gradient[which, axis], found, rtol=1e-6)
