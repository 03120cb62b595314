"""The paper's sampling in bench/ against layers of the authors' package, recorded in
tests/files/swimnetworks.npz (its entry `origin` says how)."""

from pathlib import Path

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import stats

from bench.published_sampling import PublishedELM, PublishedSWIM, between, pairs

THEIRS = np.load(Path(__file__).parent / "files" / "swimnetworks.npz")
X = jnp.asarray(THEIRS["x"])
EVERY = jnp.ones(len(X), bool)


def draws(sampling, units=500):
    """Weights `[inputs K]` and biases `[K]` of eight layers, joined."""
    layers = [sampling(jr.key(seed), X, EVERY, units) for seed in range(8)]
    for layer in layers:
        np.testing.assert_array_equal(layer.centre, 0)
    return np.hstack([x.weight for x in layers]), np.hstack([x.bias for x in layers])


def theirs(name):
    """Weights and biases of their layers. Units of repeated pairs count once: they draw with
    replacement from candidates that are hardly more than the units."""
    layers = []
    for (first, second), *layer in zip(
        *(THEIRS[k] for k in ("pairs", f"{name}_weights", f"{name}_biases"))
    ):
        code = first.astype(int) * len(X) + second
        kept = np.unique(code, return_index=True)[1] if name == "swim" else slice(None)
        layers.append([a[..., kept] for a in layer])
    return (np.hstack(a) for a in zip(*layers))


def test_fixture_says_where_it_comes_from():
    assert "swimnetworks 0.0.2 (PyPI, MIT)" in str(THEIRS["origin"])


def test_units_between_their_pairs_are_theirs():
    for (first, second), weights, biases in zip(
        *(THEIRS[k] for k in ("pairs", "swim_weights", "swim_biases"))
    ):
        ours = between(X[first], X[second])
        np.testing.assert_allclose(ours[0], weights, rtol=1e-12)
        np.testing.assert_allclose(ours[1], biases, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "name, sampling", [("swim", PublishedSWIM()), ("elm", PublishedELM())], ids=["swim", "elm"]
)
def test_weights_and_biases_have_the_distribution_of_theirs(name, sampling):
    (w, b), (their_w, their_b) = draws(sampling), theirs(name)
    lengths = (np.linalg.norm(a, axis=0) for a in (w, their_w))
    assert stats.ks_2samp(*lengths).pvalue > 1e-3
    assert stats.ks_2samp(b, their_b).pvalue > 1e-3
    for ours, expected in zip(w, their_w):
        assert stats.ks_2samp(ours, expected).pvalue > 1e-3


def test_swim_is_uniform_over_all_ordered_pairs_here_and_there():
    first, second = np.nonzero(~np.eye(len(X), dtype=bool))
    every_w, every_b = between(X[first], X[second])
    for w, b in (draws(PublishedSWIM()), theirs("swim")):
        for drawn, population in zip((*w, b), (*every_w, every_b)):
            assert stats.ks_2samp(drawn, population).pvalue > 1e-3


def test_elm_is_the_distribution_of_the_paper():
    w, b = draws(PublishedELM())
    assert stats.kstest(w.ravel(), "norm").pvalue > 1e-3
    assert stats.kstest(b, "uniform", (-np.pi, 2 * np.pi)).pvalue > 1e-3


def test_all_pairs_of_different_points_are_equally_likely_and_no_pair_is_repeated():
    mask = jnp.array([True, False, True, True, False, True, True])
    counts = np.zeros((7, 7))
    for seed in range(400):
        first, second = np.asarray(pairs(jr.key(seed), mask, 5))
        assert len(set(zip(first, second))) == 5
        np.add.at(counts, (first, second), 1)
    possible = np.outer(mask, mask) & ~np.eye(7, dtype=bool)
    assert counts[~possible].sum() == 0
    assert stats.chisquare(counts[possible]).pvalue > 1e-3


def test_coinciding_points_give_a_unit_without_weights():
    points = jnp.array([[1.0, 2.0], [1.0, 2.0]])
    weight, bias = between(points[:1], points[1:])
    np.testing.assert_array_equal(weight, 0)
    np.testing.assert_allclose(bias, -np.log(3) / 2, rtol=1e-15)
