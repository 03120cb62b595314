"""Models with many-body features: files, motion with neighbour lists, ASE, large graphs."""

import ase
import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from test_energies_and_stresses import CUTOFF, data_of, fitted, frames, predicted

import hgn_jax as hgn
from hgn_jax.features import many_body_energy, many_body_features, many_body_rows
from hgn_jax.fitting.pieces import pieces_of
from hgn_jax.graphs.dense_edges import SlottedGraphs, slotted
from hgn_jax.graphs.from_frames import from_frames
from hgn_jax.graphs.geometry import node_mask

TERMS = (
    hgn.Pair(4, cutoff=CUTOFF),
    hgn.ManyBody(12, degree=2, radial=2, cutoff=CUTOFF, assembly="float64"),
)
REPEAT = 3


@pytest.fixture(scope="module")
def data():
    return data_of(20)


@pytest.fixture(scope="module")
def fit(data):
    return fitted(data, terms=TERMS)


def repeated():
    """A triclinic cell with heights of more than twice the cutoff and displaced bodies."""
    position, cell = next(frames(1, 9))
    shifts = np.stack(np.meshgrid(*[np.arange(REPEAT)] * 3, indexing="ij"), -1).reshape(-1, 3)
    every = (position[None] + (shifts @ cell)[:, None]).reshape(-1, 3)
    return every + np.random.default_rng(0).uniform(-0.01, 0.01, every.shape), REPEAT * cell


@pytest.fixture(scope="module")
def crystal():
    """A crystal at rest, with edges up to a little more than the cutoff."""
    position, cell = repeated()
    n = len(position)
    nodes = {"mass": np.ones(n), "species": np.full(n, 8, np.int32), "momentum": np.zeros((n, 3))}
    return from_frames([position], cutoff=CUTOFF + 0.15, cell=[cell], nodes=nodes)


def test_groups_of_columns_are_the_body_orders_around_each_species(fit, data):
    species = jnp.asarray(np.where(np.arange(len(data.nodes["mass"])) % 2, 8, 14), jnp.int32)
    mixed = data._replace(nodes=data.nodes | {"species": species})
    (term,) = hgn.sample(TERMS[1:], mixed, key=0)
    widths = term.groups(term.columns)
    group = np.repeat(np.arange(len(widths)), widths)
    names = np.array(term.labels(len(widths)))[group]
    # A feature of order k is a product of k - 1 factors, so that it is homogeneous in the weights.
    double = eqx.tree_at(lambda t: t.weights, term, tuple(2 * w for w in term.weights))
    # Around atoms of the other species, features are zero.
    alone = mixed._replace(nodes=mixed.nodes | {"species": jnp.full_like(species, 8)})
    every, doubled, of_oxygen = (np.asarray(t(d)) for t, d in (
        (term, mixed), (double, mixed), (term, alone),
    ))  # fmt: skip
    order = 1 + np.log2((doubled / every).mean(axis=0))
    acts = np.any(of_oxygen != 0, axis=0)
    for column, name in enumerate(names):
        centre = 8 if acts[column] else 14
        assert name == f"many-body of order {order[column]:.0f} around species {centre}"
    assert widths == (1, 3, 3) * 2 and fit.solutions[0].groups == (4, 1, 6, 5, 1)


def test_a_fit_takes_frames_of_equal_species_together(fit, data):
    """Columns of species that a piece does not hold cost nothing."""
    frame = np.repeat(np.arange(len(data.n_node)), data.n_node)
    species = jnp.asarray(np.where(frame % 2, 8, 14), jnp.int32)
    mixed = data._replace(nodes=data.nodes | {"species": species})
    pieces = pieces_of(fit.equations, mixed, fit.solver)
    held = [set(np.asarray(p.nodes["species"])[np.asarray(node_mask(p))].tolist()) for p in pieces]
    assert len(held) > 4 and sum(len(h) == 2 for h in held) <= 1
    assert set().union(*held) == {8, 14}


def test_saved_models_are_the_same(fit, data, tmp_path):
    hgn.save(tmp_path / "model", fit.model)
    back = hgn.load(tmp_path / "model")
    assert eqx.tree_equal(fit.model, back)
    for a, b in zip(predicted(fit.model, data), predicted(back, data), strict=True):
        np.testing.assert_array_equal(a, b)
    assert back.terms[1].signatures == fit.model.terms[1].signatures


def test_compressed_models_keep_their_many_body_energies(fit, data):
    small = fit.model.compress()
    for a, b in zip(predicted(small, data), predicted(fit.model, data), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(b).max())


@eqx.filter_jit
def evaluated(features, graphs, theta):
    return (
        features.node_energy(graphs, theta),
        features.energy_gradient(graphs, theta).position,
    )


@pytest.mark.parametrize("at_a_time", [1000, 30])
def test_edges_in_slots_give_the_same_energies(fit, crystal, at_a_time, monkeypatch):
    """In the layout of neighbour lists; in blocks of bodies, of which the last overlaps."""
    for module in (many_body_features, many_body_energy):
        monkeypatch.setattr(module, "block_of_bodies", lambda: at_a_time)
    features, theta = fit.model.terms[1], fit.model.theta[1]
    graphs = slotted(crystal)
    assert isinstance(graphs, SlottedGraphs)
    n = len(crystal.nodes["position"])
    fresh = eqx.filter_jit(lambda *args: evaluated.__wrapped__(*args))
    for a, b in zip(fresh(features, graphs, theta), evaluated(features, crystal, theta)):
        np.testing.assert_allclose(a[:n], b, rtol=0, atol=1e-12 * np.abs(b).max())
        assert not np.asarray(a[n:]).any()


def test_rows_of_large_graphs_are_those_of_small_ones(fit, crystal, monkeypatch):
    """Above some hundred bodies, each body has its own products, for blocks of neighbours."""
    features = fit.model.terms[1]
    monkeypatch.setattr(many_body_features, "LARGE", 10)
    monkeypatch.setattr(many_body_rows, "SLOTS", 5)
    both = hgn.graphs.batch([crystal, small_frame()])
    many = eqx.filter_jit(lambda f, g: (f.gradient(g).position, f.virial(g)))(features, both)
    monkeypatch.setattr(many_body_features, "LARGE", 1000)
    few = eqx.filter_jit(lambda f, g: (f.gradient(g).position, f.virial(g)))(features, both)
    for a, b in zip(many, few, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * np.abs(b).max())


def small_frame():
    position, cell = next(frames(1, 11))
    nodes = {"mass": np.ones(4), "species": np.full(4, 8, np.int32), "momentum": np.zeros((4, 3))}
    return from_frames([position], cutoff=CUTOFF, cell=[cell], nodes=nodes)


@pytest.mark.filterwarnings("ignore:the start is outside of the model's trained range")
def test_motion_with_neighbour_lists_conserves_energy(fit, crystal):
    """In a triclinic cell; the error falls with the square of the step."""
    rng = np.random.default_rng(1)
    momentum = 0.1 * rng.normal(size=crystal.nodes["position"].shape)
    start = crystal._replace(nodes=crystal.nodes | {"momentum": jnp.asarray(momentum)})
    neighbours = hgn.Neighbours(CUTOFF, 0.15)
    drift = []
    for steps in (1, 2):
        path = hgn.rollout(
            fit.model, start, hgn.Every(10 * steps, 11), dt=0.02 / steps, neighbours=neighbours,
        )  # fmt: skip
        drift.append(np.ptp(path.energy))
    kinetic = 0.5 * np.sum(momentum**2)
    moved = np.abs(path.position[-1] - path.position[0]).max()
    assert moved > 0.1
    assert drift[0] < 2e-2 * kinetic and 2.5 < drift[0] / drift[1] < 6


@pytest.mark.filterwarnings("ignore:the start is outside of the model's trained range")
def test_motion_with_lists_starts_as_that_with_all_edges(fit, crystal):
    paths = [
        hgn.rollout(fit.model, crystal, hgn.Every(5, 3), dt=0.02, neighbours=how)
        for how in (hgn.Neighbours(CUTOFF, 0.15), "fixed")
    ]
    np.testing.assert_allclose(paths[0].energy, paths[1].energy, rtol=1e-9)
    np.testing.assert_allclose(paths[0].position, paths[1].position, atol=1e-8)


def test_calculators_of_ase(fit):
    """Forces and stress against finite differences; a cell smaller than the cutoff."""
    position, cell = next(frames(1, 12))
    atoms = ase.Atoms("O4", positions=position, cell=cell, pbc=True)
    atoms.calc = hgn.ase.Calculator(fit, skin=0.1)
    forces, stress = atoms.get_forces(), atoms.get_stress()
    np.testing.assert_allclose(atoms.get_potential_energies().sum(), atoms.get_potential_energy())
    numeric = calculate_numerical_forces(atoms, eps=1e-4)
    np.testing.assert_allclose(forces, numeric, atol=1e-5 * np.abs(forces).max())
    numeric = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(stress, numeric, atol=1e-5 * np.abs(stress).max())
    twice = atoms.repeat((2, 1, 1))
    twice.calc = hgn.ase.Calculator(fit.model)
    assert twice.get_potential_energy() == pytest.approx(2 * atoms.get_potential_energy())
    np.testing.assert_allclose(twice.get_stress(), stress, atol=1e-9)
    assert np.isfinite(atoms.calc.get_property("forces_std", atoms)).all()


def test_calculators_know_the_species_of_the_features(fit):
    atoms = ase.Atoms("OSi", positions=[[0, 0, 0], [1.5, 0, 0]])
    atoms.calc = hgn.ase.Calculator(fit)
    with pytest.raises(ValueError, match="Si"):
        atoms.get_potential_energy()


def test_solving_again_needs_the_same_species_and_dimension(fit, data):
    strange = data._replace(nodes=data.nodes | {"species": jnp.full(80, 14, jnp.int32)})
    with pytest.raises(ValueError, match="species"):
        hgn.solve(fit.model.terms, strange, observations=[hgn.Forces()])
    with pytest.raises(ValueError, match="trained in 3 dimensions, but the graph has 2"):
        plane = hgn.graphs.lattice((2, 2))
        plane = plane._replace(nodes=plane.nodes | {"force": jnp.zeros((4, 2))})
        hgn.solve(fit.model.terms[1:], plane, observations=[hgn.Forces()])
    with pytest.raises(ValueError, match="species"):
        fit.update(strange)
