"""Bodies joined to all images of one another within a cutoff, in cells of any shape."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.graphs.dense_edges import slotted
from hgn_jax.graphs.geometry import distance

LENGTHS = np.array([2.5, 3.0, 4.1])


def all_images(position, cutoff, matrix):
    """{(sender, receiver, shift)} of all pairs within the cutoff, over all images."""
    inverse = np.linalg.inv(matrix)
    spread = np.ptp(position @ inverse, axis=0) + cutoff * np.linalg.norm(inverse, axis=0)
    most = np.ceil(spread).astype(int)
    shifts = np.array(list(itertools.product(*[range(-k, k + 1) for k in most])))
    found = {}
    for i, j in itertools.product(range(len(position)), repeat=2):
        r = np.linalg.norm(position[j] - position[i] + shifts @ matrix, axis=1)
        near = (r <= cutoff) & ((i != j) | shifts.any(axis=1))
        found |= {(i, j, tuple(shifts[k].tolist())): r[k] for k in np.flatnonzero(near)}
    return found


def skewed(d, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    while True:
        matrix = scale * rng.uniform(-1, 1, (d, d))
        if abs(np.linalg.det(matrix / np.linalg.norm(matrix, axis=1, keepdims=True))) > 0.15:
            return matrix


def edges_of(graph):
    shifts = map(tuple, np.asarray(graph.edges["shift"]).tolist())
    return dict(zip(zip(graph.senders.tolist(), graph.receivers.tolist(), shifts),
                    distance(graph).tolist()))  # fmt: skip


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("spread", [1.0, 2.5])
def test_radius_finds_the_pairs_of_a_search_over_all_images(dimension, spread, getkey):
    lengths = LENGTHS[:dimension]
    position = spread * jr.uniform(getkey(), (12, dimension), minval=-1, maxval=1) * lengths[None]
    graph = hgn.graphs.radius(position, 1.2, cell=lengths)
    expected, found = all_images(np.asarray(position), 1.2, np.diag(lengths)), edges_of(graph)
    assert found.keys() == expected.keys()
    for edge, r in expected.items():
        assert found[edge] == pytest.approx(r, rel=1e-13)
    np.testing.assert_array_equal(graph.nodes["position"], position)
    np.testing.assert_array_equal(graph.globals["cell"], np.diag(lengths)[None])
    hgn.check(graph)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize(
    ("n", "scale", "spread"), [(9, 3.0, 1), (1, 1.0, 1), (2, 0.7, 1), (5, 2.0, 5)]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_radius_in_a_skewed_cell_finds_all_images(dimension, n, scale, spread, seed):
    """Cells larger and much smaller than the cutoff, with one atom or positions far outside."""
    matrix = skewed(dimension, seed, scale)
    position = np.random.default_rng(seed).uniform(-spread, spread, (n, dimension)) @ matrix
    graph = hgn.graphs.radius(position, 1.2, cell=matrix)
    expected, found = all_images(position, 1.2, matrix), edges_of(graph)
    assert found.keys() == expected.keys() and len(graph.senders) == len(expected)
    for edge, r in expected.items():
        assert found[edge] == pytest.approx(r, rel=1e-11)
    assert scale > 1 or any(i == j for i, j, _ in expected)
    np.testing.assert_array_equal(graph.nodes["position"], position)
    hgn.check(graph)


def test_edges_are_sorted_and_stand_in_both_directions():
    graph = hgn.graphs.radius(np.random.default_rng(0).uniform(0, 2, (5, 2)), 1.5, cell=[2.0, 1.1])
    shift = np.asarray(graph.edges["shift"])
    rows = np.column_stack([graph.senders, graph.receivers, shift]).tolist()
    half = len(rows) // 2
    assert rows[:half] == sorted(rows[:half]) and all(i <= j for i, j, *_ in rows[:half])
    assert rows[half:] == [[j, i, -a, -b] for i, j, a, b in rows[:half]]


def test_a_pair_exactly_at_the_cutoff_is_joined():
    sites = hgn.graphs.lattice((3, 3)).nodes["position"]
    assert len(hgn.graphs.radius(sites, 1.0).senders) == 24
    assert len(hgn.graphs.radius(sites, 1.0, cell=[3.0, 3.0]).senders) == 36
    assert len(hgn.graphs.radius(np.zeros((1, 3)), 2.5, cell=[2.5] * 3).senders) == 6


@pytest.mark.parametrize("unit", [1e-10, 1e11])
def test_lengths_may_be_in_any_unit(unit):
    position = np.random.default_rng(0).uniform(0, 4, (20, 3))
    graphs = [hgn.graphs.radius(u * position, u * 1.2, cell=u * LENGTHS) for u in (1.0, unit)]
    np.testing.assert_array_equal(graphs[0].senders, graphs[1].senders)
    np.testing.assert_array_equal(graphs[0].edges["shift"], graphs[1].edges["shift"])


@pytest.mark.parametrize("shape", [(200_000,), (400, 400), (120_000, 1, 1), (400, 400, 1)])
@pytest.mark.parametrize("periodic", [False, True])
def test_long_and_thin_systems(shape, periodic):
    """More grid cells than vesin allows, along one or two axes."""
    sites = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, len(shape))
    cell = [float(k) if k > 1 else 1.5 for k in shape] if periodic else None
    graph = hgn.graphs.radius(sites.astype(float), 1.1, cell=cell)
    long = [k for k in shape if k > 1]
    assert len(graph.senders) == 2 * sum(np.prod(shape) // k * (k - 1 + periodic) for k in long)


def test_positions_in_single_precision_are_searched_in_double():
    position = np.random.default_rng(0).uniform(0, 4, (50, 3)).astype(np.float32)
    graph = hgn.graphs.radius(position, 1.2, cell=LENGTHS)
    double = hgn.graphs.radius(position.astype(float), 1.2, cell=LENGTHS)
    np.testing.assert_array_equal(graph.senders, double.senders)
    assert graph.nodes["position"].dtype == graph.globals["cell"].dtype == jnp.float32


def test_rotating_cell_and_positions_together_changes_no_distance(getkey):
    matrix = skewed(3, 5, 2.0)
    position = jr.normal(getkey(), (8, 3)) @ matrix
    rotation = np.linalg.qr(np.asarray(jr.normal(getkey(), (3, 3))))[0]
    here = edges_of(hgn.graphs.radius(position, 1.7, cell=matrix))
    there = edges_of(hgn.graphs.radius(position @ rotation, 1.7, cell=matrix @ rotation))
    assert here.keys() == there.keys()
    for edge, r in here.items():
        assert there[edge] == pytest.approx(r, rel=1e-11)


PRIMITIVE = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
CORNERS = np.array([[0.0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


@pytest.mark.parametrize("laid_out", [lambda graph: graph, slotted])
def test_a_crystal_is_the_same_in_its_primitive_and_its_cubic_cell(laid_out, getkey):
    """Two displaced atoms in the face-centred primitive cell, eight in the cube."""
    system, a = hgn.systems.lennard_jones(cutoff=2.5), 2.1
    basis = a * np.array([[0.0, 0, 0], [0.25, 0.25, 0.25]]) + 0.05 * jr.normal(getkey(), (2, 3))
    cubic = (np.asarray(basis)[:, None] + a * CORNERS).reshape(-1, 3)
    small = laid_out(hgn.graphs.radius(basis, 2.5, cell=a * PRIMITIVE))
    large = laid_out(hgn.graphs.radius(cubic, 2.5, cell=a * np.eye(3)))
    np.testing.assert_allclose(4 * system(small)[0], system(large)[0], rtol=1e-12)
    force = system.vector_field(small)[1][:2]
    np.testing.assert_allclose(
        system.vector_field(large)[1][:8], np.repeat(force, 4, axis=0),
        rtol=1e-12, atol=1e-12 * float(jnp.abs(force).max()),
    )  # fmt: skip


def test_the_face_centred_crystal_has_its_lattice_sums():
    """Sums of r^-6 and r^-12 over the lattice (Kittel, Introduction to Solid State Physics)."""
    r = np.asarray(distance(hgn.graphs.radius(np.zeros((1, 3)), 12.0, cell=2**0.5 * PRIMITIVE)))
    assert np.sum(r**-12.0) == pytest.approx(12.13188, abs=1e-5)
    tail = np.sqrt(2) * 4 * np.pi / 3 * 12.0**-3  # beyond the cutoff, at density sqrt(2)
    assert np.sum(r**-6.0) + tail == pytest.approx(14.45392, abs=1e-4)


def test_a_diagonal_matrix_is_the_same_cell_as_its_lengths(getkey):
    position = jr.uniform(getkey(), (20, 3), maxval=4)
    for a, b in zip(
        *(jax.tree.leaves(hgn.graphs.radius(position, 1.2, cell=c)) for c in (LENGTHS,
                                                                           np.diag(LENGTHS)))
    ):  # fmt: skip
        np.testing.assert_array_equal(a, b)


def test_bodies_on_the_faces_and_a_rounding_error_outside_are_wrapped():
    position = jnp.array([[0.0, 0, 0], [-1e-17, 0.3, 0], [2.5, 0.6, 0], [5.0, 0.9, -4.1]])
    graph = hgn.graphs.radius(position, 0.4, cell=LENGTHS)
    assert graph.n_edge.tolist() == [6]
    np.testing.assert_allclose(distance(graph), 0.3, rtol=1e-12)


def test_moving_bodies_by_cell_vectors_changes_no_energy_or_force(getkey):
    system = hgn.systems.lennard_jones(sigma=0.5, cutoff=1.2)
    sites = hgn.graphs.lattice((4, 4, 5), spacing=0.62).nodes["position"]
    sites = sites + 0.03 * jr.normal(getkey(), sites.shape)
    moved = sites + np.asarray(jr.randint(getkey(), sites.shape, -3, 4)) * LENGTHS
    here, there = (hgn.graphs.radius(x, 1.2, cell=LENGTHS) for x in (sites, moved))
    np.testing.assert_allclose(system(here), system(there), rtol=1e-11)
    force = system.vector_field(here)[1]
    np.testing.assert_allclose(
        force, system.vector_field(there)[1], atol=1e-10 * float(jnp.max(jnp.abs(force)))
    )


def test_a_periodic_lattice_has_a_full_shell_around_every_body():
    graph = hgn.graphs.radius(hgn.graphs.lattice((4, 4, 4)).nodes["position"], 1.1, cell=[4.0] * 3)
    np.testing.assert_array_equal(np.bincount(graph.receivers), 6)
    np.testing.assert_allclose(distance(graph), 1)


def test_batching_and_padding_keep_the_distances(getkey):
    first, second = (
        hgn.graphs.radius(jr.uniform(getkey(), (15, 3), maxval=4), 1.2, cell=LENGTHS * scale)
        for scale in (1.0, 1.3)
    )
    both = hgn.graphs.batch([first, second])
    padded = hgn.graphs.pad(both, n_node=33, n_edge=len(both.senders) + 7, n_graph=4)
    hgn.check(padded)
    expected = np.concatenate([distance(first), distance(second), np.ones(7)])
    np.testing.assert_array_equal(distance(padded), expected)


def test_single_precision_stays_single(getkey):
    position = jr.uniform(getkey(), (9, 3), jnp.float32, maxval=4)
    graph = hgn.graphs.radius(position, 1.2, cell=LENGTHS)
    assert graph.globals["cell"].dtype == distance(graph).dtype == jnp.float32


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (np.ones((3, 3)), "singular"),
        (np.diag([2.5, 3.0, 0.0]), "singular.*not periodic"),
        (np.diag([2.5, 3.0, np.inf]), "finite"),
        (np.diag([2.5, 3.0, np.nan]), "finite"),
        ([2.5, -3.0, 4.1], "positive"),
        ([2.5, 0.0, 4.1], "positive"),
        ([2.5, np.nan, 4.1], "positive"),
        ([2.5, 3.0], r"shape \(2,\)"),
        (3.0, r"shape \(\)"),
        (np.eye(3)[None], r"shape \(1, 3, 3\)"),
    ],
)
def test_cells_that_cannot_be_used_are_named(cell, words):
    with pytest.raises(ValueError, match=words):
        hgn.graphs.radius(jnp.zeros((2, 3)).at[1].set(1.0), 1.2, cell=cell)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan, np.inf])
def test_cutoffs_that_are_not_positive_and_finite_are_refused(cutoff):
    with pytest.raises(ValueError, match="cutoff must be positive and finite"):
        hgn.graphs.radius(np.eye(3), cutoff)


def test_four_dimensions_are_refused():
    with pytest.raises(ValueError, match="1 to 3 dimensions, position has 4"):
        hgn.graphs.radius(np.eye(4), 1.0)


def test_a_left_handed_cell_is_a_cell():
    position = np.random.default_rng(0).uniform(0, 3, (9, 3))
    left, right = (
        edges_of(hgn.graphs.radius(position, 1.2, cell=np.diag(sign * LENGTHS)))
        for sign in (np.array([1.0, 1.0, -1.0]), 1.0)
    )
    assert sorted(left.values()) == pytest.approx(sorted(right.values()), rel=1e-13)


def test_a_traced_cell_is_refused():
    with pytest.raises(ValueError, match="concrete"):
        jax.jit(lambda c: hgn.graphs.radius(np.eye(3), 1.0, cell=c))(jnp.full(3, 4.0))
