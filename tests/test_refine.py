"""`hgn.refine` and `hgn.smooth`: maximum likelihood for measured states."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hgn_jax as hgn
from hgn_jax.fitting.gauss_newton import eliminated, equations_of
from hgn_jax.fitting.growth import Growth, Stage, follows
from hgn_jax.fitting.propagate import motion, tangents
from hgn_jax.fitting.refine import GaussNewton, _final
from hgn_jax.fitting.windows import trajectories_of, windows_of

MASS = np.array([1.0, 2.0, 0.5])
TIMES = np.cumsum(np.random.default_rng(0).uniform(0.1, 0.5, 24))
NAMES = ("position", "momentum")
NOISE = 0.01
HOW = {"key": 0, "terms": [hgn.Kinetic(0), hgn.Pair(32)]}
STEPS = [hgn.Steps(window=8)]


def measured(q, p=None, times=TIMES, **more):
    return hgn.graphs.from_trajectories(
        times, q, momentum=p, mass=MASS, edges="all", rates=False, **more
    )


@pytest.fixture(scope="module")
def truth(springs):
    """States `[k t n d]` of three bodies and springs at irregular times, and a test set."""
    sites = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.8]])
    graph = hgn.graphs.fully_connected(3, 2, position=sites, mass=MASS)
    data = hgn.systems.simulate(springs, graph, key=jr.key(3), trajectories=8, times=TIMES)
    test = hgn.systems.simulate(springs, graph, key=jr.key(4), trajectories=8, times=TIMES)
    return *(np.asarray(data.nodes[a]).reshape(8, 24, 3, 2) for a in NAMES), test


@pytest.fixture(scope="module")
def noisy(truth):
    rng = np.random.default_rng(1)
    return [a + NOISE * rng.normal(size=a.shape) for a in truth[:2]]


@pytest.fixture(scope="module")
def linear(noisy):
    return hgn.fit(measured(*noisy), observations=STEPS, **HOW)


@pytest.fixture(scope="module")
def refined(linear, noisy):
    return hgn.refine(linear, measured(*noisy))


@pytest.fixture(scope="module")
def setting(linear, noisy):
    trajectories = trajectories_of(measured(*noisy), NAMES)
    return linear.model, trajectories, windows_of(trajectories, 7)


def force_error(fit, test):
    return float(hgn.metrics.relative_error(fit.model, test)["force"])


# Motion and its derivatives


@eqx.filter_jit
def moved(model, setting, starts, substeps):
    trajectories, windows = setting
    return motion(model, trajectories, windows.begins, starts, jnp.asarray(substeps, jnp.int32))


def test_windows_cover_every_frame_once(setting):
    windows = setting[2]
    frames = np.asarray(windows.frame)[np.asarray(windows.real)]
    assert sorted(frames) == list(range(192))
    assert windows.frame.shape == (8 * 4, 6)
    assert np.flatnonzero(windows.begins).tolist() == list(range(0, 192, 6))


def test_motion_is_that_of_scipy_at_fourth_order(setting, springs):
    trajectories = setting[1]
    starts = trajectories.state
    graph, time = trajectories.graph, np.asarray(trajectories.time)

    def rates(t, y):
        q, p = y.reshape(2, 3, 2)
        nodes = graph.nodes | {"position": jnp.asarray(q), "momentum": jnp.asarray(p)}
        return np.ravel(jitted(graph._replace(nodes=nodes)))

    jitted = jax.jit(lambda g: jnp.stack(springs.vector_field(g)))
    span = slice(6, 12)
    exact = solve_ivp(
        rates, time[[6, 11]], starts[6], t_eval=time[span], rtol=1e-11, atol=1e-12
    ).y.T
    errors = [
        np.abs(np.asarray(moved(springs, setting[1:], starts, k))[span] - exact).max()
        for k in (4, 8, 16)
    ]
    assert errors[2] < 1e-6
    np.testing.assert_allclose(np.log2([errors[0] / errors[1], errors[1] / errors[2]]), 4, atol=0.4)


def test_tangents_are_derivatives_of_the_motion(setting):
    model, trajectories, windows = setting
    starts, theta = trajectories.state, model.theta
    count = jnp.asarray(2, jnp.int32)
    states, found = eqx.filter_jit(tangents)(
        model, trajectories, windows.begins, starts, count, by_theta=True
    )
    np.testing.assert_allclose(states, moved(model, setting[1:], starts, 2), rtol=1e-12)
    rng = np.random.default_rng(0)
    by_start = rng.normal(size=(32, 12))
    by_theta = [jnp.asarray(rng.normal(size=t.shape)) for t in theta]

    def along(step):
        changed = eqx.tree_at(
            lambda m: m.theta, model, tuple(t + step * d for t, d in zip(theta, by_theta))
        )
        first = windows.frame[:, 0]
        return motion(
            changed, trajectories, windows.begins, starts.at[first].add(step * by_start), count
        )

    _, expected = jax.jit(lambda: jax.jvp(along, (0.0,), (1.0,)))()
    window = np.repeat(np.arange(32), 6)
    both = np.concatenate([by_start[window], np.tile(np.concatenate(by_theta), (192, 1))], 1)
    directional = np.einsum("fdc,fc->fd", found, both)
    size = np.abs(np.asarray(expected)).max()
    np.testing.assert_allclose(directional, expected, rtol=0, atol=1e-12 * size)


@pytest.mark.parametrize("frames", [6, 3])
def test_without_starts_the_equations_have_the_solution_of_all_together(setting, frames):
    """Theta and all starts from one dense system, by NumPy; windows of 3 frames have fewer rows
    than columns."""
    model, trajectories, _ = setting
    windows = windows_of(trajectories, frames)
    number, size = windows.frame.shape
    assert size == frames
    noise, count = jnp.array([0.5, 2.0]), jnp.asarray(1, jnp.int32)
    starts = trajectories.state
    each = np.asarray(equations_of(model, trajectories, windows.begins, starts, noise, count))
    rows = eliminated(jnp.asarray(each), windows)
    ridge = 0.3 * np.eye(33)  # makes theta well determined
    system = np.zeros((192, 12, number * 12 + 33))
    for w in range(number):
        for f in np.asarray(windows.frame)[w]:
            system[f, :, 12 * w : 12 * w + 12] = each[f, :, :12]
            system[f, :, -33:] = each[f, :, 12:-1]
    dense = np.concatenate([system.reshape(-1, system.shape[2]), np.zeros((33, system.shape[2]))])
    dense[-33:, -33:] = ridge
    solution, *_ = np.linalg.lstsq(dense, np.append(each[:, :, -1].ravel(), np.zeros(33)))
    small = np.concatenate([rows.matrix, ridge])
    theta, *_ = np.linalg.lstsq(small, np.append(rows.target, np.zeros(33)))
    np.testing.assert_allclose(theta, solution[-33:], rtol=1e-8, atol=1e-10)
    changes = rows.changes(jnp.asarray(theta))
    np.testing.assert_allclose(np.ravel(changes), solution[:-33], rtol=1e-7, atol=1e-9)


# Refinement


def expected_error(fit, test):
    """By the fit's own standard deviations."""
    deviation = fit.standard_deviation(test).force
    return float(jnp.sqrt(jnp.mean(deviation**2) / jnp.mean(test.nodes["force"] ** 2)))


def test_a_refined_fit_is_better_and_knows_how_good_it_is(truth, linear, refined):
    test = truth[2]
    error = force_error(refined, test)
    assert error < 0.75 * force_error(linear, test)
    assert 0.3 < error / expected_error(refined, test) < 1.8


def test_the_path_ends_at_whole_trajectories_with_a_residual_of_one(refined):
    path = refined.refinement
    assert path.frames.tolist() == [5, 8, 12, 24]  # windows of one trajectory are alike
    np.testing.assert_allclose(path.residual, 1, atol=0.08)
    assert path.accepted == 4 and path.reason == "whole trajectories are one window each"
    assert "refined over windows of up to 24 frames" in refined.summary()
    for name in NAMES:
        assert float(path.noise[name]) == pytest.approx(NOISE, rel=0.08)
    assert float(refined.solutions[0].noise) == pytest.approx(1, abs=0.06)


def test_all_terms_share_one_system_with_a_ridge_for_each(refined):
    assert refined.reduction.members == (((0, 1), (1, 32)),)
    assert refined.solutions[0].ridge.shape == (2,)
    assert int(refined.rows) == 8 * (24 - 1) * 12


def test_the_same_in_other_units(truth, noisy, refined):
    """Lengths in units of 1e-3, times of 10: momenta in 1e-2."""
    q, p = noisy
    other = hgn.graphs.from_trajectories(
        10 * TIMES, 1e3 * q, momentum=1e2 * p, mass=MASS, edges="all", rates=False
    )
    fit = hgn.refine(hgn.fit(other, observations=STEPS, **HOW), other)
    _, force = refined.model.vector_field(measured(*truth[:2]))
    _, scaled = fit.model.vector_field(measured(1e3 * truth[0], 1e2 * truth[1]))
    np.testing.assert_allclose(scaled, 10 * force, rtol=0, atol=1e-3 * np.abs(10 * force).max())


def test_further_trajectories_sharpen_a_refined_fit(truth, noisy, refined):
    """Rows of `Steps` are added to the triangle: there are more of them, and errors shrink."""
    rng = np.random.default_rng(7)
    q, p, test = truth
    more = measured(*(a + NOISE * rng.normal(size=a.shape) for a in (q, p)))
    updated = refined.update(more)
    assert int(updated.rows) == int(refined.rows) + 8 * (24 - 3) * 12
    before, after = (f.standard_deviation(test).force for f in (refined, updated))
    assert (np.asarray(after) < 1.03 * np.asarray(before)).all()
    assert jnp.mean(after) < 0.97 * jnp.mean(before)


def test_samples_that_are_missing_and_gaps_do_no_harm(truth, noisy, linear):
    q, p = (a.copy() for a in noisy)
    rng = np.random.default_rng(5)
    q[rng.random(q.shape[:3]) < 0.1] = np.nan
    p[rng.random(p.shape[:3]) < 0.1] = np.nan
    keep = np.ones(24, bool)
    keep[10:14] = False
    data = measured(q[:, keep], p[:, keep], times=TIMES[keep])
    fit = hgn.refine(hgn.fit(data, observations=STEPS, **HOW), data)
    assert fit.refinement.frames[-1] == 10  # the gap cuts every trajectory
    assert abs(float(fit.refinement.residual[-1]) - 1) < 0.08
    seen = int(np.isfinite(q[:, keep]).sum() + np.isfinite(p[:, keep]).sum())
    assert int(fit.rows) == seen - 16 * 12
    assert force_error(fit, truth[2]) < force_error(linear, truth[2])


def test_positions_alone_are_enough(truth, noisy):
    data = measured(noisy[0])
    how = {"key": 0, "terms": [hgn.Pair(32)], "observations": [hgn.Steps(window=16)]}
    start = hgn.fit(data, **how)
    fit = hgn.refine(start, data)
    assert fit.refinement.accepted == 4 and set(fit.refinement.noise) == {"position"}
    error = force_error(fit, truth[2])
    assert error < force_error(start, truth[2])
    assert 0.3 < error / expected_error(fit, truth[2]) < 1.8
    assert int(fit.update(data).rows) > int(fit.rows) == 8 * (24 - 2) * 6


def test_without_noise_the_features_are_the_limit(truth):
    q, p, test = truth
    data = measured(q[:, :8], p[:, :8], times=TIMES[:8])
    start = hgn.fit(data, observations=STEPS, **HOW)
    assert force_error(hgn.refine(start, data), test) < force_error(start, test) / 20


def test_motion_that_no_term_describes_is_said(truth, springs):
    """A field that the pair features cannot have."""
    system = hgn.systems.mass_spring(
        "spring", rest_length=1.0, external=lambda q, m: 0.5 * jnp.sum(q**4)
    )
    sites = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.8]])
    graph = hgn.graphs.fully_connected(3, 2, position=sites, mass=MASS)
    moving = hgn.systems.simulate(system, graph, key=jr.key(3), trajectories=8, times=TIMES)
    rng = np.random.default_rng(2)
    q, p = (np.asarray(moving.nodes[a]).reshape(8, 24, 3, 2) for a in NAMES)
    data = measured(*(a + NOISE * rng.normal(size=a.shape) for a in (q, p)))
    fit = hgn.refine(hgn.fit(data, observations=STEPS, throw=False, **HOW), data, throw=False)
    path = fit.refinement
    assert path.residual[0] > 1.2
    assert path.accepted == len(path.frames) - 1
    words = f"windows of {path.frames[-1]} frames leave {float(path.residual[-1]):.3g} times"
    assert path.reason.startswith(words)


def test_refine_refuses_energies_and_other_systems(truth, noisy, linear):
    data = measured(*noisy)
    with pytest.raises(ValueError, match=r"refine needs globals\[.time.\]"):
        hgn.refine(linear, data._replace(globals={}))
    pair = hgn.graphs.from_trajectories(
        TIMES, noisy[0][:, :, :2], momentum=noisy[1][:, :, :2], mass=1.0, edges="all", rates=False
    )
    other = hgn.graphs.batch([data, pair])
    observed = (*linear.equations.observations, hgn.Energies())
    with_energies = eqx.tree_at(lambda f: f.equations.observations, linear, observed)
    with pytest.raises(ValueError, match="learned from energies"):
        hgn.refine(with_energies, data)
    with pytest.raises(ValueError, match=r"trajectories of one system.*frame 192 has 2 bodies"):
        hgn.refine(linear, other)
    masses = np.array(data.nodes["mass"])
    masses[3 * 50 + 1] = 7
    changed = data._replace(nodes=data.nodes | {"mass": jnp.asarray(masses)})
    with pytest.raises(ValueError, match="mass of frame 50 differs from frame 0"):
        hgn.refine(linear, changed)


# End points


def test_two_end_points_give_the_law(springs):
    """States half of the fastest period apart: the noise is found, and so is the law."""
    sites = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.8]])
    graph = hgn.graphs.fully_connected(3, 2, position=sites, mass=MASS)
    ends = np.array([0.0, 1.5])
    simulate = functools.partial(hgn.systems.simulate, springs, graph, times=ends)
    clean = simulate(key=jr.key(3), trajectories=100)
    test = simulate(key=jr.key(4), trajectories=50)
    q, p = (np.asarray(clean.nodes[a]).reshape(100, 2, 3, 2) for a in NAMES)
    rng = np.random.default_rng(0)
    data = measured(*(a + NOISE * rng.normal(size=a.shape) for a in (q, p)), times=ends)
    start = hgn.fit(data, observations=STEPS, throw=False, **HOW)
    assert force_error(start, test) > 0.2  # no quadrature resolves the motion
    fit = hgn.refine(start, data)
    error = force_error(fit, test)
    assert error < 0.03 and 0.3 < error / expected_error(fit, test) < 1.8
    assert set(fit.refinement.frames.tolist()) == {2}
    for size in fit.refinement.noise.values():
        assert float(size) == pytest.approx(NOISE, rel=0.15)
    exact = hgn.refine(start, measured(q, p, times=ends))
    assert force_error(exact, test) < 1e-5


# Smoothing


def test_states_are_smoothed_to_the_statistical_limit(truth, noisy, springs):
    """12 unknowns per trajectory from 24 x 12 samples: errors of sqrt(1 / 24) of the noise."""
    calm = hgn.smooth(springs, measured(*noisy))
    for name, exact in zip(NAMES, truth):
        error = np.asarray(calm.nodes[name]).reshape(exact.shape) - exact
        assert np.sqrt(np.mean(error**2)) < 1.5 * NOISE / np.sqrt(24)
    hgn.check(calm)


def test_smoothing_finds_momenta_that_were_not_measured(truth, noisy, springs):
    q, p, _ = truth
    hidden = noisy[0].copy()
    hidden[2, 5, 1] = np.nan
    calm = hgn.smooth(springs, measured(hidden))
    assert set(calm.nodes) == {"position", "momentum", "mass"}
    error = np.asarray(calm.nodes["momentum"]).reshape(p.shape) - p
    assert np.sqrt(np.mean(error**2)) < 1.5 * NOISE
    assert np.abs(np.asarray(calm.nodes["position"]).reshape(q.shape) - q)[2, 5, 1].max() < NOISE


def test_smoothing_warns_of_a_wrong_model(noisy):
    wrong = hgn.systems.mass_spring("spring", rest_length=1.0, stiffness=8.0)
    with pytest.warns(UserWarning, match="leaves .* times the noise"):
        hgn.smooth(wrong, measured(*noisy))


def test_a_motion_that_is_not_finite_is_an_error(noisy):
    explosive = hgn.systems.mass_spring("spring", rest_length=1.0, stiffness=-1e60)
    with pytest.raises(RuntimeError, match=r"could not follow the states.*not finite"):
        hgn.smooth(explosive, measured(*noisy))


@pytest.mark.parametrize(
    "residual, frames, before, allowed",
    [
        (1.19, 10, 1.0, True),
        (1.21, 10, 1.0, False),
        (2.7, 10, 2.0, True),
        (2.9, 10, 2.0, False),
        (1e6, 5, np.inf, True),
        (np.inf, 5, np.inf, False),
    ],
)
def test_a_residual_over_the_noise_may_grow_with_the_root_of_the_length(
    residual, frames, before, allowed
):
    """From windows of 5 frames on."""
    assert follows(residual, frames, before, 5) is allowed


def test_the_model_stands_if_the_last_step_leaves_more(linear, noisy):
    """The last step finds the triangle around the best motion."""
    data = measured(*noisy)
    trajectories = trajectories_of(data, NAMES)
    growth = Growth(trajectories, np.full(2, NOISE), linear.model, trajectories.state)
    windows = windows_of(trajectories, 5)
    left, states = growth.squares(linear.model, trajectories.state, windows)
    best = Stage(linear.model, states, windows, 1, 1, left)
    for factor, kept in ((10.0, 1.0), (1.0001, 1.0001)):
        after = eqx.tree_at(lambda m: m.theta[1], linear.model, factor * linear.model.theta[1])
        step = AStep(dataclasses.replace(linear, model=after), states)
        theta = _final(step, growth, best)[0].model.theta[1]
        np.testing.assert_allclose(theta, kept * linear.model.theta[1], rtol=1e-14)


class AStep(GaussNewton):
    """A step of Gauss-Newton that ends here."""

    def __init__(self, fit, states):
        self.found, self.states = fit, states

    def __call__(self, *_):
        return self.found.model, self.states


# Windows that the data choose


def test_steps_without_a_window_ask_the_data(truth, noisy):
    data = measured(*noisy)
    fit = hgn.fit(data, observations=[hgn.Steps()], **HOW)
    chosen = fit.equations.observations[0]
    assert chosen.window in (4, 8, 16) and chosen.order in (3, 5)
    errors = [
        force_error(hgn.fit(data, observations=[hgn.Steps(window=w)], **HOW), truth[2])
        for w in (4, 16)
    ]
    assert force_error(fit, truth[2]) < 1.3 * min(errors)
    given = dataclasses.replace(chosen, noise=None, longest_step=None)
    again = hgn.solve(fit.model.terms, data, observations=[hgn.Steps()])
    assert again.equations.observations[0].window == chosen.window
    same = hgn.solve(fit.model.terms, data, observations=[given])
    np.testing.assert_allclose(same.model.theta[1], again.model.theta[1], rtol=1e-9)


def test_numbers_that_two_data_sets_share_are_refused(noisy):
    data = measured(*noisy)
    twice = hgn.graphs.batch([hgn.graphs.take(data, np.arange(192) < 24)] * 2)
    with pytest.raises(ValueError, match="frame 24 of the data, in trajectory 0, has time"):
        hgn.fit(twice, observations=[hgn.Steps(window=8)], **HOW)
