"""Brownian particles: energy, mobility and temperature against the laws that made the tracks."""

import math
import warnings

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.fitting import amplification

STIFFNESS, MOBILITY, TEMPERATURE, STEP = 2.0, 0.5, 1.5, 0.2
CENTRE = np.array([0.3, -0.2])


def trapped(frames=3000, trajectories=6, bodies=3, step=STEP, seed=0):
    """Exact tracks in a harmonic trap (Ornstein-Uhlenbeck); steps may be irregular."""
    rng = np.random.default_rng(seed)
    steps = np.broadcast_to(step, (frames - 1,))
    width = math.sqrt(TEMPERATURE / STIFFNESS)
    x = width * rng.normal(size=(frames, trajectories, bodies, 2))
    for f, dt in enumerate(steps):
        decay = math.exp(-MOBILITY * STIFFNESS * dt)
        x[f + 1] = decay * x[f] + math.sqrt(1 - decay**2) * x[f + 1]
    times = np.tile(np.append(0, np.cumsum(steps)), (trajectories, 1))
    return times, np.swapaxes(x, 0, 1) + CENTRE


def data_of(times, x):
    return hgn.graphs.from_trajectories(times, x, mass=1.0, edges=[], rates=False)


@pytest.fixture(scope="module")
def data():
    return data_of(*trapped())


@pytest.mark.parametrize("given", [{"mobility": MOBILITY}, {"temperature": TEMPERATURE}])
def test_trap_mobility_and_temperature(data, given):
    """The truth is within four standard deviations, and the bias (k dt)^2 / 12 of the method."""
    found = hgn.fit_brownian(data, key=0, terms=[hgn.HarmonicTrap()], **given)
    bias = (MOBILITY * STIFFNESS * STEP) ** 2 / 12
    for name, true in (("mobility", MOBILITY), ("temperature", TEMPERATURE)):
        deviation = getattr(found, f"{name}_deviation")
        assert (deviation == 0) == (name in given)
        assert abs(getattr(found, name) - true) < 4 * deviation + bias * true + 1e-12
    assert np.isclose(found.diffusion, found.mobility * found.temperature)
    stiffness, *shift = np.asarray(found.fit.model.theta[0])
    # The error of a rate is sqrt(2 rate / total time) for a track of one coordinate.
    rate, total = MOBILITY * STIFFNESS, 6 * 3 * 2 * 3000 * STEP
    assert abs(stiffness / STIFFNESS - 1) < 4 * math.sqrt(2 / rate / total) + 2 * bias
    assert np.allclose(-np.array(shift) / stiffness, CENTRE, rtol=0, atol=0.05)
    assert abs(found.correlation) < 0.02


def test_long_steps():
    """Stiffness and diffusion at 0.6 relaxation times per step are those of the exact process."""
    h = MOBILITY * STIFFNESS * 0.6
    found = hgn.fit_brownian(
        data_of(*trapped(step=0.6)), key=0, terms=[hgn.HarmonicTrap()], mobility=MOBILITY
    )
    # Regression of x1 = exp(-h) x0 + noise gives the rate 2 tanh(h/2) / dt, and the residual of the
    # mean drift 2 tanh(h/2) / h times the variance 2 D dt.
    t = math.tanh(h / 2)
    stiffness = float(found.fit.model.theta[0][0])
    assert abs(stiffness / (2 * t / h * STIFFNESS) - 1) < 4 * math.sqrt(2 / (h * 36 * 3000))
    share = (2 * t + t**2 / 3 * (1 - math.exp(-h))) / h
    assert abs(share - 1) < 0.01 < abs(2 * t / h - 1) - 4 * math.sqrt(2 / (36 * 3000))
    error = found.diffusion - share * MOBILITY * TEMPERATURE
    assert abs(error) < 4 * found.diffusion_deviation
    # x1 has the mean exp(-h) x0, so that the deviation of the stiffness grows by 2 / (1 + exp(-h));
    # those of the two components of the centre do not.
    assert found.fit.deviation_scales is not None
    grown = math.sqrt(((2 / (1 + math.exp(-h))) ** 2 + 2) / 3)
    np.testing.assert_allclose(found.fit.deviation_scales["velocity"].factor, grown, rtol=5e-3)


def test_amplification_does_not_depend_on_pieces(monkeypatch):
    """Frames that are larger than a piece, too."""
    few = data_of(*trapped(40, 2, 3))
    factors = []
    for bodies in (10**6, 7, 2):
        monkeypatch.setattr(amplification, "BODIES", bodies)
        found = hgn.fit_brownian(few, key=0, terms=[hgn.HarmonicTrap()], mobility=MOBILITY)
        assert found.fit.deviation_scales is not None
        factors.append(float(found.fit.deviation_scales["velocity"].factor))
    assert factors[0] > 1.02
    np.testing.assert_allclose(factors, factors[0], rtol=1e-12)


def test_error_bars_cover_the_truth():
    """Deviations of the force are those of its errors over many data sets."""
    graph = hgn.graphs.frame(data_of(*trapped(4, 1, 1)), 0)
    graph = graph._replace(nodes=graph.nodes | {"position": jnp.asarray([[1.3, -0.2]])})
    scores, scatter = [], []
    for seed in range(25):
        few = data_of(*trapped(400, 2, 2, 0.1, seed))
        found = hgn.fit_brownian(few, key=0, terms=[hgn.HarmonicTrap()], mobility=MOBILITY)
        velocity = found.fit.model.vector_field(graph)[0][0, 0]
        deviation = found.fit.standard_deviation(graph).velocity[0, 0]
        scores.append((velocity + MOBILITY * STIFFNESS) / deviation)
        scatter.append((found.temperature - TEMPERATURE) / found.temperature_deviation)
    for z in (scores, scatter):  # chi-squared with 25 degrees of freedom, beyond 1e-4 each way
        assert 6 < np.sum(np.square(z)) < 62


def test_irregular_steps_and_gaps():
    rng = np.random.default_rng(1)
    steps = rng.uniform(0.05, 0.2, 2999)
    steps[1000] = 50.0  # a gap: nothing is remembered across it
    found = hgn.fit_brownian(
        data_of(*trapped(step=steps)), key=0, terms=[hgn.HarmonicTrap()], mobility=MOBILITY
    )
    assert abs(found.temperature - TEMPERATURE) < 4 * found.temperature_deviation + 5e-3
    assert abs(found.fit.model.theta[0][0] / STIFFNESS - 1) < 0.15


def test_few_irregular_steps_as_by_numpy():
    """Least squares weighted by the steps, with corrections until they no longer change."""
    steps = np.random.default_rng(3).uniform(0.02, 0.3, 59)
    times, x = trapped(60, 2, 1, steps)
    how = {"key": 0, "terms": [hgn.HarmonicTrap()], "solver": hgn.QR(ridge=1e-10)}
    found = hgn.fit_brownian(data_of(times, x), mobility=MOBILITY, **how)
    dt = steps[None, :, None, None]

    def rows(q):
        axes = np.broadcast_to(np.eye(2), (*q.shape, 2))
        return -MOBILITY * np.concatenate([q[..., None], axes], axis=-1)

    before, after, change = rows(x[:, :-1]), rows(x[:, 1:]), 0.0
    velocity = np.diff(x, axis=1) / dt
    for _ in range(50):
        scaled = (before * np.sqrt(dt)[..., None]).reshape(-1, 3)
        theta = np.linalg.lstsq(scaled, ((velocity - change) * np.sqrt(dt)).ravel())[0]
        change = (after - before) @ theta / 2
    residual = (velocity - (before + after) @ theta / 2) * np.sqrt(dt)
    difference = (after - before) @ theta * np.sqrt(dt)
    squares = np.sum(residual**2) + np.sum(difference**2) / 12
    diffusion = squares / 2 / (residual.size - 3)
    assert np.allclose(found.fit.model.theta[0], theta, rtol=2e-3, atol=2e-3)
    assert np.isclose(found.diffusion, diffusion, rtol=1e-3)
    assert np.isclose(
        found.diffusion_deviation, diffusion * math.sqrt(2 / residual.size), rtol=1e-3
    )
    # theta = W v with W = (Z0^T M)^-1 Z0^T: the variance of Z0 theta is the noise times |Z0 W|^2,
    # and would be three, the number of columns, for a regression on Z0.
    later = (after * np.sqrt(dt)[..., None]).reshape(-1, 3)
    means = np.linalg.inv(scaled.T @ (scaled + later) / 2) @ scaled.T
    grown = np.linalg.norm(scaled @ means) / math.sqrt(3)
    assert grown > 1.02 and found.fit.deviation_scales is not None
    assert np.isclose(found.fit.deviation_scales["velocity"].factor, grown, rtol=1e-6)


def test_a_gap_parts_a_trajectory_in_two():
    steps = np.full(99, 0.1)
    steps[40] = 5.0
    data = data_of(*trapped(100, 2, 1, steps))
    late = (data.globals["time"] > 5).astype(jnp.int32)
    parts = data.globals | {"trajectory": 2 * data.globals["trajectory"] + late}
    one, two = (
        hgn.fit_brownian(d, key=0, terms=[hgn.HarmonicTrap()], mobility=MOBILITY)
        for d in (data, data._replace(globals=parts))
    )
    assert np.array_equal(one.fit.model.theta[0], two.fit.model.theta[0])
    assert (one.temperature, one.correlation) == (two.temperature, two.correlation)


def test_trajectories_of_one_step_have_no_successive_steps():
    data = data_of(*trapped(3, 100, 1))
    pairs = hgn.graphs.take(data, np.arange(300) % 3 < 2)
    found = hgn.fit_brownian(pairs, key=0, terms=[hgn.HarmonicTrap()], mobility=MOBILITY)
    assert found.correlation == 0


def test_bodies_that_are_fixed_do_not_count():
    """One of three, whose positions tremble by errors alone: it says nothing of the noise."""
    times, x = trapped(400)
    x[:, :, 2] = 3 + 1e-3 * np.random.default_rng(4).normal(size=x[:, :, 2].shape)
    every = data_of(times, x)
    fixed = jnp.asarray(np.arange(len(every.nodes["mass"])) % 3 == 2)
    both = every._replace(nodes=every.nodes | {"fixed": fixed})
    alone, found = (
        hgn.fit_brownian(d, key=0, terms=[hgn.HarmonicTrap()], mobility=MOBILITY)
        for d in (data_of(times, x[:, :, :2]), both)
    )
    assert np.allclose(found.fit.model.theta[0], alone.fit.model.theta[0], rtol=1e-9)
    assert np.isclose(found.temperature, alone.temperature, rtol=1e-9)
    assert np.isclose(found.temperature_deviation, alone.temperature_deviation, rtol=1e-9)
    assert np.isclose(found.correlation, alone.correlation, rtol=1e-9)


def brownian_springs(frames, inner=20, step=0.02):
    """Two triangles of springs of stiffness 3 and length 1, by short Euler-Maruyama steps."""
    pairs = np.array([(0, 1), (1, 2), (2, 0)])
    dt = step / inner

    def force(q):
        d = q[:, pairs[:, 0]] - q[:, pairs[:, 1]]
        r = jnp.linalg.norm(d, axis=2, keepdims=True)
        pull = -3 * (r - 1) * d / r
        return jnp.zeros_like(q).at[:, pairs[:, 0]].add(pull).at[:, pairs[:, 1]].add(-pull)

    def move(q, key):
        for k in jr.split(key, inner):
            noise = jr.normal(k, q.shape, q.dtype)
            q = q + MOBILITY * dt * force(q) + math.sqrt(2 * MOBILITY * 0.05 * dt) * noise
        return q, q

    start = jnp.asarray(np.tile([[0.0, 0], [1, 0], [0.5, 0.9]], (16, 1, 1)))
    return np.swapaxes(jax.lax.scan(move, start, jr.split(jr.key(0), frames))[1], 0, 1), pairs


def test_springs_of_unknown_mobility():
    x, pairs = brownian_springs(4000)
    times = np.tile(0.02 * np.arange(4000), (16, 1))
    data = hgn.graphs.from_trajectories(times, x, mass=1.0, edges=pairs, rates=False)
    found = hgn.fit_brownian(data, key=0, terms=[hgn.Powers((1, 2))], temperature=0.05)
    assert abs(found.mobility - MOBILITY) < 4 * found.mobility_deviation + 1e-3
    linear, square = np.asarray(found.fit.model.theta[0])
    deviation = found.fit.standard_deviation(hgn.graphs.frame(data, 5)).velocity
    assert float(jnp.max(deviation)) < 0.05
    assert abs(square / 1.5 - 1) < 0.08
    assert abs(-linear / 2 / square - 1) < 0.01  # the length of the springs


def test_errors_of_positions_are_warned_of(data):
    times, x = trapped()
    noise = 0.3 * np.random.default_rng(2).normal(size=x.shape)
    with pytest.warns(UserWarning, match="successive steps are correlated by -0"):
        hgn.fit_brownian(
            data_of(times, x + noise), key=0, terms=[hgn.HarmonicTrap()], mobility=MOBILITY
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hgn.fit_brownian(data, key=0, terms=[hgn.HarmonicTrap()], mobility=MOBILITY)


def test_overdamped_dynamics_roll_down_the_energy(tmp_path, data):
    found = hgn.fit_brownian(data, key=0, terms=[hgn.HarmonicTrap()], mobility=MOBILITY)
    model, start = found.fit.model, hgn.graphs.frame(data, 0)
    path = hgn.rollout(model, start, [0.0, 1.0], dt=0.05, integrator=diffrax.Dopri8())
    stiffness = float(model.theta[0][0])
    centre = -np.asarray(model.theta[0][1:]) / stiffness
    expected = centre + math.exp(-MOBILITY * stiffness) * (np.asarray(path.position[0]) - centre)
    assert np.allclose(path.position[1], expected, rtol=0, atol=1e-8)
    assert path.energy[1] < path.energy[0]
    hgn.save(tmp_path / "model", model)
    assert float(hgn.load(tmp_path / "model").dynamics.mobility) == MOBILITY


def test_bad_input(data):
    terms = [hgn.HarmonicTrap()]
    with pytest.raises(ValueError, match="got neither"):
        hgn.fit_brownian(data, key=0, terms=terms)
    with pytest.raises(ValueError, match="got both"):
        hgn.fit_brownian(data, key=0, terms=terms, mobility=1.0, temperature=1.0)
    with pytest.raises(ValueError, match="temperature must be positive"):
        hgn.fit_brownian(data, key=0, terms=terms, temperature=-1.0)
    with pytest.raises(ValueError, match="mobility must be positive"):
        hgn.Overdamped(0.0)
    alone = hgn.graphs.take(data, np.arange(len(data.n_node)) % 3000 == 0)
    with pytest.raises(ValueError, match="no two successive frames"):
        hgn.fit_brownian(alone, key=0, terms=terms, mobility=1.0)
    globals_ = data.globals | {"time": -data.globals["time"]}
    with pytest.raises(ValueError, match="the time does not increase from frame 0 to frame 1"):
        hgn.fit_brownian(data._replace(globals=globals_), key=0, terms=terms, mobility=1.0)
    globals_ = {"time": data.globals["time"]}
    with pytest.raises(ValueError, match="trajectory"):
        hgn.fit_brownian(data._replace(globals=globals_), key=0, terms=terms, mobility=1.0)
