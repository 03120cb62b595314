"""Checkpoint of a run: its lock, the identity of the run, and how often it is written."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import jax
from jaxtyping import Array

from . import array_file
from .digest import digest
from .file_lock import FileLock
from .pace import Pace

SHARE = 0.05
"""Greatest fraction of the run time spent on writing."""


def numbered(path: str | os.PathLike[str]) -> Path:
    """The path; under `jax.distributed` the number of this process is appended."""
    number = f".{jax.process_index()}" if jax.process_count() > 1 else ""
    return Path(f"{os.fspath(path)}{number}")


class Checkpoint:
    """File from which a run is resumed, if the same call made it.

    Use it in a `with` statement, which holds a lock: a second run is refused. The operating system
    releases the lock if the process dies.
    """

    def __init__(
        self, path: Path, file: Path, format: array_file.Format, call: Any, **numbers: int
    ) -> None:
        """`path` appears in errors, `file` is written. The fields of the dataclass `call`, and
        `numbers`, identify the run."""
        self.path, self._file, self._format = path, file, format
        # Each process writes its own share of the run.
        numbers |= {"number of processes": jax.process_count()}
        fields = {f.name: getattr(call, f.name) for f in dataclasses.fields(call)}
        # One digest per field, so that an error names the fields that differ.
        self._call = {name: digest(value) for name, value in (fields | numbers).items()}
        self._lock = FileLock(file, path, "checkpoint")
        self._pace = Pace()

    def __enter__(self) -> "Checkpoint":
        """Locks the checkpoint.

        **Raises:** `RuntimeError` if another run holds the lock; `OSError` naming the path if its
        folder cannot be written.
        """
        # A folder that cannot be written is reported now, not at the first checkpoint.
        with self.writing("at the start"):
            self._lock.lock()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def read(self) -> tuple[dict[str, Any], dict[str, Array]] | None:
        """Content and arrays of the file; None if there is none.

        **Raises:** `ValueError` naming the path if the file is damaged or of another run.
        """
        if not self._file.exists():
            return None
        header, arrays = array_file.read(self._file, self._format)
        stored = header.get("call")
        if not isinstance(stored, dict):
            raise ValueError(f"{self._file}: damaged: it does not say which run made it")
        names = sorted(
            k for k in stored.keys() | self._call.keys() if stored.get(k) != self._call.get(k)
        )
        if names:
            self.refuse(", ".join(f"other {name}" for name in names))
        return header, arrays

    def refuse(self, difference: str) -> NoReturn:
        """Raises a `ValueError` for the checkpoint of another run."""
        raise ValueError(
            f"{self.path}: the checkpoint of another run ({difference}): repeat the call that made "
            "it, give another path, or remove it"
        )

    @property
    def due(self) -> bool:
        """True if a write now would cost little of the time since the last one."""
        return self._pace.due(SHARE)

    def write(self, content: dict[str, Any], arrays: Mapping[str, Any]) -> None:
        """Replaces the file by this content and these arrays."""
        array_file.write(self._file, self._format, content | {"call": self._call}, arrays)

    @contextmanager
    def writing(self, when: str) -> Iterator[None]:
        """Measures the time of a write, and adds to an `OSError` what is left of the checkpoint."""
        try:
            with self._pace.writing():
                yield
        except OSError as error:
            remains = "the previous one remains" if self._file.exists() else "there is none yet"
            raise OSError(
                error.errno,
                f"cannot write the checkpoint {when} ({error.strerror}); {remains}. Free "
                "disk space, or give a folder that can be written; the same call resumes",
                os.fspath(self.path),
            ) from error
