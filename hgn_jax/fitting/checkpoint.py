"""The state of an unfinished stream as a file."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import jax
from jraph import GraphsTuple

from ..io import array_file
from ..io.digest import digest
from .equations import Equations
from .reduction import Reduction

FORMAT = array_file.Format("hgn-jax checkpoint", 1)
SHARE = 0.05
"""Of the time that writing may take."""


class Checkpoint:
    """Reductions and the number of batches in them, written often enough and not too often."""

    def __init__(self, path: str | os.PathLike[str], equations: Equations) -> None:
        number = f".{jax.process_index()}" if jax.process_count() > 1 else ""
        self.path = Path(f"{os.fspath(path)}{number}")
        self._digest = digest(equations)
        self.last: str | None = None
        self._written, self._cost = time.perf_counter(), 0.0

    def read(self, reductions: Sequence[Reduction]) -> tuple[tuple[Reduction, ...], int]:
        """What the file holds, or `reductions` and 0 if there is none.

        **Raises:** `ValueError` if it is damaged or of another fit.
        """
        if not self.path.exists():
            return tuple(reductions), 0
        header, arrays = array_file.read(self.path, FORMAT)
        leaves, tree = jax.tree.flatten(tuple(reductions))
        alike = [(a.shape, a.dtype) for a in arrays] == [(a.shape, a.dtype) for a in leaves]
        if header.get("equations") != self._digest or not alike:
            raise ValueError(
                f"{self.path}: the checkpoint of another fit (other first data, key, features, "
                "weights, precision or number of devices): give another path, or remove it"
            )
        self.last = header["last"]
        return jax.tree.unflatten(tree, arrays), int(header["batches"])

    def recognise(self, batch: GraphsTuple) -> None:
        """Raises `ValueError` if this is not the last batch that the file holds."""
        if self.last not in (None, digest(batch)):
            raise ValueError(
                f"{self.path}: the checkpoint of other batches: give the same stream again, "
                "another path, or remove it"
            )

    @property
    def due(self) -> bool:
        return self._cost <= SHARE * (time.perf_counter() - self._written)

    def write(self, reductions: Sequence[Reduction], batches: int, last: str | None) -> None:
        """`last` is the digest of the last of the batches, if known.

        **Raises:** `OSError` naming the file; what was there before remains.
        """
        start = time.perf_counter()
        content = {"equations": self._digest, "batches": batches, "last": last}
        try:
            array_file.write(self.path, FORMAT, content, jax.tree.leaves(tuple(reductions)))
        except OSError as error:
            remains = "what it held remains" if self.path.exists() else "there is none yet"
            raise OSError(
                error.errno,
                f"cannot write the checkpoint after {batches} batches ({error.strerror}); "
                f"{remains}. Make room, or give a folder that can be written",
                os.fspath(self.path),
            ) from error
        self._written = time.perf_counter()
        self._cost = self._written - start
