import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def test_parity_shows_every_observed_and_learned_component(fitted, data):
    from hgn_jax import plots

    ax = plots.parity(fitted.model, data).axes[1]
    x, y = ax.lines[1].get_data()
    np.testing.assert_array_equal(x, data.nodes["force"].ravel())
    np.testing.assert_array_equal(y, fitted.model.vector_field(data)[1].ravel())


def test_potential_shows_the_learned_force_and_the_trained_range(fitted, springs):
    from hgn_jax import plots

    figure = plots.potential(fitted.model, springs)
    r, true = figure.axes[0].lines[0].get_data()
    np.testing.assert_allclose(true, 1 - np.asarray(r), atol=1e-12)  # stiffness 1, rest length 1
    learned = figure.axes[0].lines[1].get_data()[1]
    slope = jax.vmap(jax.grad(fitted.model.pair_energy))(jnp.asarray(r))
    np.testing.assert_allclose(learned, -slope, rtol=1e-12)
    (low, high), *_ = np.asarray(fitted.trained_range["pair"])
    assert r[0] < low < high < r[-1]


def test_energy_shows_errors_relative_to_the_start():
    from hgn_jax import plots

    figure = plots.energy(np.arange(3.0), {"one": np.array([2.0, 2.2, 1.9])})
    np.testing.assert_allclose(figure.axes[0].lines[0].get_data()[1], [0, 0.1, -0.05], atol=1e-15)


def test_tracks_are_heliocentric():
    from hgn_jax import plots

    sun = np.cumsum(np.ones((300, 1, 3)), axis=0)
    planet = sun + np.array([1.0, 0.5, 0.0])
    figure = plots.tracks(("Sun", "Near"), np.concatenate([sun, planet], 1),
                          np.concatenate([sun, planet], 1))  # fmt: skip
    x, y = figure.axes[0].lines[0].get_data()
    np.testing.assert_allclose([x, y], [np.full(300, 1.0), np.full(300, 0.5)], atol=1e-12)


def test_race_shows_the_least_error_so_far_and_ranks_the_contestants():
    from hgn_jax import plots

    seconds = np.array([1.0, 2.0, 4.0])
    figure = plots.race(
        {
            "good": (seconds, np.array([1e-1, 1e-3, 1e-2])),
            "sampling and one solve": (seconds, np.array([1e-4, 1e-6, 1e-9])),
            "bad": (seconds, np.array([1.0, np.nan, 0.5])),
        }
    )
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_array_equal(lines["good"].get_data(), [seconds, [1e-1, 1e-3, 1e-3]])
    np.testing.assert_array_equal(lines["bad"].get_ydata(), [1.0, 1.0, 0.5])
    assert list(lines) == ["bad", "good", "sampling and one solve"]
