import jax
import numpy as np
import pytest

import hgn_jax as hgn


@pytest.fixture(scope="module")
def ephemeris():
    return hgn.datasets.solar_system()


def test_bodies_and_frames(ephemeris):
    assert ephemeris.names[:4] == ("Sun", "Mercury", "Venus", "Earth")
    assert ephemeris.position.shape == ephemeris.velocity.shape == (3653, 10, 3)
    np.testing.assert_array_equal(np.diff(ephemeris.times), 2.0)


def test_the_centre_of_mass_rests(ephemeris):
    drift = ephemeris.gm @ ephemeris.velocity / ephemeris.gm.sum()
    assert np.abs(drift).max() < 1e-9  # AU/day; the Sun itself moves at 1e-5


def test_keplers_third_law(ephemeris):
    arm = ephemeris.position[:, 1:] - ephemeris.position[:, :1]
    motion = ephemeris.velocity[:, 1:] - ephemeris.velocity[:, :1]
    gm = ephemeris.gm[0] + ephemeris.gm[1:]
    axis = 1 / (2 / np.linalg.norm(arm, axis=2) - (motion**2).sum(2) / gm)
    years = 2 * np.pi * np.sqrt(axis**3 / gm) / 365.25
    known = {"Mercury": 0.2408, "Venus": 0.6152, "Earth": 1.0, "Mars": 1.8809, "Jupiter": 11.86}
    for planet, period in known.items():
        i = ephemeris.names.index(planet) - 1
        assert np.median(years[:, i]) == pytest.approx(period, rel=2e-3)


def test_between_cuts_by_julian_years(ephemeris):
    part = ephemeris.between(10, 20)
    assert part.times[0] == 3654.0 and part.times[-1] == 7304.0
    assert len(part.times) == len(part.position) == len(part.velocity) == 1826


def test_snapshots_carry_newtons_forces(ephemeris):
    data = ephemeris.between(0, 0.3).snapshots(sun_weight=0.5)
    hgn.check(data)
    _, force = hgn.systems.gravity().vector_field(data)
    wrong = np.linalg.norm(data.nodes["force"] - force, axis=1) / np.linalg.norm(force, axis=1)
    assert np.median(wrong.reshape(-1, 10), axis=0)[1:].max() < 5e-7
    np.testing.assert_array_equal(data.nodes["weight"].reshape(-1, 10)[0], [0.5] + 9 * [1.0])


def test_snapshots_refuse_32_bit(ephemeris):
    with jax.enable_x64(False), pytest.raises(ValueError, match="needs 64 bit"):
        ephemeris.snapshots()


def test_silicon_holds_energies_and_forces_of_the_published_set():
    data = hgn.datasets.silicon(cutoff=3.0, every=20)
    assert len(data.n_node) == 11 and set(np.asarray(data.nodes["species"]).tolist()) == {14}
    energy = np.asarray(data.globals["energy"]) / np.asarray(data.n_node)
    # Cohesive energy of silicon in PBE with the reference of the pseudopotential, in eV.
    assert (-5.5 < energy).all() and (energy < -4.0).all()
    frames = np.repeat(np.arange(11), np.asarray(data.n_node))
    total = np.stack([np.asarray(data.nodes["force"])[frames == k].sum(axis=0) for k in range(11)])
    assert np.abs(total).max() < 0.05  # nothing from outside pulls the cell
