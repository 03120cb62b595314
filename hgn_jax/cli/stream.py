"""Fits to files that are read one after another, for data larger than memory."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
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
    first, *others = files[: len(files) - len(held_out)]
    data = _named(first, read)
    # Generators: apart from the first file, one at a time is held in memory.
    every = chain([data], (_named(file, read) for file in others))
    with progress("fit") as report:
        fitted = fit_stream(
            (batch for each in every for batch in _batches(each)), sample_from=data,
            checkpoint=checkpoint, progress=report, **how(data),
        )  # fmt: skip
    return fitted, data, _named(held_out[0], read) if held_out else None


def _named(file: Path, read: Read) -> GraphsTuple:
    """Data of the file, whose name stands in every error."""
    try:
        return read([file])
    except ValueError as error:
        if str(file) in str(error):
            raise
        raise ValueError(f"{file}: {error}") from error


def _batches(data: GraphsTuple) -> Iterator[GraphsTuple]:
    return packs(data, min(BODIES, -(-len(data.nodes["position"]) // BATCHES)))
