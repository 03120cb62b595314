"""Bodies joined by their nearest images in a periodic box."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.graphs.geometry import distance

LENGTHS = np.array([2.5, 3.0, 4.1])


def all_images(position, cutoff, lengths):
    """{(sender, receiver, shift)} of all pairs within the cutoff, over all images."""
    shifts = np.array(list(itertools.product(range(-6, 7), repeat=len(lengths))))
    found = {}
    for i, j in itertools.permutations(range(len(position)), 2):
        r = np.linalg.norm(position[j] - position[i] + shifts * lengths, axis=1)
        found |= {(i, j, tuple(shifts[k].tolist())): r[k] for k in np.flatnonzero(r <= cutoff)}
    return found


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
    expected, found = all_images(np.asarray(position), 1.2, lengths), edges_of(graph)
    assert found.keys() == expected.keys()
    for edge, r in expected.items():
        assert found[edge] == pytest.approx(r, rel=1e-13)
    np.testing.assert_array_equal(graph.nodes["position"], position)
    np.testing.assert_array_equal(graph.globals["cell"], np.diag(lengths)[None])
    hgn.check(graph)


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
        ([2.5, 2.3, 4.1], "2.3 .*1.2.*full periodic images come later"),
        (np.diag(LENGTHS) + 0.1, "diagonal"),
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


def test_a_traced_cell_is_refused():
    with pytest.raises(ValueError, match="concrete"):
        jax.jit(lambda c: hgn.graphs.radius(np.eye(3), 1.0, cell=c))(jnp.full(3, 4.0))
