"""Progress of a long computation, told to a function of the user's."""

import time
from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """How far a stream has come."""

    batches: int
    total: int | None
    """None if the stream does not tell its length."""
    seconds: float
    left: float | None
    """Seconds, at the pace so far."""

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        left = "" if self.left is None else f", {self.left:.0f} s left"
        return f"batch {self.batches}{of}, {self.seconds:.0f} s{left}"


class Reporter:
    """Calls the user's function, not too often."""

    def __init__(self, function: Callable[[Progress], object] | None, total: int | None) -> None:
        self.function, self.total = function, total
        self.start = self.last = time.perf_counter()
        self.resumed = 0

    def __call__(self, batches: int, end: bool = False) -> None:
        now = time.perf_counter()
        if self.function is None or (now - self.last < 1 and not end):
            return
        self.last, seconds = now, now - self.start
        pace = seconds / max(batches - self.resumed, 1)
        left = None if self.total is None else pace * (self.total - batches)
        self.function(Progress(batches, self.total, seconds, left))
