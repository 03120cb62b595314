"""Neighbours in a grid of cells: no pair within reach is missing, and none is a duplicate."""

import itertools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax import _block_sizes as portion
from hgn_jax.graphs.dense_edges import with_padding
from hgn_jax.graphs.neighbour_list import find

FIND = eqx.filter_jit(find)


def gas(n, sides, d=3, periodic=True, seed=0, spread=1.0):
    """Bodies in a box and in its images: positions are not wrapped."""
    rng = np.random.default_rng(seed)
    position = (rng.uniform(-spread, 1 + spread, (n, d)) if periodic else rng.uniform(
        0, 1, (n, d))) * sides  # fmt: skip
    graph = hgn.graphs.from_pairs(position, [], momentum=rng.normal(0, 1, (n, d)))
    if not periodic:
        return graph
    return graph._replace(globals={"cell": jnp.diag(jnp.asarray(sides))[None]})


def pairs_by_hand(graph, reach):
    position = np.asarray(graph.nodes["position"])
    vector = position[:, None] - position[None]
    if "cell" in graph.globals:
        sides = np.diagonal(graph.globals["cell"][0])
        vector = vector - sides * np.round(vector / sides)
    near = (np.linalg.norm(vector, axis=-1) < reach) & ~np.eye(len(position), dtype=bool)
    return set(zip(*np.nonzero(near)))


def pairs_found(list_):
    senders = np.asarray(list_.senders)
    slots, n = senders.shape
    real = senders != n - 1
    found = list(zip(senders[real], np.tile(np.arange(n), (slots, 1))[real]))
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize(
    ("n", "sides", "periodic"),
    [
        (150, [8.0, 9.0, 10.0], True),
        (60, [5.1, 5.1, 20.0], True),
        (150, [7.0, 7.0, 7.0], False),
        (120, [12.0, 7.0], True),
        (120, [12.0, 1e4], False),
        (30, [30.0], True),
        (30, [20.0], False),
    ],
)
def test_all_pairs_within_reach_are_found_once_in_each_direction(n, sides, periodic):
    graph = gas(n, np.array(sides), len(sides), periodic)
    spec = hgn.Neighbours(2.0, 0.5).allocate(graph)
    found = FIND(spec, with_padding(graph))
    assert found.complete
    assert pairs_found(found) == pairs_by_hand(graph, 2.5)


@pytest.mark.parametrize("candidates", [1, 30_000])
def test_some_bodies_at_a_time_find_the_same_neighbours(candidates, monkeypatch):
    graph = gas(150, np.array([8.0, 9.0, 10.0]))
    spec = hgn.Neighbours(2.0, 0.5).allocate(graph)
    whole = FIND(spec, with_padding(graph))
    small = portion.NEAR._replace(bodies=1, candidates=candidates)
    monkeypatch.setattr(portion, "NEAR", small)
    assert eqx.tree_equal(eqx.filter_jit(lambda s, g: find(s, g))(spec, with_padding(graph)), whole)


def test_a_body_on_the_wall_of_the_cell_is_not_lost():
    sites = np.array([[0.0], [-1e-17], [9.9999999], [10.0], [0.4], [9.5]])
    graph = gas(6, np.array([10.0]), 1)
    graph = graph._replace(nodes=graph.nodes | {"position": jnp.asarray(sites)})
    found = FIND(hgn.Neighbours(0.5, 0.2).allocate(graph), with_padding(graph))
    assert pairs_found(found) == pairs_by_hand(graph, 0.7)


@pytest.mark.parametrize("short", ["slots", "run"])
def test_too_little_room_is_told_and_the_needed_room_stated(short):
    graph = gas(300, np.full(3, 12.0))
    spec = hgn.Neighbours(2.0, 0.5).allocate(graph)
    tight = hgn.Neighbours(2.0, 0.5, spec.sizes._replace(**{short: 2}))
    found = FIND(tight, with_padding(graph))
    assert not found.complete and getattr(found, short) > 2


def test_room_for_another_cell_is_refused():
    large, small = gas(300, np.full(2, 20.0), 2), gas(300, np.full(2, 6.0), 2)
    spec = hgn.Neighbours(1.0, 0.2).allocate(large)
    with pytest.raises(ValueError, match=r"allocated for a larger cell than \[6. 6.\]"):
        spec.check(small)
    assert not FIND(spec, with_padding(small)).complete
    assert FIND(spec, with_padding(large)).complete
    with pytest.raises(ValueError, match="sizes must be positive"):
        hgn.Neighbours(1.0, 0.2, spec.sizes._replace(slots=0))


# Skewed cells

SKEWED = {
    1: np.array([[-30.0]]),
    2: np.array([[9.0, 4.0], [-3.0, 11.0]]),
    3: np.array([[9.0, 1.0, 0.0], [-4.0, 9.0, 1.0], [3.0, -3.0, 10.0]]),
}


def skewed_gas(n, matrix, seed=0):
    rng = np.random.default_rng(seed)
    position = rng.uniform(-2, 3, (n, len(matrix))) @ matrix
    graph = hgn.graphs.from_pairs(position, [])
    return graph._replace(globals={"cell": jnp.asarray(matrix)[None]})


def pairs_over_all_images(graph, reach):
    position, matrix = np.asarray(graph.nodes["position"]), np.asarray(graph.globals["cell"])[0]
    inside = position - np.floor(position @ np.linalg.inv(matrix)) @ matrix
    dx = inside[:, None] - inside[None]
    images = [s @ matrix for s in itertools.product((-1, 0, 1), repeat=len(matrix))]
    near = np.any([np.linalg.norm(dx + image, axis=-1) < reach for image in images], axis=0)
    return set(zip(*np.nonzero(near & ~np.eye(len(position), dtype=bool))))


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("reach", [1.5, 3.0])
def test_pairs_in_a_skewed_cell_are_those_over_all_images(d, reach):
    graph = skewed_gas(600 if d == 3 else 150, SKEWED[d])
    spec = hgn.Neighbours(reach - 0.3, 0.3).allocate(graph)
    assert reach > 2 or max(spec.sizes.grid) > 5  # cells that are left out
    found = FIND(spec, spec.prepare(graph))
    assert found.complete
    assert pairs_found(found) == pairs_over_all_images(graph, reach)


def test_a_skewed_cell_must_be_twice_as_high_as_the_list_reaches():
    matrix = np.array([[7.0, 0.0], [7.0, 7.0]])  # heights 7 and 7 / sqrt(2) = 4.95
    graph = skewed_gas(50, matrix)
    with pytest.raises(ValueError, match=r"height 4.94975.*less than twice cutoff \+ skin, 2.5.*"
                       "repeat the cell"):  # fmt: skip
        hgn.Neighbours(2.2, 0.3).allocate(graph)
    with pytest.raises(ValueError, match=r"less than twice"):
        hgn.Neighbours(2.6, 0.3).allocate(graph)
    spec = hgn.Neighbours(2.2, 0.2).allocate(graph)
    assert FIND(spec, spec.prepare(graph)).complete
    wide = hgn.Neighbours(2.2, 0.3, spec.sizes)
    assert not FIND(wide, wide.prepare(graph)).complete
    upright = graph._replace(globals={"cell": 4.9 * jnp.eye(2)[None]})
    hgn.Neighbours(2.2, 0.3).allocate(upright)


def test_capacities_of_a_diagonal_cell_are_refused_in_a_skewed_one():
    matrix = SKEWED[3]
    graph = skewed_gas(100, matrix)
    upright = graph._replace(globals={"cell": jnp.diag(jnp.diagonal(matrix))[None]})
    spec = hgn.Neighbours(1.5, 0.3).allocate(upright)
    assert spec.sizes.diagonal and not hgn.Neighbours(1.5, 0.3).allocate(graph).sizes.diagonal
    with pytest.raises(ValueError, match=r"allocated for a diagonal cell.*allocate again"):
        spec.check(graph)
    assert FIND(spec, spec.prepare(upright)).complete
    assert not FIND(spec, spec.prepare(graph)).complete


def test_a_singular_cell_is_refused():
    graph = skewed_gas(10, np.eye(2) * 5)
    flat = graph._replace(globals={"cell": jnp.asarray([[[5.0, 5.0], [5.0, 5.0]]])})
    with pytest.raises(ValueError, match="cell is singular"):
        hgn.Neighbours(1.0, 0.1).allocate(flat)


def test_single_precision_finds_the_same_pairs():
    graph = skewed_gas(150, SKEWED[3])
    single = graph._replace(
        nodes={k: v.astype(jnp.float32) for k, v in graph.nodes.items()},
        globals={"cell": graph.globals["cell"].astype(jnp.float32)},
    )
    spec = hgn.Neighbours(2.0, 0.3).allocate(single)
    found = FIND(spec, spec.prepare(single))
    assert found.complete and pairs_found(found) == pairs_over_all_images(graph, 2.3)
