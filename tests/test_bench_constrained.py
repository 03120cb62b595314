"""Systems of the benchmark of known structure: starts on the rods, moments, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bench import rod_motion
from bench.rod_systems import chain, coupled, frame, gyroscope, magnet_pendulum, rotor


@pytest.mark.parametrize("make", [lambda: chain(3), coupled, magnet_pendulum, gyroscope, rotor])
def test_starts_are_on_the_rods(make):
    system = make()
    q, v = system.starts(np.random.default_rng(0), 5)
    assert q.shape == v.shape == (5, len(system.mass), q.shape[2])
    system.rods.check(rod_motion.states(system, np.zeros(1), q[:, None], v[:, None]))
    assert np.abs(v).max() > 0.1


def test_four_masses_have_the_moments_of_the_rotor():
    system = rotor()
    q, _ = system.starts(np.random.default_rng(0), 3)
    centred = q - q.mean(axis=1, keepdims=True)
    moments = np.einsum("kna,knb,n->kab", centred, centred, system.mass)
    np.testing.assert_allclose(np.linalg.eigvalsh(moments), [[1, 2, 3]] * 3, rtol=1e-12)
    assert system.mass.sum() == 3


def test_frames_are_rotations():
    r = np.asarray(frame(jnp.array([0.3, 1.1, -0.7])))
    np.testing.assert_allclose(r @ r.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(r), 1)
    np.testing.assert_allclose(r[2, 2], np.cos(1.1))


def test_the_magnet_hangs_between_two_others():
    """Dipoles attract: the force at rest points down; on the axis it is that of two dipoles."""
    potential = magnet_pendulum().potential
    weight = jax.grad(potential)(jnp.array([[0.0, 0.0, -1.0]]))[0]
    np.testing.assert_allclose(weight[:2], 0, atol=1e-12)
    side = [float(potential(jnp.array([[x, 0.0, -1.0]]))) for x in (-0.05, 0.05)]
    np.testing.assert_allclose(*side, rtol=1e-12)


def test_errors_are_geometric_means():
    assert np.isclose(rod_motion.geometric_mean(np.array([1e-4, 1e-6])), 1e-5)
