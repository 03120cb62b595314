"""Pictures of fits draw what the fit says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.fitting.pair_uncertainty import pair_standard_deviation


@pytest.fixture(scope="module")
def noisy(data, specs, with_noise):
    return hgn.fit(with_noise(data, 0.1), key=1, terms=specs)


def test_parity_shows_every_observed_and_learned_component(fitted, data):
    figure = hgn.plots.parity(fitted, data, units={"force": "N"})
    names = dict(zip(hgn.metrics.relative_error(fitted.model, data), figure.axes))
    for name, rate in zip(("velocity", "force"), fitted.model.vector_field(data)):
        x, y = names[name].lines[1].get_data()
        np.testing.assert_array_equal(x, data.nodes[name].ravel())
        np.testing.assert_allclose(y, rate.ravel(), rtol=1e-9, atol=1e-12)
    assert names["force"].get_xlabel() == "observed dp/dt (N)"
    assert names["velocity"].get_xlabel() == "observed dq/dt"


def test_parity_counts_every_body_once(noisy, data):
    *_, histogram = hgn.plots.parity(noisy.model, data).axes
    bars = [patch.get_xy() for patch in histogram.patches]
    assert [xy[:-1:2, 1].sum() for xy in bars] == [1600, 1600]  # 200 frames of 8 bodies


def test_potential_shows_the_learned_energy_and_force_and_the_trained_range(fitted, springs):
    energy, force, error = hgn.plots.potential(fitted.model, springs).axes
    r, true = force.lines[0].get_data()
    r, top = np.asarray(r), float(fitted.model.pair_range()[1])
    np.testing.assert_allclose(true, 1 - r, atol=1e-12)  # stiffness 1, rest length 1
    np.testing.assert_allclose(
        energy.lines[0].get_ydata(), ((r - 1) ** 2 - (top - 1) ** 2) / 2, atol=1e-12
    )
    slope = jax.vmap(jax.grad(fitted.model.pair_energy))(jnp.asarray(r))
    np.testing.assert_allclose(force.lines[1].get_ydata(), -slope, rtol=1e-12)
    wrong = np.abs(-slope - (1 - r)) / np.abs(1 - r).max()
    np.testing.assert_allclose(error.lines[0].get_ydata(), np.maximum(wrong, 1e-18), atol=1e-13)
    shaded = error.patches[0].get_bbox()
    np.testing.assert_allclose((shaded.x0, shaded.x1), fitted.model.pair_range())
    assert r[0] < shaded.x0 < shaded.x1 < r[-1]


def test_the_truth_is_optional_and_attraction_is_positive_on_logarithmic_axes(fitted):
    energy, force = hgn.plots.potential(fitted.model).axes
    assert len(energy.lines) == len(force.lines) == 1 and not energy.collections
    (attraction,) = hgn.plots.potential(fitted.model, log=True).axes
    r, drawn = attraction.lines[0].get_data()
    slope = jax.vmap(jax.grad(fitted.model.pair_energy))(jnp.asarray(r))
    np.testing.assert_allclose(drawn, slope, rtol=1e-12)
    assert attraction.get_yscale() == "log"


def test_bands_are_two_standard_deviations_of_the_force_of_a_pair(noisy):
    """The library's own deviation of two bodies on a line is the reference."""
    *_, force = hgn.plots.potential(noisy).axes
    r, drawn = force.lines[0].get_data()
    band = force.collections[0].get_paths()[0].vertices
    upper = np.array([band[band[:, 0] == x, 1].max() for x in np.asarray(r)])
    pair = hgn.graphs.from_pairs(jnp.zeros((2, 3)), [(0, 1)], mass=jnp.ones(2))
    position = jnp.zeros((len(r), 2, 3)).at[:, 1, 0].set(r)
    frames = hgn.graphs.snapshots(
        pair, {"position": position, "momentum": 0 * position}, {"time": jnp.asarray(r)}
    )
    deviation = noisy.standard_deviation(frames).force[1::2, 0]
    np.testing.assert_allclose(upper - drawn, 2 * deviation, rtol=1e-6)


def test_bands_without_kinetic_columns(data):
    fit = hgn.fit(data, key=0, terms=[hgn.Pair(8)])
    assert len(hgn.plots.potential(fit).axes[1].collections) == 1


def test_deviations_of_the_potential_are_relative_to_a_distance(noisy):
    r = jnp.array([0.8, 1.0, 1.2])
    energy, force = pair_standard_deviation(noisy, r, 1.0)
    assert energy[1] == 0 and energy[0] > 0 and (force > 0).all()
    # A difference of energies over a short way is the force times the way.
    near, _ = pair_standard_deviation(noisy, r + 1e-5, 1.0)
    np.testing.assert_allclose(near[1], 1e-5 * force[1], rtol=1e-3)
    with pytest.raises(ValueError, match="no pair features for edge type 1"):
        pair_standard_deviation(noisy, r, 1.0, type=1)


def test_singular_values_are_those_of_the_scaled_triangle_and_the_rank_is_marked(fitted):
    (ax,) = hgn.plots.singular_values(fitted).axes
    for k, (triangle, solution) in enumerate(zip(fitted.reduction.triangles, fitted.solutions)):
        r = np.asarray(triangle.r)
        s = np.linalg.svd(r / np.linalg.norm(r, axis=0), compute_uv=False)
        curve, mark, ridge = ax.lines[3 * k : 3 * k + 3]
        np.testing.assert_allclose(curve.get_ydata(), s / s[0], atol=1e-13)
        assert mark.get_xdata() == [int(solution.rank)]
        np.testing.assert_allclose(ridge.get_ydata()[0], solution.ridge[0] / s[0])
    assert [t.get_text().split(":")[0] for t in ax.get_legend().texts] == ["kinetic", "pair"]


def test_the_ridge_path_peaks_at_the_ridge_of_the_fit(noisy):
    residual, freedom, gcv, evidence = hgn.plots.ridge_path(noisy).axes
    curves = [line for line in evidence.lines if len(line.get_xdata()) > 2]
    for line, solution, path in zip(curves, noisy.solutions, noisy.ridge_paths()):
        ridge, value = line.get_data()
        np.testing.assert_allclose(value, path.evidence - path.evidence.max(), rtol=1e-6, atol=1e-6)
        assert ridge[np.argmax(value)] == pytest.approx(float(solution.ridge[0]), rel=0.4)
    marks = {line.get_xdata()[0] for line in residual.lines if len(line.get_xdata()) == 2}
    assert marks == {float(s.ridge[0]) for s in noisy.solutions}
    assert gcv.lines[0].get_ydata().min() == 1
    assert freedom.lines[0].get_ydata().max() == pytest.approx(9)  # 8 kinetic units and |p|^2 / 2m


def test_race_shows_the_least_error_so_far_and_ranks_the_contestants():
    seconds = np.array([1.0, 2.0, 4.0])
    figure = hgn.plots.race(
        {
            "good": (seconds, np.array([1e-1, 1e-3, 1e-2])),
            "sampling and one solve": (seconds, np.array([1e-4, 1e-6, 1e-9])),
            "bad": (seconds, np.array([1.0, np.nan, 0.5])),
        },
        cost="device-seconds",
    )
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_array_equal(lines["good"].get_data(), [seconds, [1e-1, 1e-3, 1e-3]])
    np.testing.assert_array_equal(lines["bad"].get_ydata(), [1.0, 1.0, 0.5])
    assert list(lines) == ["bad", "good", "sampling and one solve"]
    assert figure.axes[0].get_xlabel() == "device-seconds"


def test_units_of_unknown_quantities_are_refused(fitted):
    with pytest.raises(ValueError, match=r"unknown quantities \['lenght'\]; known are"):
        hgn.plots.potential(fitted, units={"lenght": "m"})
