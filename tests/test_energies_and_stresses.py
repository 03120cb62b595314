"""Energies, forces and stresses of a three-body potential: weights, missing labels, units."""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.fitting.equations import Equations
from hgn_jax.fitting.weights import ScaledWeights
from hgn_jax.graphs.from_frames import from_frames

CUTOFF = 2.4
OBSERVATIONS = (hgn.Energies(), hgn.Forces(), hgn.Stresses())
LABELS = {"nodes": ("force",), "globals": ("energy", "stress")}

# Frames and their labels


def frames(count, seed=0, size=2.3):
    """Four bodies near a face-centred lattice in a triclinic cell smaller than the cutoff."""
    rng = np.random.default_rng(seed)
    sites = np.array([[0.0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    for _ in range(count):
        cell = size * (np.eye(3) + rng.uniform(-0.08, 0.08, (3, 3)))
        yield (sites + rng.uniform(-0.06, 0.06, sites.shape)) @ cell, cell


def images(position, cell, i):
    """Vectors to all images of all bodies within the cutoff of body i."""
    shifts = np.array(list(itertools.product(range(-3, 4), repeat=3))) @ cell
    vectors = (position[None] + shifts[:, None] - position[i]).reshape(-1, 3)
    r = np.linalg.norm(vectors, axis=1)
    return vectors[(r > 0) & (r < CUTOFF)]


def energy_by_hand(position, cell, species):
    """Potential like Stillinger and Weber's: pairs repel, angles cost (cos + 1/3)^2, and each body
    has the constant of its species."""
    total = 0.0
    for i in range(len(position)):
        v = images(position, cell, i)
        r = np.linalg.norm(v, axis=1)
        g = (1 - (r / CUTOFF) ** 2) ** 3
        cosine = (v @ v.T) / (r[:, None] * r[None])
        angles = np.sum(np.triu(g[:, None] * g[None] * (cosine + 1 / 3) ** 2, 1))
        total += 0.5 * np.sum(g * r**-2) + 0.4 * angles - 3.0 - 2.5 * (species[i] == 14)
    return total


def labels_by_hand(position, cell, species, step=1e-4):
    """Energy, and forces and stress from its finite differences."""

    def at(x, matrix):
        return energy_by_hand(x, matrix, species)

    force, virial = np.zeros((len(position), 3)), np.zeros((3, 3))
    for i, k in np.ndindex(force.shape):
        move = np.zeros_like(position)
        move[i, k] = step
        force[i, k] = -(at(position + move, cell) - at(position - move, cell)) / (2 * step)
    for a, b in np.ndindex(3, 3):
        strain = np.zeros((3, 3))
        strain[a, b] = step
        ends = [at(x @ (np.eye(3) + s), cell @ (np.eye(3) + s)) for x, s in
                ((position, strain), (position, -strain))]  # fmt: skip
        virial[a, b] = (ends[0] - ends[1]) / (2 * step)
    return at(position, cell), force, virial / abs(np.linalg.det(cell))


@functools.cache
def data_of(count, seed=0, kinds=(8,)):
    """A labelled batch; species at random."""
    rng = np.random.default_rng(seed + 100)
    sites = list(frames(count, seed))
    species = [rng.choice(kinds, 4) for _ in sites]
    energy, force, stress = zip(*(labels_by_hand(*f, s) for f, s in zip(sites, species)))
    return from_frames(
        [x for x, _ in sites], cutoff=CUTOFF, cell=[cell for _, cell in sites],
        nodes={"force": np.concatenate(force), "mass": np.ones(4 * count),
               "species": np.concatenate(species).astype(np.int32)},
        globals_={"energy": np.array(energy), "stress": np.stack(stress)},
    )  # fmt: skip


TERMS = (
    hgn.Pair(8, cutoff=CUTOFF),
    hgn.ManyBody(60, degree=2, radial=4, cutoff=CUTOFF, assembly="float64"),
)


def fitted(data, observations=OBSERVATIONS, terms=TERMS, **how):
    return hgn.fit(data, key=0, terms=terms, observations=observations, **how)


@pytest.fixture(scope="module")
def data():
    return data_of(60)


@pytest.fixture(scope="module")
def fit(data):
    return fitted(data)


@eqx.filter_jit
def predicted(model, graphs):
    volume = jnp.abs(jnp.linalg.det(graphs.globals["cell"]))[:, None, None]
    return model(graphs), model.vector_field(still(graphs))[1], model.virial(graphs) / volume


def still(graphs):
    """The data with momenta of zero, which equations of motion need."""
    return graphs._replace(
        nodes={"momentum": jnp.zeros_like(graphs.nodes["position"])} | graphs.nodes
    )


def relative_errors(model, graphs):
    truth = graphs.globals["energy"], graphs.nodes["force"], graphs.globals["stress"]
    return [
        np.linalg.norm(found - true) / np.linalg.norm(true - np.mean(true, axis=0, keepdims=True))
        for found, true in zip(predicted(model, graphs), map(np.asarray, truth))
    ]


# Accuracy


def test_a_three_body_potential_is_learned(fit):
    """All three kinds of labels, on frames that were not trained on."""
    energy, force, stress = relative_errors(fit.model, data_of(20, 1))
    assert energy < 0.03 and force < 0.05 and stress < 0.03
    assert fit.residual < 0.03 and fit.constant_known
    assert fit.solver.choice == "frames"


def test_each_kind_of_label_alone_teaches_the_others(data):
    test = data_of(20, 1)
    limits = [
        ((hgn.Forces(),), (0.1, 0.02, 0.3)),
        ((hgn.Energies(), hgn.Stresses()), (0.1, 0.3, 0.1)),
    ]
    for observations, most in limits:
        fit = fitted(data, observations)
        assert (np.array(relative_errors(fit.model, test)) < most).all()


def test_species_have_constants_of_their_own():
    """Bodies of both species act alike here: their constants differ."""
    terms = [hgn.ManyBody(24, degree=1, radial=3, cutoff=CUTOFF)]
    fit = fitted(data_of(40, 2, (8, 14)), terms=terms)
    test = data_of(10, 3, (8, 14))
    assert fit.model.constants.shape == (2,) and fit.constant_known
    error = predicted(fit.model, test)[0] - test.globals["energy"]
    assert np.sqrt(np.mean(error**2)) < 0.1 * 2.5


# Rows


@eqx.filter_jit
def rows_of(observation, features, graphs):
    return observation.rows(hgn.Basis(features, species=(8,)), graphs)


@pytest.fixture(scope="module")
def features(data):
    return hgn.sample(TERMS[:1], data, key=0)


def nearest(data):
    position = np.asarray(data.nodes["position"]).reshape(-1, 4, 3)
    return np.median([
        np.linalg.norm(images(x, np.asarray(cell), i), axis=1).min()
        for x, cell in zip(position, data.globals["cell"])
        for i in range(4)
    ])  # fmt: skip


def test_default_weights_are_those_of_forces_times_a_length(features, data):
    f = np.asarray(data.nodes["force"])
    size = np.sqrt(np.mean(np.sum(f**2, axis=1)))
    (force,), (energy,), (stress,) = (rows_of(o(), features, data) for o in (
        hgn.Forces, hgn.Energies, hgn.Stresses))  # fmt: skip
    np.testing.assert_allclose(force.weight, np.full(720, 1 / size), rtol=1e-12)
    work = size * nearest(data)
    np.testing.assert_allclose(energy.weight, np.full(60, 1 / (2 * 0.04 * work)), rtol=1e-12)
    np.testing.assert_allclose(stress.weight, np.full(360, 1 / (2 * 0.2 * work)), rtol=1e-12)


def test_stress_rows_are_virials_of_the_upper_triangle(features, data):
    (rows,) = rows_of(hgn.Stresses(weight=2.0, spread=jnp.asarray(0.5)), features, data)
    volume = np.abs(np.linalg.det(data.globals["cell"]))
    first, second = np.triu_indices(3)
    stress = np.asarray(data.globals["stress"])
    stress = (stress + stress.transpose(0, 2, 1)) / 2  # finite differences are not symmetric
    expected = volume[:, None] * stress[:, first, second]
    np.testing.assert_allclose(rows.target, expected.ravel(), rtol=1e-12)
    np.testing.assert_allclose(rows.weight, np.full(360, 2.0 / (0.5 * 2)), rtol=1e-14)
    virial = np.asarray(eqx.filter_jit(lambda f, d: f.virial(d))(features[0], data))
    mean = (virial + virial.transpose(0, 2, 1, 3))[:, first, second] / 2
    np.testing.assert_allclose(rows.columns[0], mean.reshape(360, -1), atol=1e-12)
    assert rows.columns[-1] is None


def test_stresses_need_stresses_and_cells(features, data):
    bare = data._replace(globals={k: v for k, v in data.globals.items() if k != "stress"})
    free = hgn.graphs.from_pairs(np.eye(3), [(0, 1), (1, 2)], mass=np.ones(3))
    free = free._replace(globals={"stress": jnp.zeros((1, 3, 3))})
    for graphs, missing in ((bare, "stress"), (free, "cell")):
        with pytest.raises(ValueError, match=f"Stresses needs globals.*{missing}"):
            hgn.solve(features, graphs, observations=[hgn.Stresses()])


def test_frames_of_several_sizes_count_by_the_root_of_their_bodies(features):
    """A frame repeated in one direction counts as two frames: its errors add up at random."""
    x, cell = next(frames(1, 5))
    longer = cell * np.array([[2.0], [1], [1]])
    sizes = from_frames(
        [x, np.concatenate([x, x + cell[0]])], cutoff=CUTOFF, cell=[cell, longer],
        nodes={"force": np.ones((12, 3)), "mass": np.ones(12),
               "species": np.full(12, 8, np.int32)},
        globals_={"energy": np.array([1.0, 2.0]), "stress": np.zeros((2, 3, 3))},
    )  # fmt: skip
    for observation, per_frame in ((hgn.Energies(), 1), (hgn.Stresses(), 6)):
        (rows,) = rows_of(observation, features, sizes)
        np.testing.assert_allclose(rows.weight[:per_frame], 2**0.5 * rows.weight[per_frame:])


def test_padding_has_rows_of_weight_zero_and_moves_no_scale(features, data):
    padded = hgn.graphs.pad(data, n_node=250, n_edge=len(data.senders) + 7, n_graph=66)
    padded = jax.tree.map(jnp.asarray, padded)
    for observation, rows in ((hgn.Energies(), 60), (hgn.Forces(), 720), (hgn.Stresses(), 360)):
        (plain,), (more,) = (rows_of(observation, features, d) for d in (data, padded))
        for name in ("weight", "target"):
            a, b = getattr(plain, name), getattr(more, name)
            np.testing.assert_allclose(b[:rows], a, rtol=1e-12, atol=1e-11)
            assert not np.asarray(b[rows:]).any()


def test_scaled_weights_keep_the_scale_of_the_first_data(data):
    fixed = ScaledWeights().calibrated(data, ("force",))
    doubled = data._replace(nodes=data.nodes | {"force": 2 * data.nodes["force"]})
    assert fixed.calibrated(doubled, ("force",)) is fixed
    np.testing.assert_array_equal(fixed(doubled, ("force",))[0], fixed(data, ("force",))[0])
    np.testing.assert_allclose(
        ScaledWeights()(doubled, ("force",))[0], fixed(data, ("force",))[0] / 2, rtol=1e-12
    )


# Missing labels and units

SMALL = (hgn.ManyBody(12, degree=1, radial=3, cutoff=CUTOFF, assembly="float64"),)


def same_predictions(a, b, graphs, tolerance):
    for x, y in zip(predicted(a, graphs), predicted(b, graphs)):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * np.abs(y).max())


def with_labels(data, scale, garbage, seed=0):
    """Every third frame lacks its energy, another third its forces or its stress."""
    frame = np.arange(len(data.n_node)) % 3
    rng = np.random.default_rng(seed)
    missing = {"energy": frame == 0, "stress": frame == 1, "force": np.repeat(frame == 2, 4)}

    def filled(name, values):
        values = np.asarray(values)
        wrong = rng.normal(size=values.shape) * scale if garbage else np.zeros(values.shape)
        return jnp.asarray(
            np.where(missing[name].reshape(-1, *[1] * (values.ndim - 1)), wrong, values)
        )

    weight = {k: jnp.asarray(~v, jnp.float64) for k, v in missing.items()}
    nodes = {"force": filled("force", data.nodes["force"]), "weight": weight["force"]}
    graphs = {k: filled(k, data.globals[k]) for k in ("energy", "stress")}
    graphs |= {f"{k}_weight": weight[k] for k in ("energy", "stress")}
    return data._replace(nodes=data.nodes | nodes, globals=data.globals | graphs)


def test_missing_labels_change_nothing_whatever_stands_in_their_place(data):
    zeros, garbage = (fitted(with_labels(data, 1e4, some), terms=SMALL) for some in (False, True))
    assert zeros.rows == garbage.rows == 40 * (1 + 12 + 6)
    same_predictions(garbage.model, zeros.model, data, 1e-9)
    np.testing.assert_allclose(garbage.ridge, zeros.ridge, rtol=1e-9)


@eqx.filter_jit
def normal_equations(observations, features, graphs):
    equations = Equations(hgn.Basis(features, species=(8,)), observations, graphs)
    (system,) = equations.systems(graphs)
    z, u = system.matrix, system.target
    return z.T @ z, u @ z, system.observed, equations.energies.reference, system.rows


def test_frames_without_any_label_are_no_data(features, data):
    """Forty frames alone, or with twenty more of weight zero. Spreads are given, because nearest
    neighbour distances are no labels."""
    keep = (np.arange(60) < 40).astype(float)
    weights = {f"{k}_weight": jnp.asarray(keep) for k in ("energy", "stress")}
    zero = data._replace(
        nodes=data.nodes | {"weight": jnp.asarray(np.repeat(keep, 4))},
        globals=data.globals | weights,
    )
    spread = {"spread": jnp.asarray(0.1)}
    observations = hgn.Energies(**spread), hgn.Forces(), hgn.Stresses(**spread)
    few = hgn.graphs.take(data, np.arange(60) < 40)
    for a, b in zip(*(normal_equations(observations, features, d) for d in (few, zero))):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-10 * np.abs(a).max())


@pytest.mark.parametrize(("length", "energy"), [(1 / 0.529177, 1 / 27.2114), (1e-10, 1.6e-19)])
def test_the_units_of_length_and_energy_do_not_matter(data, length, energy):
    """Angstrom and electronvolt against atomic and SI units: one model."""
    nodes, globals_ = data.nodes, data.globals
    other = data._replace(
        nodes=nodes | {
            "position": nodes["position"] * length, "force": nodes["force"] * energy / length,
        },
        globals=globals_ | {
            "cell": globals_["cell"] * length, "energy": globals_["energy"] * energy,
            "stress": globals_["stress"] * energy / length**3,
        },
    )  # fmt: skip
    here = fitted(data, terms=SMALL)
    spec = hgn.ManyBody(12, degree=1, radial=3, cutoff=CUTOFF * length, assembly="float64")
    there = fitted(other, terms=[spec])
    np.testing.assert_allclose(there.ridge, here.ridge, rtol=1e-6)
    scales = energy, energy / length, energy / length**3
    pairs = zip(predicted(there.model, other), predicted(here.model, data), scales)
    for found, expected, scale in pairs:
        size = np.abs(expected).max()
        np.testing.assert_allclose(found / scale, expected, rtol=0, atol=1e-7 * size)
