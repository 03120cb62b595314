"""Locks on open files, which the operating system releases when their process dies."""

import errno
import os
import socket
import sys
from contextlib import suppress

if sys.platform == "win32":
    import msvcrt

    _HELD: type[OSError] = OSError  # Windows has no error of its own for a held lock

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    _HELD = BlockingIOError

    def _lock(descriptor: int) -> None:
        # Not lockf, whose locks belong to the process: it could lock the file twice.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def try_lock(descriptor: int) -> bool:
    """Locks an open file. Returns False if any process, this one included, holds its lock.

    **Raises:** `OSError` if the file system has no locks.
    """
    try:
        _lock(descriptor)
    except _HELD:
        return False
    return True


def is_at(descriptor: int, path: str | os.PathLike[str]) -> bool:
    """True if that path still is the open file: another process may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def acquire(path: str | os.PathLike[str]) -> int | None:
    """Locks the lock file at `path`, which is created if needed, and writes this process into it.

    Returns the descriptor; closing it releases the lock. Returns None if the file system has no
    locks.

    **Raises:** `BlockingIOError` with the name of the process that holds the lock; `OSError` if the
    file cannot be opened.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = try_lock(descriptor)
        except OSError:
            os.close(descriptor)
            return None
        if not locked:
            owner = b""
            with suppress(OSError):  # Windows forbids reading the locked byte
                owner = os.read(descriptor, 200)
            os.close(descriptor)
            raise BlockingIOError(errno.EWOULDBLOCK, owner.decode(errors="replace") or "unknown")
        # Its last owner may have removed the file before it was locked here: then try again.
        if is_at(descriptor, path):
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
            return descriptor
        os.close(descriptor)
