"""Planets from few trajectories: orbits, discarded runs, uniform numbers over several ranges."""

import numpy as np
import pytest

from bench import few_shot_planets as bench


@pytest.mark.parametrize(("square", "energy"), [(1.0, -0.5), (2.0, 0.0)])
def test_planets_start_on_circles_or_parabolas(square, energy):
    """Energy per mass: -M / 2r on a circle, 0 on a parabola; planets move across the radius."""
    unit = np.random.default_rng(0).random((5, 2, 4))
    unit[..., 1] = 0.5  # orbits that are not tilted
    star = np.full(5, 4.0)
    graphs = bench._starts(star, unit, square, bench.TRAIN)
    mass, x = (np.asarray(graphs.nodes[k]).reshape(5, 3, -1) for k in ("mass", "position"))
    v = np.asarray(graphs.nodes["momentum"]).reshape(5, 3, 3) / mass
    r = np.linalg.norm(x[:, 1:], axis=2)
    assert r.min() >= 1 and r.max() <= 3
    found = np.sum(v[:, 1:] ** 2, axis=2) / 2 - 4 / r
    np.testing.assert_allclose(found * r / 4, energy, atol=1e-12)
    np.testing.assert_allclose(np.sum(v * x, axis=2), 0, atol=1e-12)
    coupling = np.asarray(graphs.edges["coupling"]).reshape(5, -1)
    np.testing.assert_allclose(coupling[:, 0], mass[:, 0, 0] * mass[:, 1, 0])


def test_numbers_are_uniform_over_both_ranges():
    found = bench._mapped(np.linspace(0, 1, 9), ((3, 5), (7, 9)))
    np.testing.assert_allclose(found, [3, 3.5, 4, 4.5, 7, 7.5, 8, 8.5, 9])


def test_the_nearest_approach_is_that_of_all_pairs_and_frames():
    x = np.zeros((3, 2, 3, 3))
    x[:, :, 1, 0], x[:, :, 2, 1] = 1.0, 2.0
    x[1, 0, 2] = [1.0, 0.3, 0.0]
    np.testing.assert_allclose(bench._nearest(x), [0.3, 1.0])
