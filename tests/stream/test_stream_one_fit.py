"""A stream is one fit to all of its batches."""

import jax
import jax.numpy as jnp
import numpy as np
from streams import (
    KEY,
    PIECES,
    ROWS_OF_A_PIECE,
    SIZE,
    SPECS,
    assert_one_fit,
    evaluated,
    same_bits,
    stream,
    with_nodes,
)

import hgn_jax as hgn
from hgn_jax.graphs.geometry import distance


def test_a_stream_of_pieces_is_the_fit_to_the_whole(data, pieces, unseen, whole):
    streamed = stream(pieces, sample_from=data)
    assert_one_fit(streamed, whole, unseen)
    assert streamed.rows == PIECES * ROWS_OF_A_PIECE


def test_with_guided_features_and_energies_as_well(data, pieces, unseen):
    swim = hgn.SWIM(passes=2)
    options = {
        "terms": (hgn.Kinetic(4, sampling=swim), hgn.Pair(16, sampling=swim)),
        "observations": (hgn.Derivatives(), hgn.Energies()),
    }
    streamed = stream(pieces, sample_from=data, **options)
    assert_one_fit(streamed, hgn.fit(data, key=KEY, **options), unseen)
    assert streamed.rows == PIECES * (ROWS_OF_A_PIECE + SIZE)


def test_observed_energies_determine_the_constant(data, straight):
    assert straight.energies_observed and straight.constant_known
    error = evaluated(straight.model, data)[0] - data.globals["energy"]
    assert np.abs(error).max() < 1e-3 * np.std(data.globals["energy"])


def test_generators_lists_and_numpy_arrays_give_the_same_bits(pieces, straight):
    assert same_bits(stream(iter(pieces)), straight)
    arrays = [jax.tree.map(np.asarray, p) for p in pieces[1:]]
    assert same_bits(stream([pieces[0], *arrays]), straight)


def test_the_order_of_batches_does_not_matter(pieces, straight, unseen):
    again = stream(pieces[::-1], sample_from=pieces[0])
    assert_one_fit(again, straight, unseen)


def test_the_data_sampled_from_are_not_learned_from(pieces):
    assert stream(pieces[:2], sample_from=pieces[0]).rows == 2 * ROWS_OF_A_PIECE
    assert stream(pieces[1:2], sample_from=pieces[0]).rows == ROWS_OF_A_PIECE


def test_without_sample_from_the_first_batch_is_sampled_from(data, pieces, straight):
    drawn = hgn.sample(SPECS, pieces[0], key=KEY)
    for a, b in zip(jax.tree.leaves(drawn), jax.tree.leaves(straight.model.terms), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    first = hgn.graphs.take(data, np.arange(len(data.n_node)) < SIZE)
    r = np.asarray(distance(first))
    np.testing.assert_allclose(straight.trained_range["pair"], [[r.min(), r.max()]], rtol=1e-14)
    every = np.asarray(distance(data))
    assert np.ptp(every) > np.ptp(r)


def calibrated(data):
    return hgn.Derivatives().calibrated(data, hgn.Basis(()))


def test_the_first_batch_settles_the_weights(data, pieces, unseen):
    """It is a hundred times slower than the others, and the floors of the weights are its own."""
    slow = with_nodes(pieces[0], velocity=pieces[0].nodes["velocity"] / 100)
    streamed = stream((slow, *pieces[1:]))
    settled = calibrated(slow)
    floors = streamed.equations.observations[0].weights.floors
    np.testing.assert_allclose(floors, settled.weights.floors, rtol=1e-14)
    velocity = np.array(data.nodes["velocity"])
    velocity[: SIZE * 8] /= 100
    whole = with_nodes(data, velocity=jnp.asarray(velocity))
    features = hgn.sample(SPECS, slow, key=KEY)
    assert_one_fit(streamed, hgn.solve(features, whole, observations=[settled]), unseen)
    assert calibrated(whole).weights.floors[0] > 50 * settled.weights.floors[0]
