"""Many frames joined at once: the batch of the graphs that `radius` builds one by one."""

import jax
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.graphs.cell import Cell
from hgn_jax.graphs.open_axes import enclosing_cell


def frames(d, seed=0):
    rng = np.random.default_rng(seed)
    position = [rng.uniform(0, 2, (n, d)) for n in (1, 5, 9)]
    cell = [np.eye(d) * side + 0.1 * rng.normal(size=(d, d)) for side in (0.9, 1.6, 2.5)]
    return position, cell


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("periodic", [False, True])
def test_frames_are_the_batch_of_their_graphs(d, periodic):
    position, cell = frames(d)
    cell = cell if periodic else [None] * 3
    each = [hgn.graphs.radius(x, 1.3, cell=c) for x, c in zip(position, cell)]
    bare = [g._replace(nodes={"position": g.nodes["position"]}) for g in each]
    batch = hgn.graphs.batch(bare)
    found = hgn.graphs.from_frames(position, cutoff=1.3, cell=cell if periodic else None)
    assert jax.tree.structure(found) == jax.tree.structure(batch)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(batch)):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def test_further_arrays_are_carried():
    position, cell = frames(3)
    force = np.random.default_rng(1).normal(size=(15, 3))
    data = hgn.graphs.from_frames(
        position, cutoff=1.3, cell=cell, nodes={"force": force}, globals_={"energy": np.arange(3.0)}
    )
    hgn.check(data)
    np.testing.assert_array_equal(data.nodes["force"], force)
    with pytest.raises(ValueError, match="unknown keys \\['forces'\\]"):
        hgn.graphs.from_frames(position, cutoff=1.3, nodes={"forces": force})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, c: x[1].__setitem__(2, np.nan), "frame 1: the position of atom 2"),
        (
            lambda x, c: x[2].__setitem__(3, x[2][1] + 1e-9),
            "frame 2: atoms 1 and 3 are at the same",
        ),
        (
            lambda x, c: x[2].__setitem__(3, x[2][1] + c[2][0]),
            "frame 2: atoms 1 and 3 are at the same",
        ),
        (lambda x, c: c[1].__setitem__(0, 0), "frame 1: cell is singular"),
        (lambda x, c: x.__setitem__(1, x[1][:, :2]), "frame 1: positions must be"),
        (lambda x, c: x.clear(), "at least one frame"),
    ],
)
def test_bad_frames_are_named(change, words):
    position, cell = frames(3)
    change(position, cell)
    with pytest.raises(ValueError, match=words):
        hgn.graphs.from_frames(position, cutoff=1.3, cell=cell)


@pytest.mark.parametrize("open_axes", [[0], [2], [0, 1], [1, 2], [0, 1, 2]])
@pytest.mark.parametrize("given", [0.0, 1.0, 100.0])
def test_no_pair_reaches_across_an_open_axis(open_axes, given):
    """Heights of open axes exceed the extent along them plus the cutoff; periods stay."""
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(3, 3)) + 2 * np.eye(3)
    matrix[open_axes] *= given
    position, periodic = rng.normal(size=(20, 3)) * 5, ~np.isin(np.arange(3), open_axes)
    cell = enclosing_cell(position, matrix, periodic, 4.0)
    np.testing.assert_array_equal(cell[periodic], matrix[periodic])
    if given == 100:
        np.testing.assert_array_equal(cell, matrix)
    fractional = np.ptp(Cell(cell).fractional(position), axis=0)
    gap = (1 - fractional) * Cell(cell).heights
    assert (gap[open_axes] > 4.0).all()
