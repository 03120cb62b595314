"""Pictures of motion draw the states, whatever they come from."""

import diffrax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn


def test_energy_shows_changes_relative_to_the_start(path, springs, moving_lattice):
    figure = hgn.plots.energy({"one": path, "two": path}, units={"time": "s"})
    first = float(springs(moving_lattice)[0])
    for ax in figure.axes:
        np.testing.assert_allclose(
            ax.lines[0].get_ydata(), (np.asarray(path.energy) - first) / first, atol=1e-12
        )
    assert figure.axes[-1].get_xlabel() == "time (s)"


def test_tracks_are_counted_from_the_origin_and_near_ones_have_a_panel():
    sun = np.cumsum(np.ones((300, 1, 3)), axis=0)
    near, far = sun + np.array([1.0, 0.5, 0.0]), sun + np.array([9.0, 0.0, 0.0])
    q = np.concatenate([sun, near, far], axis=1)
    figure = hgn.plots.tracks(
        q, truth=q[::2], names=("Sun", "Near", "Far"), origin=0, zoom=2.0, plane=(0, 1)
    )
    inner, outer = figure.axes
    np.testing.assert_allclose(inner.lines[0].get_data(), np.repeat([[1.0], [0.5]], 300, 1))
    assert len(inner.lines[1].get_xdata()) == 75  # every second of 150 circles
    assert [ax.lines[0].get_label() for ax in (inner, outer)] == ["Near", "Far"]


def test_tracks_take_one_two_and_three_dimensions(path):
    (flat,) = hgn.plots.tracks(path).axes
    np.testing.assert_array_equal(flat.lines[2].get_xdata(), path.position[:, 1, 0])
    solid = hgn.plots.tracks(np.pad(path.position, ((0, 0), (0, 0), (0, 1)))).axes[0]
    np.testing.assert_array_equal(solid.lines[2].get_data_3d()[1], path.position[:, 1, 1])
    line = hgn.plots.tracks(path.position[..., :1]).axes[0].lines[0]
    np.testing.assert_array_equal(line.get_data(), [np.arange(41), path.position[:, 0, 0]])


def test_phase_shows_momentum_against_position(path):
    figure = hgn.plots.phase(path, truth=path, bodies=[4, 7])
    for k, ax in enumerate(figure.axes):
        q, p = ax.lines[2].get_data()
        np.testing.assert_array_equal(q, path.position[:, 7, k])
        np.testing.assert_array_equal(p, path.momentum[:, 7, k])
        assert (ax.lines[2].get_label(), len(ax.lines)) == ("body 7", 4)
    with pytest.raises(ValueError, match="needs momenta"):
        hgn.plots.phase(np.asarray(path.position))


def test_a_data_set_gives_its_first_trajectory(springs, cube):
    times = jnp.linspace(0.0, 1.0, 6)
    data = hgn.systems.simulate(springs, cube, key=jr.key(0), trajectories=3, times=times)
    line = hgn.plots.tracks(data, plane=(0, 2)).axes[0].lines[0]
    q = np.asarray(data.nodes["position"]).reshape(3, 6, 8, 3)
    np.testing.assert_array_equal(line.get_data(), q[0, :, 0, ::2].T)


def test_a_rollout_without_states_is_refused(springs, moving_lattice):
    path = hgn.rollout(springs, moving_lattice, [0.0, 0.1], dt=0.05, states=False)
    with pytest.raises(ValueError, match="left out its states"):
        hgn.plots.tracks(path)


@pytest.fixture(scope="module")
def damped():
    """A damped spring, q'' = -q - 0.2 q', from its solution."""
    t = np.linspace(0, 12, 241)
    w = np.sqrt(1 - 0.01)
    q = np.exp(-0.1 * t) * np.cos(w * t)
    v = np.exp(-0.1 * t) * (-0.1 * np.cos(w * t) - w * np.sin(w * t))
    a = -q - 0.2 * v
    x = np.stack([-1 - q / 2, 1 + q / 2], axis=1)[..., None]
    sign = np.array([-0.5, 0.5])[None, :, None]
    return hgn.graphs.from_trajectories(
        t, x, velocity=sign * v[:, None, None], force=sign * a[:, None, None], mass=1.0, edges="all"
    )


def test_power_shows_the_terms_and_their_work_is_the_change_of_the_energy(damped):
    terms = [hgn.Kinetic(0), hgn.Pair(16), hgn.Friction(0)]
    fit = hgn.fit(damped, key=0, terms=terms)
    above, below = hgn.plots.power(fit, damped).axes
    v = np.asarray(damped.nodes["velocity"]).reshape(241, -1)
    np.testing.assert_allclose(
        above.lines[0].get_ydata(), -0.2 * (v**2).sum(axis=1), rtol=1e-4, atol=1e-8
    )
    work, energy = (line.get_ydata() for line in below.lines)
    np.testing.assert_allclose(work, energy, atol=3e-4)  # the trapezoidal rule's error
    assert energy[-1] < -0.2

    start = hgn.graphs.take(damped, np.arange(241) == 0)
    path = hgn.rollout(
        fit.model, start, damped.globals["time"], dt=0.05, integrator=diffrax.Dopri8()
    )
    rolled = hgn.plots.power(fit, path).axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(rolled, above.lines[0].get_ydata(), atol=1e-5)


def test_power_of_a_model_without_rates_is_refused(fitted, path):
    with pytest.raises(ValueError, match="no term of the model changes its energy"):
        hgn.plots.power(fitted, path)


def test_g_of_r_is_one_for_an_ideal_gas_and_that_of_the_observable():
    rng = np.random.default_rng(0)
    gas = hgn.graphs.radius(rng.uniform(0, 4, (60, 3)), 0.5, cell=[4.0] * 3)
    q = rng.uniform(0, 4, (40, 60, 3))
    frames = hgn.graphs.snapshots(gas, {"position": jnp.asarray(q)}, {"time": jnp.arange(40.0)})
    rdf = hgn.RadialDistribution(reach=2.0, bins=10)
    r, g = hgn.plots.radial_distribution(frames, rdf).axes[0].lines[0].get_data()
    np.testing.assert_array_equal(r, rdf.r)
    np.testing.assert_allclose(g[3:], 1, atol=0.1)
    line = hgn.plots.radial_distribution(frames).axes[0].lines[0]
    assert line.get_xdata()[-1] == pytest.approx(1.99)
    with pytest.raises(ValueError, match="needs a periodic cell"):
        hgn.plots.radial_distribution(q)


def test_denoised_shows_what_was_measured_and_the_noise():
    times = np.linspace(0, 3, 31)
    springs = hgn.systems.mass_spring("spring", rest_length=1.0)
    true = hgn.systems.simulate(
        springs, hgn.graphs.chain(2, dimension=2), key=jr.key(0), trajectories=1, times=times
    )
    q, p = (np.array(true.nodes[k]).reshape(31, 2, 2) for k in ("position", "momentum"))
    q += 0.01 * np.random.default_rng(0).normal(size=q.shape)
    q[5, 1] = np.nan
    data = hgn.graphs.from_trajectories(times, q, momentum=p, mass=1.0, edges="all", rates=False)
    figure = hgn.plots.denoised(data, true, truth=true, body=1)
    above, below = figure.axes[0], figure.axes[2]
    measured = np.delete(q[:, 1, 0], 5)
    smooth = np.asarray(true.nodes["position"]).reshape(31, 2, 2)[:, 1, 0]
    np.testing.assert_array_equal(above.lines[0].get_ydata(), measured)
    np.testing.assert_array_equal(above.lines[1].get_ydata(), smooth)
    np.testing.assert_allclose(below.lines[1].get_ydata(), measured - np.delete(smooth, 5))
    np.testing.assert_array_equal(below.lines[2].get_ydata(), 0)


def test_position_errors_have_a_panel_for_each_body_that_moves():
    error = np.array([[0, 0, 0], [0, 1, 2.0], [0, 3, 4.0]])
    figure = hgn.plots.position_errors(np.arange(3), {"learned": error}, names=("Sun", "a", "b"))
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title(loc="left") for ax in shown] == ["a", "b"]
    np.testing.assert_array_equal(shown[1].lines[0].get_data(), [[1, 2], [2, 4]])


def test_a_gif_has_frames_evenly_in_time(path, tmp_path):
    from PIL import Image

    file = hgn.plots.animate(path, tmp_path / "run.gif", seconds=0.5, rate=10)
    with Image.open(file) as image:
        assert (image.n_frames, image.info["duration"]) == (5, 100)
        first = np.asarray(image.convert("L"), float)
        image.seek(4)
        assert np.abs(np.asarray(image.convert("L"), float) - first).max() > 50
    with pytest.raises(ValueError, match=r"\.gif or \.mp4, got '\.avi'"):
        hgn.plots.animate(path, tmp_path / "run.avi")


def test_tracks_in_one_dimension_have_their_reference(path):
    line = path.position[:, :, :1]
    truth = np.asarray(line) + 0.5
    (ax,) = hgn.plots.tracks(line, truth=truth).axes
    circles = [a for a in ax.lines if a.get_marker() == "o"]
    assert len(circles) == line.shape[1]
    for k, circle in enumerate(circles):
        frames = np.asarray(circle.get_xdata(), int)
        np.testing.assert_allclose(circle.get_ydata(), truth[frames, k, 0])
    with pytest.raises(ValueError, match=r"truth has \d+ frames, but path has"):
        hgn.plots.tracks(line[:5], truth=truth)
