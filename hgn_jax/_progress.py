"""Progress of a long computation, reported to a function of the user's."""

import time
from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """How far a stream, rollout or training has come. `str` makes a line of it."""

    done: int
    total: int | None
    """None if a stream does not tell its length."""
    seconds: float
    """Since the start."""
    left: float | None
    """Seconds that remain at the pace so far, compilation left out; None if unknown."""
    what: str
    """The pieces that are counted: "batch", "step" or "epoch"."""
    detail: str = ""
    """Further news: "compiling", or losses."""

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
        """Reports the start, `done` pieces into the computation if it is resumed."""
        if self._function is not None and done != self._total:
            seconds = time.perf_counter() - self._start
            self._function(Progress(done, self._total, seconds, None, self._what, "compiling"))

    def __call__(self, done: int, detail: str = "", end: bool = False) -> None:
        """Reports that so many pieces are done."""
        if self._function is None:
            return
        now = time.perf_counter()
        if self._first is None:  # compilation ends with the first pieces
            self._first = done, now
        if now - self._last < 1 and not end:
            return
        self._last = now
        left = self._left(done, now)
        seconds = now - self._start
        self._function(Progress(done, self._total, seconds, left, self._what, detail))

    def _left(self, done: int, now: float) -> float | None:
        assert self._first is not None
        pieces, seconds = done - self._first[0], now - self._first[1]
        if self._total is None:
            return None
        if done == self._total:
            return 0.0
        return seconds / pieces * (self._total - done) if pieces else None


def _words(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"
