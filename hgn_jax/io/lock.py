"""Locks on open files, which the operating system releases when their process dies."""

import os
import sys

if sys.platform == "win32":
    import msvcrt

    _HELD: type[OSError] = OSError

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    _HELD = BlockingIOError

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def try_lock(descriptor: int) -> bool:
    """Locks an open file; returns False if it is locked already, by whomever.

    **Raises:** `OSError` if the file system has no locks.
    """
    try:
        _lock(descriptor)
    except _HELD:
        return False
    return True


def is_at(descriptor: int, path: str | os.PathLike[str]) -> bool:
    """Returns whether the open file still has that path: another process may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
