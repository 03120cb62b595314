"""Files that are read one after another, for data larger than memory."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jraph import GraphsTuple

from ..graphs.pieces import packs

BODIES = 4000
"""Bodies of one batch: enough rows for QR at full speed."""
BATCHES = 5
"""Least number of batches of a file, so that each fold of a cross-validation gets some frames."""


def batches_of(files: Sequence[Path], read: Callable[[Path], GraphsTuple]) -> Iterator[GraphsTuple]:
    """Batches of all files, one of which is held in memory. Errors name the file."""
    for file in files:
        try:
            data = read(file)
        except ValueError as error:
            named = str(file) in str(error)
            raise error if named else ValueError(f"{file}: {error}") from error
        yield from packs(data, min(BODIES, -(-len(data.nodes["position"]) // BATCHES)))
