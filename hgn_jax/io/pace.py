"""Pace of the writes of a run: they take a small fraction of its time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Pace:
    """Time of the last write, and the time that it took (s)."""

    def __init__(self) -> None:
        self._written, self._cost = time.perf_counter(), 0.0

    def due(self, share: float) -> bool:
        """True if a write now takes at most this fraction of the time since the last one."""
        return self._cost <= share * (time.perf_counter() - self._written)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Measures the time of a write. One that fails does not count."""
        start = time.perf_counter()
        yield
        self._written = time.perf_counter()
        self._cost = self._written - start
