"""The lock of a file that a run writes: a lock file beside it, gone when the run ends."""

import os
import warnings
from contextlib import suppress
from pathlib import Path

from .atomic import hidden_name
from .lock import acquire


class FileLock:
    """Lock of one file. The operating system releases it if the process dies."""

    def __init__(self, file: Path, path: str | os.PathLike[str], what: str) -> None:
        """`file` is locked; `path` and `what`, such as "checkpoint", name it in errors."""
        self._file, self._path, self._what = file, os.fspath(path), what
        self._held: tuple[Path, int] | None = None

    def lock(self) -> None:
        """Locks the file; warns if the file system has no locks.

        **Raises:** `RuntimeError` if another run holds the lock; `OSError` if its folder cannot be
        written.
        """
        target = Path(os.path.realpath(self._file))
        lock = target.with_name(f"{hidden_name(target)}.lock")
        try:
            descriptor = acquire(lock)
        except BlockingIOError as error:
            raise RuntimeError(
                f"{self._path}: another run ({error.strerror}) is using this {self._what}: wait "
                "until it ends, or give another path"
            ) from None
        if descriptor is not None:
            self._held = lock, descriptor
            return
        warnings.warn(
            f"{self._path}: this file system has no locks: do not start a second run with this "
            f"{self._what}",
            stacklevel=4,
        )

    def release(self) -> None:
        """Releases the lock, if it is held."""
        if self._held is not None:
            path, descriptor = self._held
            # Removed while still locked: afterwards it might be another run's.
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)
            self._held = None
