"""Writes of a run wait until they have become a small part of its time."""

import pytest

from hgn_jax.io import pace


@pytest.fixture
def clock(monkeypatch):
    """Clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(pace.time, "perf_counter", lambda: now[0])
    return now


def test_a_write_is_due_once_it_takes_a_small_share_of_the_time_since_the_last(clock):
    own = pace.Pace()
    assert own.due(0.1)
    clock[0] = 110.0
    with own.writing():
        clock[0] = 112.0
    for now, due in ((112.0, False), (131.9, False), (132.1, True)):
        clock[0] = now
        assert own.due(0.1) == due
    assert own.due(0.2) and not own.due(0.05)


def test_a_write_that_fails_does_not_count(clock):
    own = pace.Pace()
    with own.writing():
        clock[0] = 101.0
    with pytest.raises(OSError, match="full"), own.writing():
        clock[0] = 105.0
        raise OSError("disk full")
    assert own.due(0.25) and not own.due(0.24)
