"""Spectra of oscillators, structure factors of lattices, elastic constants of crystals."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from test_relax import CORNERS, FADING, LIST, best, crystal, faded

import hgn_jax as hgn


def test_the_spectrum_of_two_oscillations_has_two_lines():
    """0.5 cos(2 t) + 1.5 cos(5 t): areas 0.5 and 1.5."""
    t = np.arange(2001) * 0.02
    found = hgn.spectrum(t, 0.5 * np.cos(2 * t) + 1.5 * np.cos(5 * t))
    frequency, density = np.asarray(found.frequency), np.asarray(found.density)
    assert abs(frequency[np.argmax(density)] - 5) < frequency[1]
    step = frequency[1]
    low = frequency < 3.5
    np.testing.assert_allclose(step * density[low].sum(), 0.5, rtol=0.01)
    np.testing.assert_allclose(step * density[~low].sum(), 1.5, rtol=0.01)
    np.testing.assert_allclose(frequency[-1], np.pi / 0.02)


def test_the_spectrum_of_a_decay_is_a_lorentzian():
    t = np.arange(4001) * 0.01
    found = hgn.spectrum(t, np.stack([np.exp(-t), np.exp(-2 * t)], axis=1))
    w = np.asarray(found.frequency)[:20, None]
    rates = np.array([1.0, 2.0])[None]
    np.testing.assert_allclose(
        found.density[:20], 2 / np.pi * rates / (rates**2 + w**2), rtol=0.01, atol=2e-3
    )


def test_times_of_a_spectrum_must_be_even():
    with pytest.raises(ValueError, match="times must be evenly spaced, got steps of 1 to 2"):
        hgn.spectrum(np.array([0.0, 1, 3]), np.array([1.0, 0, 0]))
    with pytest.raises(ValueError, match=r"got \(2,\), \(3,\)"):
        hgn.spectrum(np.array([0.0, 1]), np.array([1.0, 0, 0]))


def test_elastic_constants_of_a_crystal_are_lattice_sums():
    """C11 = sum of k x^4 / r^2, C12 = C44 = sum of k x^2 y^2 / r^2 over 2 V, with
    k = phi'' - phi' / r, at no pressure (Cauchy's relations of pairs)."""
    nearest, _ = best(faded, 2.5)
    graph = crystal(4, np.sqrt(2) * nearest)
    found = np.asarray(hgn.elastic_constants(FADING, graph, force=1e-7, neighbours=LIST))
    steps = np.array(list(itertools.product(range(-4, 5), repeat=3)))
    sites = (steps[:, None] + CORNERS).reshape(-1, 3) * np.sqrt(2) * nearest
    r = np.linalg.norm(sites, axis=1)
    near = (r > 0) & (r < 2.5)
    x, r, h = sites[near], r[near], 1e-4
    first = (faded(r + h) - faded(r - h)) / (2 * h)
    second = (faded(r + h) - 2 * faded(r) + faded(r - h)) / h**2
    volume = np.sqrt(2) * nearest**3 / 2
    stiff = (second - first / r) / r**2 / (2 * volume)
    diagonal = (stiff * x[:, 0] ** 4).sum()
    mixed = (stiff * x[:, 0] ** 2 * x[:, 1] ** 2).sum()
    expected = np.diag([diagonal] * 3 + [mixed] * 3)
    expected[:3, :3] += mixed * (1 - np.eye(3))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * diagonal)


def test_elastic_constants_of_springs_whose_bodies_relax():
    """Rows along x of springs of stiffness 1 and 3 in turn act as springs of 3/2; diagonals along
    y + z, of stiffness k = 2, have the share k r^2 n_i n_j n_k n_l / V in each constant."""
    a = 0.8
    sites = np.array([[i, a * j, a * j] for i in range(4) for j in range(4)])
    cell = np.diag([4, 4 * a, 4 * a])
    graph = hgn.graphs.radius(sites, 1.2, cell=cell)
    ends = sites[np.asarray(graph.senders), 0], sites[np.asarray(graph.receivers), 0]
    diagonal = ends[0] == ends[1]
    strong = (np.minimum(*ends) == 1) | (np.abs(ends[0] - ends[1]) == 3)
    stiff = np.array(2 * diagonal + (~diagonal & strong), np.int32)
    graph = graph._replace(edges=graph.edges | {"type": jnp.asarray(stiff)})
    springs = hgn.systems.mass_spring(
        stiffness=np.array([1.0, 3.0, 2.0]), rest_length=np.array([1, 1, np.sqrt(2) * a])
    )
    found = hgn.elastic_constants(springs, graph, force=1e-9)
    volume, expected = 4 * (4 * a) ** 2, np.zeros((6, 6))
    expected[0, 0] = 16 * 1.5 / volume
    expected[1:4, 1:4] = 16 * 2 * (2 * a**2) / 4 / volume
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_elastic_constants_need_a_cell():
    with pytest.raises(ValueError, match="elastic_constants needs globals"):
        hgn.elastic_constants(FADING, crystal(4, 1.6)._replace(globals={}), force=1.0)
    with pytest.raises(ValueError, match="strain must be"):
        hgn.elastic_constants(FADING, crystal(4, 1.6), force=1.0, strain=-1.0)


def structure(graph, most):
    observable = hgn.StructureFactor(most)
    path = hgn.rollout(FADING, graph, [0.0], dt=0.1, neighbours=LIST, observables=[observable])
    return observable, np.asarray(path.observed["structure_factor"][0])


def test_a_crystal_scatters_at_its_reciprocal_lattice():
    """256 at vectors that are four times all even or all odd integers, else nothing."""
    observable, found = structure(crystal(4, 1.6), 5)
    h = observable.vectors
    assert len(h) == (11**3 - 1) // 2 and not any((h == -v).all(axis=1).any() for v in h)
    bragg = (h % 4 == 0).all(axis=1) & (np.ptp(h // 4 % 2, axis=1) == 0)
    np.testing.assert_allclose(found, 256 * bragg, atol=1e-9)
    assert bragg.sum() == 4
    shortest = observable.lengths(6.4 * np.eye(3))[bragg].min()
    np.testing.assert_allclose(shortest, 2 * np.pi * np.sqrt(3) / 1.6)


def test_the_structure_factor_is_the_sum_of_waves_in_a_skewed_cell():
    graph = crystal(4, 1.6, np.array([[1.0, 0, 0], [0.1, 1, 0], [0, 0.05, 1.1]]), spread=0.2)
    observable, found = structure(graph, 2)
    cell = np.asarray(graph.globals["cell"][0])
    k = 2 * np.pi * observable.vectors @ np.linalg.inv(cell).T
    waves = np.exp(1j * np.asarray(graph.nodes["position"]) @ k.T).sum(axis=0)
    np.testing.assert_allclose(found, np.abs(waves) ** 2 / 256, atol=1e-9)
    np.testing.assert_allclose(observable.lengths(cell), np.linalg.norm(k, axis=1))


def test_structure_factors_need_a_cell_of_their_dimension():
    with pytest.raises(ValueError, match="cell"):
        structure(crystal(4, 1.6)._replace(globals={}), 1)
    with pytest.raises(ValueError, match="single graph in 2 dimensions, got 1 in 3"):
        hgn.StructureFactor(1, dimension=2).check(crystal(4, 1.6))
    with pytest.raises(ValueError, match="most must be at least 1"):
        hgn.StructureFactor(0)
