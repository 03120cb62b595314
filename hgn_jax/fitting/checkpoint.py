"""Checkpoint file of an unfinished stream."""

import os
from collections.abc import Sequence
from typing import Any

import jax
from jraph import GraphsTuple

from ..io import array_file
from ..io.checkpoint import Checkpoint, numbered
from ..io.digest import digest
from .equations import Equations
from .reduction import Reduction

FORMAT = array_file.Format("hgn-jax checkpoint", 1)


class StreamCheckpoint:
    """Reductions and the number of batches in them."""

    def __init__(
        self, path: str | os.PathLike[str], equations: Equations, devices: int = 1
    ) -> None:
        file = numbered(path)
        self._run = Checkpoint(file, file, FORMAT, equations, **{"number of devices": devices})
        self.last: str | None = None
        """Digest of the last batch in the reductions, if known."""

    def __enter__(self) -> "StreamCheckpoint":
        self._run.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._run.__exit__(*error)

    def read(self, reductions: Sequence[Reduction]) -> tuple[tuple[Reduction, ...], int]:
        """Returns the file's reductions and number of batches, or `reductions` and 0 if there is
        no file.

        **Raises:** `ValueError` if it is damaged or belongs to another fit.
        """
        held = self._run.read()
        if held is None:
            return tuple(reductions), 0
        header, arrays = held
        # Another ridge may follow, but not another form of the factors.
        if header["factors"] != _form(reductions):
            self._run.refuse("other factorisation of the rows by the solver")
        self.last = header["last"]
        return array_file.filled(tuple(reductions), arrays), int(header["batches"])

    def recognise(self, batch: GraphsTuple) -> None:
        """Raises `ValueError` if this is not the last batch that the file holds."""
        if self.last not in (None, digest(batch)):  # None: which batch it was is unknown
            self._run.refuse("other batches")

    @property
    def due(self) -> bool:
        """True if it is time to write."""
        return self._run.due

    def write(self, reductions: Sequence[Reduction], batches: int, last: str | None) -> None:
        """Writes reductions; `last` is the digest of the last of their batches, if known.

        **Raises:** `OSError` naming the file; the previous checkpoint remains.
        """
        with self._run.writing(f"after {batches} batches"):
            content = {"batches": batches, "last": last, "factors": _form(reductions)}
            self._run.write(content, array_file.named(tuple(reductions)))


def _form(reductions: Sequence[Reduction]) -> str:
    """Digest of the structure, shapes and dtypes of the reductions."""
    leaves, structure = jax.tree.flatten(tuple(reductions))
    return digest([str(structure), *((a.shape, str(a.dtype)) for a in leaves)])
