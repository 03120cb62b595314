"""The benchmark of interaction graphs: its systems move as they should, and graphs are found."""

import numpy as np
import pytest

from bench import interaction_graph as bench


@pytest.fixture(scope="module")
def springs():
    return bench.simulated("springs", 4, seed=5)


def energies(position, velocity, strength, name):
    i, j = bench.PAIRS.T
    r = np.linalg.norm(position[:, :, i] - position[:, :, j], axis=-1)
    pairs = 0.05 * r**2 if name == "springs" else 1 / r
    return 0.5 * np.sum(velocity**2, axis=(2, 3)) + np.sum(strength[:, None] * pairs, axis=2)


def test_systems_conserve_energy_and_momentum(springs):
    position, velocity, joined = springs
    assert np.abs(position).max() < bench.BOX
    energy = energies(position, velocity, joined, "springs")
    np.testing.assert_allclose(energy, energy[:, :1] + 0 * energy, rtol=1e-6)
    momentum = velocity.sum(axis=2)
    np.testing.assert_allclose(momentum, momentum[:, :1] + 0 * momentum, atol=1e-12)
    assert np.linalg.norm(velocity[:, 0], axis=-1) == pytest.approx(np.full((4, 5), 0.5), abs=1e-3)
    position, velocity, attract = bench.simulated("charges", 8, seed=1)
    energy = energies(position, velocity, np.where(attract, -1, 1), "charges")
    r = np.linalg.norm(np.diff(position[:, :, bench.PAIRS], axis=3), axis=-1)
    gentle = r.min(axis=(1, 2, 3)) > 0.3
    assert gentle.any()
    np.testing.assert_allclose(energy[gentle], energy[gentle, :1] + 0 * energy[gentle], rtol=1e-4)
    # Signs of products of charges: around every triangle their product is positive.
    sign = {tuple(pair): s for pair, s in zip(bench.PAIRS.tolist(), np.where(attract, -1, 1).T)}
    assert (sign[0, 1] * sign[1, 2] * sign[0, 2] == 1).all()


def test_collisions_have_no_weight(springs):
    position, velocity, _ = springs
    hit = velocity[0].copy()
    hit[20:, 2, 0] *= -1
    weight = np.asarray(bench.observed(position[0], hit).nodes["weight"]).reshape(-1, 5)
    assert weight[10].all() and weight[30].all()
    assert not weight[19:21, 2].any()


def test_the_graph_of_springs_is_found(springs):
    position, velocity, joined = springs
    for q, v, true in zip(position[:2], velocity[:2], joined[:2]):
        assert np.array_equal(bench.found("springs", q, v), true)


def test_signs_of_charges_are_found():
    position, velocity, attract = bench.simulated("charges", 8, seed=1)
    r = np.linalg.norm(np.diff(position[:, :, bench.PAIRS], axis=3), axis=-1)
    # No close encounters, but charges of both signs.
    k = int(np.where(attract.any(axis=1), r.min(axis=(1, 2, 3)), 0).argmax())
    assert np.array_equal(bench.found("charges", position[k], velocity[k]), attract[k])
