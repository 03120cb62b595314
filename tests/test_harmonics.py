"""Real harmonics against SciPy's, their couplings against Racah's formula and random rotations."""

import itertools
from math import factorial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

from hgn_jax.features.harmonics import coupling, harmonics

DEGREE = 6
TRIPLES = [
    t
    for t in itertools.combinations_with_replacement(range(5), 3)
    if sum(t) % 2 == 0 and t[2] <= t[0] + t[1]
]


def directions(count, seed=0):
    vector = np.random.default_rng(seed).normal(size=(3, count))
    return vector / np.linalg.norm(vector, axis=0)


def from_complex(degree):
    """Unitary matrix [real m, complex m] to real harmonics of norm one from complex harmonics with
    the Condon-Shortley phase."""
    matrix = np.zeros((2 * degree + 1, 2 * degree + 1), complex)
    matrix[degree, degree] = 1
    for m in range(1, degree + 1):
        sign = (-1) ** m
        matrix[degree + m, [degree + m, degree - m]] = np.array([sign, 1]) / np.sqrt(2)
        matrix[degree - m, [degree + m, degree - m]] = np.array([sign, -1]) / (1j * np.sqrt(2))
    return matrix


@pytest.mark.parametrize("degree", range(DEGREE + 1))
def test_harmonics_are_scipys(degree):
    u = directions(50)
    polar, azimuth = np.arccos(u[2]), np.arctan2(u[1], u[0])
    orders = np.arange(-degree, degree + 1)[:, None]
    values = from_complex(degree) @ sph_harm_y(degree, orders, polar[None], azimuth[None])
    assert np.abs(values.imag).max() < 1e-14
    expected = np.sqrt(4 * np.pi) * values.real
    np.testing.assert_allclose(harmonics(u, DEGREE)[degree], expected, rtol=1e-12, atol=1e-13)


def test_the_poles_are_no_exception():
    for sign in (1.0, -1.0):
        for degree, values in enumerate(harmonics(np.array([0.0, 0.0, sign]), DEGREE)):
            expected = np.zeros(2 * degree + 1)
            expected[degree] = sign**degree * np.sqrt(2 * degree + 1)
            np.testing.assert_allclose(values, expected, atol=1e-14)


def test_squares_of_each_degree_add_up_to_its_components():
    for degree, values in enumerate(harmonics(directions(20), DEGREE)):
        np.testing.assert_allclose(np.sum(values**2, axis=0), 2 * degree + 1, rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_jax_gives_the_same_in_its_own_precision(dtype):
    u = directions(20)
    rounding = 50 * np.finfo(dtype).eps
    for exact, values in zip(harmonics(u, DEGREE), harmonics(jnp.asarray(u, dtype), DEGREE)):
        assert isinstance(values, jax.Array) and values.dtype == dtype
        np.testing.assert_allclose(values, exact, atol=rounding * len(exact), rtol=0)


def wigner(degree, rotation):
    """D with Y(R u) = D Y(u), by least squares from harmonics of many directions."""
    u = directions(200, seed=7)
    before, after = harmonics(u, degree)[degree], harmonics(rotation @ u, degree)[degree]
    d = np.linalg.lstsq(before.T, after.T)[0].T
    np.testing.assert_allclose(d @ before, after, atol=1e-12)
    np.testing.assert_allclose(d @ d.T, np.eye(len(d)), atol=1e-12)
    return d


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("reflected", [1, -1])
def test_couplings_are_equivariant_under_random_rotations_and_reflections(seed, reflected):
    rotation = reflected * Rotation.random(rng=seed).as_matrix()
    d = [wigner(degree, rotation) for degree in range(5)]
    for triple in itertools.chain.from_iterable(map(itertools.permutations, TRIPLES[:12])):
        tensor = coupling(*triple)
        turned = np.einsum("abc,xa,yb,zc->xyz", tensor, *(d[k] for k in triple))
        np.testing.assert_allclose(turned, tensor, atol=1e-12)


@pytest.mark.parametrize("triple", TRIPLES)
def test_couplings_to_each_component_are_orthonormal(triple):
    tensor = coupling(*triple)
    assert tensor.shape == tuple(2 * k + 1 for k in triple)
    for axis in range(3):
        rest = tuple(k for k in range(3) if k != axis)
        gram = np.tensordot(tensor, tensor, (rest, rest))
        np.testing.assert_allclose(gram, np.eye(len(gram)) / len(gram), atol=1e-13)


def clebsch_gordan(j1, m1, j2, m2, j, m):
    """Racah's formula for integer angular momenta."""
    if m1 + m2 != m:
        return 0.0
    f = factorial
    triangle = f(j1 + j2 - j) * f(j1 - j2 + j) * f(-j1 + j2 + j) / f(j1 + j2 + j + 1)
    each = f(j + m) * f(j - m) * f(j1 + m1) * f(j1 - m1) * f(j2 + m2) * f(j2 - m2)
    total = 0.0
    for k in range(j1 + j2 - j + 1):
        below = [j1 + j2 - j - k, j1 - m1 - k, j2 + m2 - k, j - j2 + m1 + k, j - j1 - m2 + k]
        if min(below) >= 0:
            total += (-1) ** k / (f(k) * np.prod([float(f(b)) for b in below]))
    return np.sqrt((2 * j + 1) * triangle * each) * total


def test_racahs_formula_gives_known_coefficients():
    assert clebsch_gordan(1, 1, 1, -1, 2, 0) == pytest.approx(np.sqrt(1 / 6))
    assert clebsch_gordan(1, 0, 1, 0, 0, 0) == pytest.approx(-np.sqrt(1 / 3))
    assert clebsch_gordan(2, 1, 1, 0, 2, 1) == pytest.approx(np.sqrt(1 / 6))


@pytest.mark.parametrize(
    "triple", [(0, 0, 0), (1, 1, 0), (1, 1, 2), (2, 1, 3), (2, 2, 2), (3, 2, 1), (4, 3, 3)]
)
def test_couplings_are_clebsch_gordan_coefficients_of_real_harmonics(triple):
    j1, j2, j = triple
    table = np.array([
        [[clebsch_gordan(j1, a, j2, b, j, c) for c in range(-j, j + 1)] for b in range(-j2, j2 + 1)]
        for a in range(-j1, j1 + 1)
    ])  # fmt: skip
    # The invariant of three tensors takes the third conjugate: C transforms as D1 D2 conj(D3).
    u1, u2, u3 = (from_complex(k) for k in triple)
    real = np.einsum("abc,xa,yb,zc->xyz", table, u1.conj(), u2.conj(), u3) / np.sqrt(2 * j + 1)
    assert np.abs(real.imag).max() < 1e-14
    tensor = coupling(*triple)
    sign = np.sign(np.sum(real.real * tensor))
    np.testing.assert_allclose(tensor, sign * real.real, atol=1e-13)


@pytest.mark.parametrize("triple", [(1, 1, 1), (2, 1, 0), (0, 3, 2), (3, 1, 5)])
def test_degrees_that_do_not_couple_are_refused(triple):
    with pytest.raises(ValueError, match="do not couple"):
        coupling(*triple)
