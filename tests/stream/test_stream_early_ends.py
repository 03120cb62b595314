"""Streams that end early, or are stopped."""

import pytest
from streams import PIECES, held, interrupted, same_bits, stream, until


def test_an_empty_stream_is_refused(pieces, path):
    with pytest.raises(ValueError, match="the stream has no batch"):
        stream([], checkpoint=str(path))


def test_an_empty_stream_is_refused_with_data_to_sample_from_too(pieces):
    with pytest.raises(ValueError, match="no batch"):
        stream([], sample_from=pieces[0])


def test_a_stream_shorter_than_its_checkpoint_is_refused(pieces, path):
    stream(pieces[:4], checkpoint=str(path))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="holds 4 batches, but the stream gave only 3"):
        stream(pieces[:3], checkpoint=str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_whatever_stops_the_stream_is_passed_on_and_the_batches_before_are_kept(
    pieces, straight, path, lazy, extended, error
):
    with pytest.raises(type(error)) as caught:
        stream(until(pieces, 9, error), checkpoint=str(path))
    assert caught.value is error
    assert held(path) == 9
    assert same_bits(stream(pieces, checkpoint=str(path)), straight)
    assert len(extended) == PIECES


@pytest.mark.parametrize("number", [1, PIECES - 1])
def test_a_stream_may_stop_anywhere(pieces, straight, path, lazy, number):
    interrupted(pieces, number, path)
    assert held(path) == number
    assert same_bits(stream(pieces, checkpoint=str(path)), straight)
