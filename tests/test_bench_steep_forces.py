"""The benchmark of a steep force: paths between two frames, units, pairs of frames."""

import numpy as np

from bench import steep_forces as bench
from bench.rod_systems import magnet_pendulum


def test_the_path_joins_both_states_on_the_sphere():
    system, angle = magnet_pendulum(), np.array([0.0, 0.1])
    q = np.stack([np.sin(angle), 0 * angle, -np.cos(angle)], axis=-1)[None]
    v = 2 * np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=-1)[None]
    data = bench._path(system, q, v, bench.LOBATTO)
    x, p = (np.asarray(data.nodes[name]) for name in ("position", "momentum"))
    # A turn at constant speed: the cubic is that circle up to the fourth power of the angle.
    along = 0.1 * bench.LOBATTO
    np.testing.assert_allclose(
        x, np.stack([np.sin(along), 0 * along, -np.cos(along)], 1), atol=1e-6
    )
    turn = np.stack([np.cos(along), 0 * along, np.sin(along)], axis=1)
    np.testing.assert_allclose(p, 3 * 2 * turn, atol=1e-3)
    np.testing.assert_allclose(np.sum(x * p, axis=1), 0, atol=1e-14)
    np.testing.assert_array_equal(data.nodes["position_measured"], [True, False, False, True])
    system.rods.check(data)


def test_units_stand_where_velocities_change():
    rng = np.random.default_rng(0)
    q = np.repeat(np.array([[[1.0, 0, 0]], [[0, 1.0, 0]]]), 2, axis=1)
    v = np.zeros((2, 2, 3))
    v[1, 1, 2] = 3.0
    term = bench.wells(rng, 50, q, v)
    width = np.asarray(term.width)
    assert width.min() >= 0.02 and width.max() <= 0.5
    apart = np.linalg.norm(np.asarray(term.centre) - q[1, 0], axis=1) / width
    np.testing.assert_allclose(np.mean(apart**2), 3, rtol=0.3)  # three normal numbers


def test_neighbouring_frames_are_paired():
    states = np.arange(3.0)[None, :, None, None] * np.ones((2, 3, 1, 3))
    np.testing.assert_array_equal(bench._pairs(states)[:, :, 0], [[0, 1], [1, 2]] * 2)
