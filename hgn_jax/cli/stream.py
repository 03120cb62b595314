"""Fits to files that are read one after another, for data larger than memory."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jraph import GraphsTuple

from ..fitting.result import Fit
from ..fitting.stream import fit_stream
from ..graphs.pieces import packs
from .screen import progress

BODIES = 4000
"""Bodies of one batch: enough rows for QR at full speed."""
BATCHES = 5
"""Least number of batches of a file, so that each fold of a cross-validation gets some frames."""

Read = Callable[[Sequence[Path]], GraphsTuple]


def fit_files(
    files: Sequence[Path],
    read: Read,
    how: Callable[[GraphsTuple], dict[str, Any]],
    *,
    test: bool,
    checkpoint: str | None,
) -> tuple[Fit, GraphsTuple, GraphsTuple | None]:
    """Fit to all files, or if `test` to all but the last of several; the data of the first one,
    from which features are sampled and `how` to fit is decided; and those of the test."""
    held_out = files[-1:] if test and len(files) > 1 else []  # a single file is needed to train
    first = read(files[:1])
    with progress("fit") as report:
        fitted = fit_stream(
            _batches(files[: len(files) - len(held_out)], read), sample_from=first,
            checkpoint=checkpoint, progress=report, **how(first),
        )  # fmt: skip
    return fitted, first, read(held_out) if held_out else None


def _batches(files: Sequence[Path], read: Read) -> Iterator[GraphsTuple]:
    """Batches of all files, one of which is held in memory. Errors name the file."""
    for file in files:
        try:
            data = read([file])
        except ValueError as error:
            if str(file) in str(error):
                raise
            raise ValueError(f"{file}: {error}") from error
        yield from packs(data, min(BODIES, -(-len(data.nodes["position"]) // BATCHES)))
