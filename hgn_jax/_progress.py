"""Progress of a long computation, reported to a user-defined function."""

import time
from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """Progress of a stream, rollout or training. `str` formats it as one line."""

    done: int
    """Units that are done."""
    total: int | None
    """Units in all; None if unknown."""
    seconds: float
    """Seconds since the start."""
    left: float | None
    """Seconds left at the pace so far, compilation excluded; None if unknown."""
    what: str
    """Unit of `done` and `total`: "batch", "step" or "epoch"."""
    detail: str = ""
    """Additional information: "compiling", or losses."""

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        left = f", {_words(self.left)} left" if self.left else ""
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.what} {self.done}{of}, {_words(self.seconds)}{left}{detail}"


class Reporter:
    """Calls the user's function at the start, at most once a second, and at the end."""

    def __init__(
        self, function: Callable[[Progress], object] | None, what: str, total: int | None
    ) -> None:
        self._function, self._what, self._total = function, what, total
        self._start = self._last = time.perf_counter()
        self._first: tuple[int, float] | None = None

    def compiling(self, done: int = 0) -> None:
        """Reports the start. `done` units are done already if the computation is resumed."""
        if self._function is not None and done != self._total:
            seconds = time.perf_counter() - self._start
            self._function(Progress(done, self._total, seconds, None, self._what, "compiling"))

    def __call__(self, done: int, detail: str = "", end: bool = False) -> None:
        """Reports that `done` units are done."""
        if self._function is None:
            return
        now = time.perf_counter()
        if self._first is None:  # compilation ends with the first units
            self._first = done, now
        if now - self._last < 1 and not end:
            return
        self._last = now
        left = self._left(done, now)
        seconds = now - self._start
        self._function(Progress(done, self._total, seconds, left, self._what, detail))

    def _left(self, done: int, now: float) -> float | None:
        assert self._first is not None
        units, seconds = done - self._first[0], now - self._first[1]
        if self._total is None:
            return None
        if done == self._total:
            return 0.0
        return seconds / units * (self._total - done) if units else None


def _words(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"
