"""Cells of any shape: lengths, volumes and nearest images are those of the lattice."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgn_jax.graphs.cell import Cell, require_cell


def skewed(d, seed):
    """A cell whose vectors are far from perpendicular, left-handed for half of the seeds."""
    rng = np.random.default_rng(seed)
    while True:
        matrix = rng.uniform(-3, 3, (d, d))
        if abs(np.linalg.det(matrix / np.linalg.norm(matrix, axis=1, keepdims=True))) > 0.2:
            return matrix


@pytest.fixture(params=[(d, seed, xp) for d in (1, 2, 3, 4) for seed in (0, 1) for xp in (np, jnp)],
                ids=lambda p: f"{p[0]}-{p[1]}-{p[2].__name__}")  # fmt: skip
def case(request):
    d, seed, xp = request.param
    matrix = skewed(d, seed)
    return matrix, Cell(xp.asarray(matrix)), xp


def test_volume_heights_and_fractional_coordinates(case):
    matrix, cell, xp = case
    d = len(matrix)
    assert isinstance(cell.heights, np.ndarray) == (xp is np)
    np.testing.assert_allclose(cell.volume, abs(np.linalg.det(matrix)), rtol=1e-12)
    for k in range(d):
        # Height over the face of the other vectors: volume over area, by Gram determinants.
        face = np.delete(matrix, k, axis=0)
        area = np.sqrt(np.linalg.det(face @ face.T)) if d > 1 else 1.0
        np.testing.assert_allclose(cell.heights[k], cell.volume / area, rtol=1e-10)
    x = xp.asarray(np.random.default_rng(2).normal(size=(7, d)))
    np.testing.assert_allclose(cell.fractional(x) @ matrix, x, atol=1e-12)


def test_wrapped_points_lie_inside_and_differ_by_lattice_vectors(case):
    matrix, cell, xp = case
    x = np.random.default_rng(2).uniform(-30, 30, (20, len(matrix)))
    inside = np.asarray(cell.wrap(xp.asarray(x)))
    fraction = np.linalg.solve(matrix.T, inside.T).T
    assert (fraction > -1e-12).all() and (fraction < 1 + 1e-12).all()
    steps = np.linalg.solve(matrix.T, (x - inside).T).T
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-11)


def test_nearest_images_below_half_the_height_are_exact(case):
    matrix, cell, xp = case
    d = len(matrix)
    rng = np.random.default_rng(3)
    short = rng.normal(size=(300, d))
    short *= (rng.uniform(0, 0.4999, 300) * min(cell.heights) / np.linalg.norm(short, axis=1))[
        :, None
    ]
    far = short + rng.integers(-9, 10, (300, d)) @ matrix
    np.testing.assert_allclose(cell.minimum_image(xp.asarray(far)), short, atol=1e-11)


def test_nearest_images_beyond_half_the_height_may_be_missed():
    """The bound is sharp: here rounding returns a vector that has a shorter image."""
    cell = Cell(np.array([[1.0, 0.0], [0.49, 0.3]]))
    vector = np.array([0.37 + 0.245 - 0.01, 0.147])
    images = [vector + s @ cell.matrix for s in itertools.product((-1, 0, 1), repeat=2)]
    kept = np.linalg.norm(cell.minimum_image(vector))
    assert kept > 1.5 * min(np.linalg.norm(image) for image in images) > min(cell.heights) / 2


def test_a_diagonal_cell_known_as_such_gives_the_same_images():
    sides, dx = np.array([2.0, 3.0, 5.0]), np.random.default_rng(0).uniform(-20, 20, (50, 3))
    expected = dx - sides * np.round(dx / sides)
    for diagonal in (False, True):
        cell = Cell(jnp.diag(jnp.asarray(sides)), diagonal)
        np.testing.assert_array_equal(jax.jit(lambda c, x: c.minimum_image(x))(cell, dx), expected)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (np.diag([1.0, -2.0, 3.0]), False),
        (np.diag([1.0, 2.0, 3.0])[[2, 0, 1]], False),
        (np.eye(3) + 1e-9 * np.eye(3, k=1), True),
    ],
)
def test_skewed_cells_are_told_from_orthogonal_ones(matrix, expected):
    assert bool(Cell(matrix).skewed) == bool(Cell(jnp.asarray(matrix)).skewed) == expected


@pytest.mark.parametrize("scale", [1e-13, 1e13])
def test_lengths_in_any_units_stay_in_single_precision(scale):
    matrix = skewed(3, 0)
    cell = Cell(jnp.asarray(matrix * scale, jnp.float32))
    np.testing.assert_allclose(cell.heights / scale, Cell(matrix).heights, rtol=1e-5)
    assert cell.heights.dtype == jnp.float32


@pytest.mark.parametrize("xp", [np, jnp])
def test_single_precision_is_kept(xp):
    cell = Cell(xp.asarray(skewed(3, 0), xp.float32))
    x = xp.ones((2, 3), xp.float32)
    results = (cell.heights, cell.wrap(x), cell.fractional(x), cell.minimum_image(x))
    assert {r.dtype for r in results} == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[1.0, 2.0], [2.0, 4.0]], "cell is singular.*linearly independent.*not periodic"),
        ([[1.0, 0.0], [0.0, 0.0]], "singular"),
        ([[1.0, 0.0], [0.0, np.inf]], "finite"),
        ([[1.0, 0.0], [np.nan, 1.0]], "finite"),
    ],
)
def test_matrices_that_span_no_cell_are_refused(matrix, words):
    with pytest.raises(ValueError, match=words):
        require_cell(np.array(matrix))
    require_cell(1e-12 * skewed(3, 1))
