"""Invariant products of densities, against explicit sums and counted by characters."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_harmonics import wigner

from hgn_jax.features.harmonics import coupling
from hgn_jax.features.signatures import Signature, five_body, four_body, product, three_body

EVERY = (*three_body(3), *four_body(3), *five_body(3))
SOME = [
    Signature((0, 0)),
    Signature((2, 2)),
    Signature((0, 1, 1)),
    Signature((1, 2, 3)),
    Signature((2, 2, 2)),
    Signature((0, 0, 0, 0), 0),
    Signature((0, 1, 1, 2), 1),
    Signature((1, 1, 1, 1), 2),
    Signature((1, 1, 2, 2), 0),
]


def factors(signature, seed=0, bodies=2, features=3):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(2 * k + 1, bodies, features)) for k in signature.degrees]


def written_out(signature, factors):
    """Invariants as sums over all components."""
    d, J = signature.degrees, signature.through
    if len(d) == 2:
        return np.einsum("ank,ank->nk", *factors) / np.sqrt(2 * d[0] + 1)
    if len(d) == 3:
        return np.einsum("abc,ank,bnk,cnk->nk", coupling(*d), *factors)
    left, right = coupling(d[0], d[1], J), coupling(d[2], d[3], J)
    return np.einsum("abm,cdm,ank,bnk,cnk,dnk->nk", left, right, *factors)


@pytest.mark.parametrize("signature", SOME, ids=str)
def test_products_and_slopes_are_sums_over_components(signature):
    given = factors(signature)
    arrays = [jnp.asarray(f) for f in given]
    np.testing.assert_allclose(signature(arrays), written_out(signature, given), atol=1e-13)
    slopes = jax.grad(lambda f: jnp.sum(signature(f)))(arrays)
    for found, true, own in zip(signature.slopes(arrays), slopes, given, strict=True):
        assert found.shape == own.shape
        np.testing.assert_allclose(found, true, atol=1e-13)


@pytest.mark.parametrize("reflected", [1, -1])
def test_every_product_is_invariant(reflected):
    rotation = reflected * Rotation.random(rng=4).as_matrix()
    d = [wigner(k, rotation) for k in range(4)]
    for signature in EVERY:
        given = factors(signature)
        turned = [np.einsum("xa,ank->xnk", d[k], f) for k, f in zip(signature.degrees, given)]
        once = written_out(signature, given)
        np.testing.assert_allclose(written_out(signature, turned), once, atol=1e-11)


def test_product_of_two_vectors():
    """Degree 1 is (y, z, x): coupling to 0 is the dot product."""
    a, b = np.random.default_rng(0).normal(size=(2, 3, 1, 1))
    scalar = product(jnp.asarray(a), jnp.asarray(b), 0)
    np.testing.assert_allclose(np.abs(scalar), np.abs(np.sum(a * b, axis=0))[None] / np.sqrt(3))
    assert product(jnp.asarray(a), jnp.asarray(b), 2).shape == (5, 1, 1)


def multiplicity(degrees):
    """Number of invariants under rotations in a product of different tensors: ways to couple them
    one after the other."""
    couples = {degrees[0]: 1}
    for k in degrees[1:]:
        following = {}
        for j, ways in couples.items():
            for m in range(abs(j - k), j + k + 1):
                following[m] = following.get(m, 0) + ways
        couples = following
    return couples.get(0, 0)


def test_signatures_are_all_that_couple_and_none_twice():
    assert len(set(EVERY)) == len(EVERY)
    assert [s.degrees for s in three_body(4)] == [(k, k) for k in range(5)]
    expected = [
        t
        for t in itertools.combinations_with_replacement(range(4), 3)
        if sum(t) % 2 == 0 and multiplicity(t)
    ]
    assert [s.degrees for s in four_body(3)] == expected
    for signature in five_body(4):
        assert sum(signature.degrees) <= 6 and max(signature.degrees) <= 3
        for pair in (signature.degrees[:2], signature.degrees[2:]):
            assert sum(pair) % 2 == signature.through % 2
            assert abs(pair[0] - pair[1]) <= signature.through <= sum(pair)


def test_invariants_of_four_equal_vectors_are_independent():
    """Random densities a, b, c, d of degree 1: the isotropic tensors of rank four, except the
    antisymmetric one, which products of even parity in each pair leave out."""
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(3, 40, 1)) for _ in range(4)]
    values = [written_out(s, given)[:, 0] for s in five_body(1) if s.degrees == (1, 1, 1, 1)]
    assert np.linalg.matrix_rank(np.stack(values)) == len(values) == 2
