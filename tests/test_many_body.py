"""Many-body features against loops over bodies, finite strains, finite differences, symmetries."""

import dataclasses
import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_signatures import written_out

import hgn_jax as hgn
from hgn_jax.features.harmonics import harmonics
from hgn_jax.graphs.from_frames import from_frames
from hgn_jax.graphs.strain import strained

CUTOFF = 2.0
SPEC = hgn.ManyBody(60, degree=2, radial=(3, 3, 2), cutoff=CUTOFF, assembly="float64")


def triclinic(seed, size):
    return size * (np.eye(3) + np.random.default_rng(seed).uniform(-0.25, 0.25, (3, 3)))


def frame(seed, bodies, size):
    """Positions apart from one another in a triclinic cell, and the cell."""
    rng, cell = np.random.default_rng(seed), triclinic(seed, size)
    sites = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3) / 2
    chosen = sites[rng.permutation(8)[:bodies]] if bodies > 1 else np.zeros((1, 3))
    return (chosen + rng.uniform(-0.1, 0.1, chosen.shape)) @ cell, cell


STRETCH = 1.1
STRETCHED = dataclasses.replace(SPEC, stretch=STRETCH)

FRAMES = [frame(1, 1, 1.3), frame(2, 4, 2.4), frame(3, 1, 9.0), frame(4, 3, 1.8)]
"""One body and its images; four bodies; one without neighbours; three in a small cell."""
SPECIES = [[8], [8, 14, 14, 8], [14], [14, 26, 14]]
"""Frames that lack one or two of three species."""


def batch(frames=FRAMES, species=None, dtype=None, **globals_):
    return from_frames(
        [x for x, _ in frames],
        cutoff=1.1 * CUTOFF,
        cell=[cell for _, cell in frames],
        nodes={} if species is None else {"species": np.concatenate(species).astype(np.int32)},
        globals_=globals_,
        dtype=dtype,
    )


def draw(graphs, spec=SPEC):
    return hgn.sample([spec], graphs, key=0)[0]


@functools.cache
def case(name):
    """Features, and the graphs from which they were sampled."""
    if name == "alike":
        return draw(graphs := batch()), graphs
    return draw(graphs := batch(species=SPECIES), STRETCHED), graphs


def columns_and_energies(features, graphs, theta):
    """Columns of the energy, and the energy with coefficients theta."""
    slope = features.energy_gradient(graphs, theta).position
    return features(graphs), features.node_energy(graphs, theta), slope


def gradient_and_virial(features, graphs):
    return features.gradient(graphs).position, features.virial(graphs)


def derivatives_by_automatic_differentiation(features, graphs):
    """Derivatives of the columns by positions and by a strain of each graph, in forward mode."""

    def total(position):
        return jnp.sum(features(moved(graphs, position)), axis=0)

    def of_strain(strain):
        return features(strained(graphs, strain))

    none = jnp.zeros((3, 3), graphs.nodes["position"].dtype)
    by_strain = jnp.moveaxis(jax.jacfwd(of_strain)(none), 1, -1)
    return jnp.moveaxis(jax.jacfwd(total)(graphs.nodes["position"]), 0, -1), by_strain


def in_one_shape(function):
    """The jitted function on graphs padded to one shape, so that each spec compiles once."""

    def call(features, graphs, *rest):
        n, g = len(graphs.nodes["position"]), len(graphs.n_node)
        padded = hgn.graphs.pad(graphs, n_node=NODES, n_edge=EDGES, n_graph=GRAPHS)
        values = map(np.asarray, function(features, jax.tree.map(jnp.asarray, padded), *rest))
        # Graphs are fewer than nodes.
        return tuple(v[: n if len(v) == NODES else g] for v in values)

    return call


NODES, EDGES, GRAPHS = 12, 160, 6
PLAIN = tuple(map(eqx.filter_jit, (columns_and_energies, gradient_and_virial)))
evaluate, rows = map(in_one_shape, PLAIN)
differentiated = in_one_shape(eqx.filter_jit(derivatives_by_automatic_differentiation))


def size_of(columns):
    """Greatest magnitude of each column, one for zeros."""
    most = np.abs(columns).max(axis=tuple(range(columns.ndim - 1)))
    return np.where(most > 0, most, 1)


def moved(graphs, position):
    return graphs._replace(nodes=graphs.nodes | {"position": jnp.asarray(position)})


def theta_of(features, seed=0):
    return np.random.default_rng(seed).normal(size=features.columns)


both = pytest.mark.parametrize("name", ["alike", "species"])


# Values


def neighbours(position, cell, i):
    """(j, vector) of all images of all bodies around body i, by search."""
    for shift in itertools.product(range(-4, 5), repeat=3):
        for j, x in enumerate(position):
            vector = x + np.array(shift) @ cell - position[i]
            if 0 < np.linalg.norm(vector) < CUTOFF:
                yield j, vector


def densities_by_hand(position, cell, species, known, i, coordinate):
    """A [species radial LM] of body i, with cosines of the radial coordinate."""
    total = np.zeros((len(known), 3, 9))
    for j, vector in neighbours(position, cell, i):
        r = np.linalg.norm(vector)
        g = np.cos(np.arange(3) * np.pi * coordinate(r)) * (1 - (r / CUTOFF) ** 2) ** 3
        y = np.concatenate(harmonics(vector / r, 2))
        total[known.index(species[j])] += g[:, None] * y[None]
    return total


@both
def test_columns_are_a_loop_over_bodies_and_images(name):
    features, graphs = case(name)
    known = [0] if name == "alike" else [8, 14, 26]

    def coordinate(r):
        if name == "alike":
            return r / CUTOFF
        return (1 - np.exp(-r / STRETCH)) / (1 - np.exp(-CUTOFF / STRETCH))

    expected = np.zeros((len(FRAMES), features.columns))
    for g, (position, cell) in enumerate(FRAMES):
        species = [0] * len(position) if name == "alike" else SPECIES[g]
        for i in range(len(position)):
            a = densities_by_hand(position, cell, species, known, i, coordinate)
            row, start, c = [], 0, known.index(species[i])
            for signature, weights in zip(features.signatures, features.weights):
                w = np.asarray(weights)[c].reshape(*weights.shape[1:3], len(known), -1)
                factors = [
                    np.einsum("zqm,kzq->mk", a[:, :, d**2 : (d + 1) ** 2], w[f, :, :, :3])[:, None]
                    for f, d in enumerate(signature.degrees)
                ]
                row.append(written_out(signature, factors)[0])
                start += weights.shape[2]
            expected[g, c * start : (c + 1) * start] += np.concatenate(row)
    found = evaluate(features, graphs, theta_of(features))[0]
    size = size_of(expected)
    np.testing.assert_allclose(found / size, expected / size, rtol=1e-11, atol=1e-11)


def test_weights_are_on_the_sphere_and_fewer_for_higher_orders():
    features, _ = case("species")
    for signature, w in zip(features.signatures, features.weights):
        assert w.shape[:2] == (3, len(signature.degrees)) and w.shape[3] == 9
        np.testing.assert_allclose(jnp.sum(w**2, axis=-1), 1, rtol=1e-12)
        rough = np.asarray(w).reshape(*w.shape[:3], 3, 3)[..., 2]
        assert (rough == 0).all() == (len(signature.degrees) == 4)


def test_units_are_shared_out_by_body_order_and_species():
    for units, name in ((60, "alike"), (20, "species")):
        features, _ = case(name)
        numbers = {2: 0, 3: 0, 4: 0}
        for signature, w in zip(features.signatures, features.weights):
            numbers[len(signature.degrees)] += w.shape[2]
        assert [*numbers.values()] == [round(share * units) for share in (0.10, 0.47, 0.43)]
        assert abs(features.columns - 60) <= 3


# Derivatives


@both
def test_rows_are_the_derivatives_of_the_columns(name):
    features, graphs = case(name)
    for found, true in zip(rows(features, graphs), differentiated(features, graphs), strict=True):
        size = size_of(true)
        np.testing.assert_allclose(found / size, true / size, rtol=0, atol=1e-12)


@both
def test_rows_in_single_precision_err_by_its_rounding(name):
    features, graphs = case(name)
    spec = dataclasses.replace(SPEC if name == "alike" else STRETCHED, assembly="float32")
    single = eqx.tree_at(lambda f: f.weights, draw(graphs, spec), features.weights)
    for found, true in zip(rows(single, graphs), rows(features, graphs)):
        assert found.dtype == jnp.float64
        error = np.abs(found - true) / size_of(true)
        assert 1e-8 < error.max() < 3e-5


@both
def test_energies_of_coefficients_are_those_of_the_columns(name):
    """From the tensors that contain the coefficients, and from the columns themselves."""
    features, graphs = case(name)
    theta = theta_of(features)
    columns, of_nodes, slope = evaluate(features, graphs, theta)
    index = np.repeat(np.arange(len(FRAMES)), graphs.n_node)
    total, size = columns @ theta, float(jnp.abs(columns * theta[None]).sum(axis=1).max())
    np.testing.assert_allclose(np.bincount(index, of_nodes), total, rtol=0, atol=1e-13 * size)
    expected = rows(features, graphs)[0] @ theta
    scale = np.abs(expected).max()
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-11 * scale)


def test_gradient_is_the_finite_difference_of_node_energies():
    features, graphs = case("species")
    theta, q = theta_of(features), np.asarray(graphs.nodes["position"])
    slope = np.asarray(evaluate(features, graphs, theta)[2])
    step = 1e-4
    for i, k in [(0, 0), (1, 2), (4, 1), (6, 0), (8, 2)]:
        ends = []
        for sign in (1, -1):
            there = q.copy()
            there[i, k] += sign * step
            ends.append(float(evaluate(features, moved(graphs, there), theta)[1].sum()))
        numeric = (ends[0] - ends[1]) / (2 * step)
        assert numeric == pytest.approx(slope[i, k], abs=1e-5 * np.abs(slope).max())


def test_virial_is_the_finite_difference_by_a_strain():
    features, graphs = case("species")
    theta = theta_of(features)
    virial = np.asarray(rows(features, graphs)[1] @ theta)
    step = 1e-4
    for a, b in itertools.product(range(3), repeat=2):
        strain = np.zeros((3, 3))
        strain[a, b] = step
        ends = [
            np.asarray(evaluate(features, strained(graphs, jnp.asarray(s)), theta)[0] @ theta)
            for s in (strain, -strain)
        ]
        numeric = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(numeric, virial[:, a, b], atol=1e-5 * np.abs(virial).max())


def test_bodies_alone_and_their_own_images_feel_no_force():
    features, graphs = case("species")
    forces = rows(features, graphs)[0]
    assert not forces[5].any()  # has no neighbours
    assert np.abs(forces[0] / size_of(forces)).max() < 1e-13  # has its own images as neighbours
    columns, _, _ = evaluate(features, graphs, theta_of(features))
    assert columns[0].any() and not columns[2].any()
    assert rows(features, graphs)[1][0].any()


# Symmetries


def turned(graphs, matrix, shift=0.0):
    position = graphs.nodes["position"] @ jnp.asarray(matrix) + shift
    cell = graphs.globals["cell"] @ jnp.asarray(matrix)
    return moved(graphs, position)._replace(globals=graphs.globals | {"cell": cell})


@pytest.mark.parametrize("reflected", [1, -1])
def test_rotations_reflections_and_translations_change_nothing(reflected):
    features, graphs = case("species")
    matrix = reflected * Rotation.random(rng=5).as_matrix()
    theta = theta_of(features)
    shift = jnp.asarray([[0.3, -1.0, 2.0]])
    columns, of_nodes, slope = evaluate(features, graphs, theta)
    size = size_of(columns)
    there = turned(graphs, matrix, shift)
    again, nodes_again, slope_again = evaluate(features, there, theta)
    np.testing.assert_allclose(again / size, columns / size, rtol=0, atol=1e-12)
    scale = np.abs(of_nodes).max()
    np.testing.assert_allclose(nodes_again, of_nodes, rtol=0, atol=1e-12 * scale)
    size = np.abs(slope).max()
    np.testing.assert_allclose(slope_again, slope @ matrix, rtol=0, atol=1e-11 * size)
    (forces, virial), (forces_again, virial_again) = rows(features, graphs), rows(features, there)
    size = size_of(forces)
    expected = np.einsum("nak,ab->nbk", forces, matrix)
    np.testing.assert_allclose(forces_again / size, expected / size, rtol=0, atol=1e-11)
    expected = np.einsum("gack,ab,cd->gbdk", virial, matrix, matrix)
    np.testing.assert_allclose(virial_again / size, expected / size, rtol=0, atol=1e-11)


def test_virials_are_symmetric():
    """Because the energy does not change under rotations."""
    features, graphs = case("species")
    virial = rows(features, graphs)[1]
    size = np.abs(virial).max()
    np.testing.assert_allclose(virial, virial.transpose(0, 2, 1, 3), atol=1e-12 * size)


def test_like_atoms_may_change_places_and_unlike_ones_may_not():
    features, _ = case("species")
    position, cell = FRAMES[1]
    columns = []
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 2, 3]):
        graphs = batch([(position[order], cell)], [SPECIES[1]])
        columns.append(evaluate(features, graphs, theta_of(features))[0][0])
    size = np.abs(columns[0]).max()
    np.testing.assert_allclose(columns[1], columns[0], atol=1e-13 * size)
    assert np.abs(columns[2] - columns[0]).max() > 1e-3 * size


def test_doubled_cells_have_twice_the_energy_and_the_same_forces():
    features, _ = case("species")
    theta = theta_of(features)
    (position, cell), once = FRAMES[3], batch([FRAMES[3]], [SPECIES[3]])
    longer = cell * np.array([[1.0], [2.0], [1.0]])
    twice = batch([(np.concatenate([position, position + cell[1]]), longer)], [SPECIES[3] * 2])
    small, large = evaluate(features, once, theta), evaluate(features, twice, theta)
    np.testing.assert_allclose(large[0], 2 * small[0], rtol=1e-11, atol=1e-12)
    scale = np.abs(small[2]).max()
    np.testing.assert_allclose(large[2], np.tile(small[2], (2, 1)), atol=1e-11 * scale)
    size = np.abs(rows(features, once)[1]).max()
    virials = rows(features, twice)[1], 2 * rows(features, once)[1]
    np.testing.assert_allclose(*virials, atol=1e-11 * size)


# The cutoff


def test_energies_are_smooth_at_the_cutoff_to_second_order():
    """A third body leaves a pair: value, slope and second derivative fade as powers of the
    distance to the cutoff."""
    features, _ = case("alike")
    theta = theta_of(features)
    steps = np.array([0.04, 0.02, 0.01])

    def along(x):
        position = jnp.asarray([[0.0, 0, 0], [0.4, 0.9, 0], [-0.9, 0.1, 0.6]]).at[2, 0].add(-x)
        edges = [(0, 1), (0, 2), (1, 2)]
        graphs = hgn.graphs.from_pairs(position, edges)
        return features(graphs)[0] @ theta

    @jax.jit
    def figures(x):
        slope = jax.grad(along)
        return along(x), slope(x), jax.grad(slope)(x)

    start = np.array([-0.9, 0.1, 0.6])
    leaving = np.sqrt(CUTOFF**2 - start[1] ** 2 - start[2] ** 2) + start[0]
    beyond = figures(leaving + 1.0)
    assert beyond[1] == 0 and beyond[2] == 0
    for order in range(3):
        left = [abs(float(figures(leaving - h)[order] - beyond[order])) for h in steps]
        powers = np.log2(np.array(left[:-1]) / np.array(left[1:]))
        assert left[-1] > 0
        np.testing.assert_allclose(powers, 3 - order, atol=0.35)


# Batches


@both
def test_padding_changes_nothing(name):
    """All other tests pad."""
    features, graphs = case(name)
    plain = PLAIN[0](features, graphs, theta_of(features)) + PLAIN[1](features, graphs)
    padded = evaluate(features, graphs, theta_of(features)) + rows(features, graphs)
    for a, b in zip(plain, padded, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-12 * np.abs(a).max())


def test_padding_itself_has_no_energy_and_no_rows():
    features, graphs = case("species")
    padded = hgn.graphs.pad(graphs, n_node=NODES, n_edge=EDGES, n_graph=GRAPHS)
    padded = jax.tree.map(jnp.asarray, padded)
    energies = PLAIN[0](features, padded, theta_of(features))
    for values, real in zip(energies + PLAIN[1](features, padded), (4, 9, 9, 9, 4), strict=True):
        assert np.asarray(values[:real]).any() and not np.asarray(values[real:]).any()


def test_a_batch_has_the_rows_of_its_graphs():
    features, graphs = case("species")
    forces, virial = rows(features, graphs)
    size = np.abs(forces).max()
    start = 0
    for g, frame in enumerate(FRAMES):
        one, own = rows(features, batch([frame], [SPECIES[g]]))
        there = slice(start, start := start + len(frame[0]))
        np.testing.assert_allclose(forces[there], one, rtol=0, atol=1e-12 * size)
        np.testing.assert_allclose(virial[g], own[0], rtol=0, atol=1e-12 * size)


def test_features_of_single_precision_data_stay_single():
    single = batch(dtype=np.float32)
    features = draw(single)
    theta = theta_of(features).astype(np.float32)
    for array in (*evaluate(features, single, theta), *rows(features, single)):
        assert array.dtype == jnp.float32 and np.isfinite(array).all()


def test_bodies_of_an_unknown_species_are_not_seen():
    """Inside jit nothing can be raised, so they contribute neither energy nor density."""
    features, graphs = case("species")
    theta = theta_of(features)
    species = np.concatenate(SPECIES)
    strange = np.where(species == 26, 99, species).astype(np.int32)
    other = graphs._replace(nodes=graphs.nodes | {"species": jnp.asarray(strange)})
    values = evaluate(features, other, theta)
    position, cell = FRAMES[3]
    without = evaluate(features, batch([(position[[0, 2]], cell)], [[14, 14]]), theta)
    assert values[1][7] == 0
    np.testing.assert_allclose(values[0][3], without[0][0], rtol=1e-11, atol=1e-12)
    with pytest.raises(ValueError, match=r"species \[99\] were not in the data that the many-body"):
        features.accepts(other)


def test_range_counts_pairs_that_are_closer_than_in_training():
    features, graphs = case("alike")
    np.testing.assert_array_equal(features.out_of_range(graphs), np.zeros(4))
    least = min(np.linalg.norm(v) for _, v in neighbours(*FRAMES[1], 0))
    assert features.trained_range()[0] <= least and features.trained_range()[1] < CUTOFF
    x = np.array([[0.0, 0, 0], [0.1, 0, 0], [1.9, 0, 0]])
    near = hgn.graphs.from_pairs(x, [(0, 1), (0, 2), (1, 2)])
    np.testing.assert_array_equal(features.out_of_range(near), [1])


# Random weights


@pytest.mark.parametrize("likeness", [0.0, 0.5, 0.9])
def test_weights_of_different_species_are_correlated_by_their_likeness(likeness):
    # With many radial functions all weights have the same norm before they are normalised.
    spec = dataclasses.replace(SPEC, units=600, radial=50, likeness=likeness)
    features = draw(batch(species=SPECIES), spec)
    weights = np.concatenate([np.asarray(w).reshape(-1, 3, 50) for w in features.weights])
    np.testing.assert_allclose(np.sum(weights**2, axis=(1, 2)), 1, rtol=1e-12)
    overlap = np.einsum("kzn,kyn->zy", weights, weights)
    size = np.sqrt(np.diag(overlap))
    found = (overlap / size / size[:, None])[np.triu_indices(3, 1)]
    np.testing.assert_allclose(found, likeness, atol=0.03)


# Arguments


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"units": 0}, "units must be at least 1, got 0"),
        ({"units": 2.5}, "units must be an integer"),
        ({"degree": -1}, "degree must be at least 0"),
        ({"cutoff": 0.0}, "cutoff must be positive and finite, got 0"),
        ({"cutoff": np.inf}, "cutoff must be positive and finite"),
        ({"stretch": 0.0}, "stretch must be positive and finite, got 0"),
        ({"likeness": 1.0}, "likeness must be at least 0 and less than 1, got 1"),
        ({"radial": 0}, "radial must be at least 1"),
        ({"radial": (3, 2)}, "three for the body orders 3, 4 and 5"),
        ({"radial": (3, 2, 0)}, "radial must be at least 1"),
        ({"species": (14, 8)}, "species must be strictly increasing"),
        ({"assembly": "float16"}, "assembly must be float32 or float64, got 'float16'"),
    ],
)
def test_bad_arguments_are_refused(how, words, no_type_checks):
    with pytest.raises(ValueError, match=words):
        hgn.ManyBody(**({"units": 10} | how))


def test_data_that_the_features_cannot_see_are_refused():
    plane = hgn.graphs.lattice((2, 2))
    with pytest.raises(ValueError, match=r"ManyBody\(\) needs data in 3 dimensions, got 2"):
        draw(plane)
    with pytest.raises(ValueError, match=r"finds no neighbours: the shortest edge is 1$"):
        draw(hgn.graphs.lattice((2, 2, 2)), hgn.ManyBody(12, cutoff=0.9))
    with pytest.raises(ValueError, match="finds no neighbours: there are no edges"):
        draw(batch([FRAMES[2]]))
    with pytest.raises(ValueError, match=r"species=\(8, 14\)\), but the data also hold \[26\]"):
        draw(batch(species=SPECIES), hgn.ManyBody(60, cutoff=CUTOFF, species=(8, 14)))
    with pytest.raises(ValueError, match=r'species=\(8,\)\) needs nodes\["species"\]'):
        draw(batch(), hgn.ManyBody(60, cutoff=CUTOFF, species=(8,)))
    with pytest.raises(ValueError, match="units=2 are too few for 3 species"):
        draw(batch(species=SPECIES), hgn.ManyBody(2, cutoff=CUTOFF))


def test_few_units_leave_some_degrees_without_features():
    features = draw(batch(), hgn.ManyBody(3, degree=3, radial=2, cutoff=CUTOFF))
    assert {d for s in features.signatures for d in s.degrees} == {0}
    forces, _ = rows(features, batch())
    assert forces.shape == (9, 3, features.columns) and np.asarray(forces).any()


def test_species_may_be_given_beyond_those_of_the_data():
    spec = hgn.ManyBody(60, degree=1, radial=2, cutoff=CUTOFF, species=(1, 8, 14, 26))
    features = draw(batch(species=SPECIES), spec)
    columns = features(batch(species=SPECIES))
    assert not columns[:, : features.columns // 4].any() and columns.any()


def test_draws_depend_on_the_key_alone():
    graphs = batch()
    one, two = (hgn.sample([SPEC], graphs, key=jr.key(k))[0] for k in (0, 1))
    assert eqx.tree_equal(one, draw(graphs)) and not eqx.tree_equal(one, two)
