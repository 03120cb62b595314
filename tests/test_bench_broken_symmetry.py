"""The benchmark of broken symmetries: its fields have the strengths and degrees that it names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from bench import broken_symmetry as bench


def test_fields_are_slopes_with_the_strength_that_is_named():
    energy, strength, *_ = bench.FIELDS["uniaxial trap"]
    data, springs = (bench._data(energy, s, 500, 100) for s in (strength, 0.0))
    field = np.asarray(data.nodes["force"] - springs.nodes["force"])
    size = np.linalg.norm(field) / np.linalg.norm(springs.nodes["force"])
    assert size == pytest.approx(strength, rel=1e-12)
    pull = -(np.asarray(data.nodes["position"]) @ bench.AXIS)[:, None] * bench.AXIS
    np.testing.assert_allclose(
        field / np.linalg.norm(field), pull / np.linalg.norm(pull), atol=1e-12
    )


def test_energies_of_bonds_have_degree_two_and_no_net_force():
    """Legendre's polynomial of degree 2 vanishes in the mean over three axes across each other."""
    bonds = [hgn.graphs.from_pairs(np.stack([0 * e, 1.3 * e]), [(0, 1)]) for e in np.eye(3)]
    energies = np.array([bench._bonds(bond) for bond in bonds])
    assert abs(energies.sum()) < 1e-15 < np.abs(energies).max()
    np.testing.assert_allclose(energies, 0.09 * (1.5 * bench.AXIS**2 - 0.5))
    cube = bench._springs(2, 0)
    force = np.asarray(bench._forces(bench._bonds, cube)).reshape(2, 8, 3)
    assert np.abs(force.sum(axis=1)).max() < 1e-12 < np.abs(force).max()


def test_a_field_of_degree_two_has_no_sources():
    hessian = jax.hessian(lambda x: bench._second_degree(x[None])[0])(jnp.array([0.3, -1.0, 2.0]))
    assert abs(jnp.trace(hessian)) < 1e-14 < jnp.abs(hessian).max()


def test_errors_of_directions():
    assert bench._angle(jnp.array([0.0, 3, 0]), np.array([2.0, 0, 0])) == pytest.approx(90)
    assert bench._angle(jnp.array([-1.0, 0, 0]), np.array([2.0, 0, 0])) == pytest.approx(180)
    found = bench._directions(0.0)
    assert max(found["electric"], found["magnetic"]) < found["goal"] == 1e-6
