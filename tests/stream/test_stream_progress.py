"""Reports of the progress of a stream."""

import re
import time

import numpy as np
import pytest
from streams import held, stream

import hgn_jax as hgn
from hgn_jax.fitting import accumulate


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances only when the test says so."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


class Slow:
    """Batches of 0.4 seconds each, from the given one on."""

    def __init__(self, pieces, clock, start=0):
        self.pieces, self.clock, self.start = pieces, clock, start

    def __len__(self):
        return len(self.pieces)

    def __iter__(self):
        for i, piece in enumerate(self.pieces):
            self.clock[0] += 0.4 * (i >= self.start)
            yield piece


def test_progress_is_told_once_a_second_and_at_the_end(pieces, clock):
    told = []
    stream(Slow(pieces[:11], clock), sample_from=pieces[0], progress=told.append)
    assert all(isinstance(p, hgn.Progress) for p in told)
    assert [p.done for p in told] == [0, 3, 6, 9, 11]
    assert [p.total for p in told] == [11] * 5
    np.testing.assert_allclose([p.seconds for p in told], [0.0, 1.2, 2.4, 3.6, 4.4])
    assert told[0].left is None and told[0].detail == "compiling"
    np.testing.assert_allclose([p.left for p in told[1:]], [3.2, 2.0, 0.8, 0.0], atol=1e-12)


def test_the_time_left_leaves_out_compilation(pieces, clock, monkeypatch):
    """The first batch takes a minute, the others 0.4 seconds."""
    original = accumulate._extended

    def compiled(*args):
        clock[0] += 60 * (len(compiles) == 0)
        compiles.append(args)
        return original(*args)

    compiles, told = [], []
    monkeypatch.setattr(accumulate, "_extended", compiled)
    stream(Slow(pieces[:11], clock), sample_from=pieces[0], progress=told.append)
    assert [p.done for p in told] == [0, 1, 4, 7, 10, 11]
    assert told[1].left is None
    np.testing.assert_allclose([p.left for p in told[2:]], [2.8, 1.6, 0.4, 0.0], atol=1e-12)


def test_generators_do_not_tell_their_length(pieces, clock):
    told = []
    stream(iter(Slow(pieces[:7], clock)), sample_from=pieces[0], progress=told.append)
    assert [p[:2] for p in told] == [(0, None), (3, None), (6, None), (7, None)]
    assert [p.left for p in told] == [None] * 4


def test_progress_goes_on_after_a_checkpoint_at_its_own_pace(pieces, clock, path):
    stream(pieces[:6], checkpoint=str(path))
    told = []
    slow = Slow(pieces[:11], clock, start=6)
    stream(slow, checkpoint=str(path), progress=told.append)
    assert [p.done for p in told] == [6, 9, 11]
    np.testing.assert_allclose([p.left for p in told[1:]], [0.8, 0.0], atol=1e-12)


def test_progress_may_stop_the_stream(pieces, clock, path):
    def stop(progress):
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slow = Slow(pieces, clock)
        stream(slow, sample_from=pieces[0], checkpoint=str(path), progress=stop)
    assert held(path) == 3


def test_progress_reads_well(pieces, capsys):
    assert str(hgn.Progress(3, 11, 1.2, 3.2, "batch")) == "batch 3 of 11, 1 s, 3 s left"
    assert str(hgn.Progress(3, None, 61.7, None, "step", "hot")) == "step 3, 62 s: hot"
    assert str(hgn.Progress(3, 9, 600.0, 9000.0, "epoch")) == "epoch 3 of 9, 10 min, 2.5 h left"
    stream(pieces[:3], progress=print)
    first, *others, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"batch 0 of 3, \d+ s: compiling", first)
    assert all(re.fullmatch(r"batch \d of 3, \d+ s(, \d+ s left)?", line) for line in others)
    assert re.fullmatch(r"batch 3 of 3, \d+ s", last)
