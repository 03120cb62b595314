"""`hgn.Steps`: integral rows over short windows of measured states."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from numpy.polynomial import Polynomial

import hgn_jax as hgn
from hgn_jax.fitting.contrasts import contrasts
from hgn_jax.fitting.noise import noise_of
from hgn_jax.fitting.quadrature import integrals
from hgn_jax.fitting.series import longest_step, series

MASS = np.array([1.0, 2.0, 0.5])
NEVER = jnp.asarray(np.inf)


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(4)


def measured(times, q, p=None, **more):
    """The states `[k t n d]` as a data set of springs between all bodies."""
    mass = np.resize(MASS, np.shape(q)[2])
    return hgn.graphs.from_trajectories(
        times, q, momentum=p, mass=mass, edges="all", rates=False, **more
    )


@pytest.fixture(scope="module")
def truth(springs):
    """Times `[t]` of irregular steps, states `[k t n d]` of three bodies and springs, and a test
    set of other trajectories."""
    sites = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.8]])
    graph = hgn.graphs.fully_connected(3, 2, position=sites, mass=MASS)
    times = np.cumsum(np.random.default_rng(0).uniform(0.06, 0.18, 33))
    data = hgn.systems.simulate(springs, graph, key=jr.key(3), trajectories=12, times=times)
    q, p = (np.asarray(data.nodes[a]).reshape(12, 33, 3, 2) for a in ("position", "momentum"))
    test = hgn.systems.simulate(springs, graph, key=jr.key(4), trajectories=100)
    return times, q, p, test


HOW = {"key": 0, "terms": [hgn.Kinetic(0), hgn.Pair(16)]}


def errors(fit, test):
    return hgn.metrics.relative_error(fit.model, test)


noise = eqx.filter_jit(lambda data, name: noise_of(data, name, longest_step(data)))


@eqx.filter_jit
def rows_of(observation, basis, data):
    return observation.rows(basis, data)


@pytest.fixture(scope="module")
def basis(truth):
    times, q, p, _ = truth
    terms = hgn.sample(HOW["terms"], measured(times, q, p), key=jr.key(0))
    return hgn.Basis(terms)


# Parts


def line(times, number=None):
    """A batch of frames of one body at those times."""
    graph = hgn.graphs.from_pairs(np.zeros((1, 1)), [])
    t = jnp.asarray(times)
    number = jnp.zeros(len(t), jnp.int32) if number is None else jnp.asarray(number, jnp.int32)
    return hgn.graphs.snapshots(
        graph, {"position": jnp.zeros((len(t), 1, 1))}, {"time": t, "trajectory": number}
    )


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_integrals_are_exact_for_polynomials_of_the_order_and_for_no_more(order, rng):
    times = np.cumsum(rng.uniform(0.5, 1.5, 11))
    along = series(line(times), 8, NEVER)

    def error(degree):
        f = Polynomial(rng.normal(size=degree + 1))
        exact = f.integ()(times) - f.integ()(times[[0] * 8 + [8] * 3])
        found = integrals(along, jnp.asarray(f(times)), order, order + 1, 8)
        scale = np.abs(exact).max()
        return np.abs(found - exact)[:8].max() / scale, np.abs(found - exact)[8:].max() / scale

    assert error(order)[0] < 1e-11 and error(min(order, 2))[1] < 1e-11
    assert error(order + 1)[0] > 1e-6  # the second window has three samples only


def test_windows_begin_at_multiples_and_after_gaps():
    times = np.concatenate([np.arange(7.0), [20, 21, 22], np.arange(5)])
    along = series(line(times, [0] * 10 + [1] * 5), 4, jnp.array(3.0))
    assert along.place.tolist() == [0, 1, 2, 3, 0, 1, 2, 0, 0, 1, 0, 1, 2, 3, 0]
    assert along.size.tolist() == [4] * 4 + [3] * 3 + [1] + [2] * 2 + [4] * 4 + [1]
    assert longest_step(line(times, [0] * 10 + [1] * 5)) == 3


def test_trajectories_of_equal_number_are_told_apart_by_their_times():
    along = series(line([0.0, 1.0, 2.0, 0.0, 1.0, 2.0]), None, NEVER)
    assert along.place.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("moving", [False, True])
def test_contrasts_are_orthonormal_and_blind_to_the_start(moving, rng):
    times = np.cumsum(rng.uniform(0.2, 1.8, 13)) + 1e4
    along = series(line(times), 7, NEVER)
    seen = jnp.asarray(np.array([1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1], bool))
    matrix, valid = contrasts(along, jnp.eye(13), seen, 8, moving=moving)
    e, free = np.asarray(matrix)[np.asarray(valid)], 2 if moving else 1
    assert len(e) == 6 + 4 - 2 * free
    np.testing.assert_allclose(e @ e.T, np.eye(len(e)), rtol=0, atol=1e-9)
    blind = e @ (np.stack([times - 1e4, np.ones(13)]).T if moving else np.ones(13))
    assert np.abs(blind).max() < 1e-8
    assert not e[:, ~np.asarray(seen)].any()
    assert not e[: 6 - free, 7:].any() and not e[6 - free :, :7].any()


def test_cumulative_sums_are_numpys_within_windows(rng):
    values = rng.normal(size=(11, 2))
    along = series(line(np.arange(11.0)), 5, NEVER)
    found = along.cumulative(jnp.asarray(values), 5)
    expected = np.concatenate([np.cumsum(values[a : a + 5], axis=0) for a in (0, 5, 10)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [1e-4, 1e-2, 1.0])
def test_noise_is_found_whatever_its_size(truth, size, rng):
    """8,000 samples: the standard deviation of such a median is 1.3%."""
    times, q, p, _ = truth
    noisy = measured(times, q + size * rng.normal(size=q.shape), p)
    found = noise(noisy, "position")
    assert found == pytest.approx(size, rel=0.08)
    assert noise(noisy, "momentum") < 1e-7


def test_missing_samples_and_other_trajectories_do_not_enter_the_noise(truth, rng):
    times, q, p, _ = truth
    noisy = q + 0.01 * rng.normal(size=q.shape)
    noisy[::2] += 100
    noisy[rng.random(q.shape[:3]) < 0.05] = np.nan
    data = measured(times, noisy, p)
    assert noise(data, "position") == pytest.approx(0.01, rel=0.08)


# Rows


def dense(times, order, window, powers=1):
    """E^T E, for E blind to that many powers of the time, and the integrals from the start of each
    window, by NumPy's polynomials."""
    t = len(times)
    projector, integral = np.zeros((t, t)), np.zeros((t, t))
    for a in range(0, t, window):
        b = min(a + window, t)
        blind = np.stack([(times[a:b] - times[a]) ** k for k in range(powers)], 1)
        projector[a:b, a:b] = np.eye(b - a) - blind @ np.linalg.pinv(blind)
        count = min(order + 1, b - a)
        for k in range(a + 1, b):
            first = np.clip(k - (order + 1) // 2, a, b - count)
            integral[k] = integral[k - 1]
            for j in range(first, first + count):
                s = times - times[k - 1]
                others = [s[i] for i in range(first, first + count) if i != j]
                basis = Polynomial.fromroots(others) if others else Polynomial([1.0])
                integral[k, j] += (basis / basis(s[j])).integ()(s[k])
    return projector, integral


def check_rows(rows, column, x, regressors, projector, sigma):
    """Compares Gram matrix and right-hand side, which do not depend on the choice of E."""
    gram = np.einsum("ksiaj,st,ktial->jl", regressors, projector, regressors)
    right = np.einsum("ksiaj,st,ktia->j", regressors, projector, x)
    found = np.asarray(rows.columns[column] * rows.weight[:, None]) * sigma
    size = np.abs(gram).max()
    np.testing.assert_allclose(found.T @ found, gram, rtol=0, atol=1e-10 * size)
    weighted = np.asarray(rows.target * rows.weight) * sigma
    np.testing.assert_allclose(found.T @ weighted, right, rtol=0, atol=1e-10 * np.abs(right).max())


def test_rows_are_those_of_the_dense_formula(truth, basis):
    times, q, p, _ = truth
    data = measured(times, q[:2], p[:2])
    observation = hgn.Steps(window=7, order=3, noise=jnp.array([0.5, 0.25]))
    position, momentum = rows_of(observation, basis, data)
    projector, integral = dense(times, 3, 7)
    velocity, force = (next(c for c in side if c is not None) for side in basis.rates(data))
    for rows, x, z, sigma, column in (
        (position, q, velocity, 0.5, 0),
        (momentum, p, force, 0.25, 1),
    ):
        z = np.asarray(z).reshape(2, 33, 3, 2, -1)
        regressors = np.einsum("st,ktiaj->ksiaj", integral, z)
        check_rows(rows, column, x[:2], regressors, projector, sigma)
        assert (np.asarray(rows.weight) > 0).sum() == 2 * 3 * 2 * (33 - 5)


def test_positions_alone_are_rows_of_the_double_integral(truth, basis, springs):
    times, q, _, _ = truth
    data = measured(times, q[:2])
    pair = hgn.Basis(basis.terms[1:], known=springs)
    (rows,) = rows_of(hgn.Steps(window=11, noise=jnp.full(1, 0.5)), pair, data)
    projector, integral = dense(times, 5, 11, powers=2)
    z = np.asarray(pair.rates(data)[1][0]).reshape(2, 33, 3, 2, -1) / MASS[:, None, None]
    regressors = np.einsum("st,ktiaj->ksiaj", integral @ integral, z)
    known = np.asarray(pair.known_rates(data)[1]).reshape(2, 33, 3, 2) / MASS[:, None]
    explained = np.einsum("st,ktia->ksia", integral @ integral, known)
    check_rows(rows, 0, q[:2], regressors, projector, 0.5)
    square = np.einsum("ksia,st,ktia->", explained, projector, explained)
    weighted = np.asarray(rows.known * rows.weight) * 0.5
    assert weighted @ weighted == pytest.approx(square, rel=1e-10)
    assert (np.asarray(rows.weight) > 0).sum() == 2 * 3 * 2 * (33 - 6)


def test_nothing_but_the_error_of_the_quadrature_is_left_of_a_known_motion(truth, springs):
    times, q, p, _ = truth
    data = measured(times, q, p)
    basis = hgn.Basis(hgn.sample([hgn.Pair(4)], data, key=0), known=springs)
    for observed in (data, measured(times, q)):
        left = []
        for order in (1, 5):
            blocks = rows_of(hgn.Steps(window=11, order=order), basis, observed)
            left.append(max(np.abs(np.asarray(r.target - r.known)).max() for r in blocks))
        assert left[0] > 100 * left[1] and left[1] < 1e-4


def test_padding_and_order_of_trajectories_do_not_matter(truth, basis):
    times, q, p, _ = truth
    data = measured(times, q[:3], p[:3])
    n = len(data.n_node)
    padded = hgn.graphs.pad(data, n_node=3 * n + 10, n_edge=6 * n + 8, n_graph=n + 5)
    frames = hgn.graphs.unbatch(data)
    other = hgn.graphs.batch(frames[66:] + frames[:33] + frames[33:66])
    observation = hgn.Steps(window=7)
    grams = []
    for some in (data, padded, other):
        position, momentum = rows_of(observation, basis, some)
        z = np.asarray(momentum.columns[1] * momentum.weight[:, None])
        grams.append(z.T @ z)
        assert np.isfinite(np.asarray(position.target)).all()
    np.testing.assert_allclose(grams[1], grams[0], rtol=1e-10)
    np.testing.assert_allclose(grams[2], grams[0], rtol=1e-10)


# Fits


def test_irregular_noisy_states_give_the_law(truth, rng):
    times, q, p, test = truth
    noisy = [a + 0.003 * rng.normal(size=a.shape) for a in (q, p)]
    fit = hgn.fit(measured(times, *noisy), observations=[hgn.Steps(window=8)], **HOW)
    assert errors(fit, test)["force"] < 1.5e-2 and errors(fit, test)["velocity"] < 3e-3
    # Rows are weighted by their noise, which the evidence finds again.
    assert all(0.8 < float(s.noise) < 1.3 for s in fit.solutions)
    derived = hgn.graphs.from_trajectories(
        times, noisy[0], momentum=noisy[1], mass=MASS, edges="all", newtonian=False
    )
    assert errors(hgn.fit(derived, **HOW), test)["force"] > 3 * errors(fit, test)["force"]


def test_clean_states_are_as_good_as_the_quadrature(truth):
    times, q, p, test = truth
    data = measured(times, q, p)
    by_order = [
        errors(hgn.fit(data, observations=[hgn.Steps(window=8, order=k)], **HOW), test)["force"]
        for k in (1, 5)
    ]
    assert by_order[0] < 3e-2 and by_order[1] < 2e-4


def test_positions_alone_give_the_force(truth, rng):
    times, q, _, test = truth
    noisy = measured(times, q + 1e-3 * rng.normal(size=q.shape))
    how = {"key": 0, "terms": [hgn.Pair(16)], "observations": [hgn.Steps(window=16)]}
    fit = hgn.fit(noisy, **how)
    assert errors(fit, test)["force"] < 3e-2 and errors(fit, test)["velocity"] < 1e-14


def test_samples_that_are_missing_or_after_gaps_do_no_harm(truth):
    times, q, p, test = truth
    keep = np.ones(33, bool)
    keep[8:17] = False  # one long step
    q, p = q[:, keep].copy(), p[:, keep].copy()
    q[3, 4, 1] = np.nan
    p[5, 11, 2] = np.nan
    data = measured(times[keep], q, p)
    fit = hgn.fit(data, observations=[hgn.Steps(window=8)], **HOW)
    assert errors(fit, test)["force"] < 2e-2
    velocity = np.asarray(fit.rows)
    whole = 12 * 3 * 2 * 2 * (24 - 3)
    assert velocity == whole - 4  # one contrast less in each of the two windows


def test_weights_of_zero_leave_bodies_out(truth):
    times, q, p, _ = truth
    q = q.copy()
    q[:, :, 2] += np.random.default_rng(0).normal(size=q[:, :, 2].shape)
    data = measured(times, q, p, weight=np.array([1.0, 1.0, 0.0]))
    position, _ = rows_of(
        hgn.Steps(window=8), hgn.Basis(hgn.sample([hgn.Kinetic(0)], data, key=0)), data
    )
    assert (np.asarray(position.weight) > 0).sum() == 12 * 2 * 2 * (33 - 5)


def test_chunks_and_streams_keep_windows_whole(truth, monkeypatch):
    """Trajectories of 33 frames end with a window of one."""
    times, q, p, _ = truth
    data = measured(times, q, p)
    how = HOW | {"observations": [hgn.Steps(window=8)]}
    whole = hgn.fit(data, **how)
    monkeypatch.setattr("hgn_jax.fitting.fit.WHOLE", 100)
    monkeypatch.setattr("hgn_jax.fitting.accumulate.ENTRIES", 20_000)
    pieces = hgn.fit(data, **how)
    trajectories = hgn.graphs.chunks(data, 99, window=None)
    stream = hgn.fit_stream(trajectories, sample_from=data, **how)
    test = measured(times, q[:1] + 0.05, p[:1])
    for fit in (pieces, stream):
        assert int(fit.rows) == int(whole.rows)
        for a, b in zip(fit.model.vector_field(test), whole.model.vector_field(test)):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_update_adds_trajectories(truth):
    times, q, p, test = truth
    observed = [hgn.Steps(window=8, noise=jnp.full(2, 1e-3))]
    both = hgn.fit(measured(times, q, p), observations=observed, **HOW)
    half = hgn.solve(both.model.terms, measured(times, q[:6], p[:6]), observations=observed)
    more = half.update(measured(times, q[6:], p[6:]))
    assert int(more.rows) == int(both.rows)
    for a, b in zip(more.model.vector_field(test), both.model.vector_field(test)):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_inside_jit_the_window_is_eight(truth):
    times, q, p, _ = truth
    data = measured(times, q, p)
    inside = jax.jit(lambda d: hgn.fit(d, observations=[hgn.Steps()], **HOW).model.theta)(data)
    fit = hgn.fit(data, observations=[hgn.Steps(window=8)], **HOW)
    np.testing.assert_allclose(inside[1], fit.model.theta[1], rtol=1e-6)


# Bad input


def test_kinetic_features_cannot_be_learned_from_positions_alone(truth, basis):
    times, q, _, _ = truth
    with pytest.raises(ValueError, match="positions alone cannot determine the kinetic features"):
        rows_of(hgn.Steps(window=8), basis, measured(times, q))


def test_positions_alone_need_a_newtonian_kinetic_energy(truth, basis):
    times, q, _, _ = truth
    with pytest.raises(ValueError, match=r"need the kinetic energy \|p\|\^2/2m"):
        rows_of(hgn.Steps(window=8), hgn.Basis(basis.terms[1:]), measured(times, q))


def test_snapshots_without_times_are_refused(truth, data):
    alone = data._replace(globals={})
    with pytest.raises(ValueError, match=r"Steps needs globals\[.time.\], globals\[.trajectory.\]"):
        hgn.fit(alone, observations=[hgn.Steps(window=8)], **HOW)


@pytest.mark.parametrize(("field", "bad"), [("window", 2), ("order", 0), ("order", 10)])
def test_windows_and_orders_out_of_range_are_refused(field, bad):
    with pytest.raises(ValueError, match=f"{field} must be at"):
        hgn.Steps(**{field: bad})
