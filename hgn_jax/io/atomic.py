"""Atomic writes: a file is written completely, or not at all."""

import errno
import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .lock import is_at, try_lock

Name = str | os.PathLike[str]


def write(path: Name, pieces: Iterable[bytes | memoryview]) -> None:
    """Writes the pieces one after the other: the new file is complete, or the previous one remains.

    Symbolic links are followed, and an existing file keeps its mode. Temporary files of killed
    processes that wrote the same file are removed.

    **Raises:** `OSError` naming `path` if its folder does not exist or cannot be written, if it is
    not a regular file, or if the disk is full.
    """
    with through(path) as temporary, open(temporary, "r+b") as file:
        for piece in pieces:
            file.write(piece)


@contextmanager
def through(path: Name) -> Iterator[Path]:
    """An empty temporary file that replaces the file at `path` at the end of the `with` statement.

    If that raises, the previous file remains. Links, modes and errors are those of `write`.
    """
    try:
        with _through(Path(os.path.realpath(path)), path) as temporary:
            yield temporary
    except OSError as error:
        if error.errno is None:  # it holds words only
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def hidden_name(target: Path) -> str:
    """Prefix of the helper files beside `target`: short, however long its own name is."""
    return f".hgn-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]}"


def check_folder(path: Name) -> None:
    """Raises `FileNotFoundError` if the folder of a file, or of a link's target, does not exist."""
    target = Path(os.path.realpath(path))
    if not target.parent.exists():
        folder = target.parent if os.path.islink(path) else Path(path).parent
        words = f"folder {os.fspath(folder)!r} does not exist"
        raise FileNotFoundError(errno.ENOENT, words, os.fspath(path)) from None


@contextmanager
def _through(target: Path, path: Name) -> Iterator[Path]:
    mode = _mode(target, path)
    # Unlike the file's own name, the hash has no character that glob would interpret.
    for stale in target.parent.glob(f"{hidden_name(target)}-*.tmp"):
        _remove_if_stale(stale)
    # Writable by this process, even if the file to be replaced is read-only.
    temporary, descriptor = _new(target, 0o666 if mode is None else mode | 0o600)
    try:
        with os.fdopen(descriptor, "r+b") as held:  # its lock marks the file as in use
            yield temporary
            os.fsync(held.fileno())  # a crash after the rename must not leave an empty file
            if mode is not None:
                os.chmod(temporary, mode)  # the umask applied when it was created
            if sys.platform == "win32":  # cannot rename an open file
                held.close()
            os.replace(temporary, target)
    except BaseException:  # an interrupt leaves no temporary file either
        temporary.unlink(missing_ok=True)
        raise


def _mode(target: Path, path: Name) -> int | None:
    """Permissions of the file to be replaced; None if there is none."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        check_folder(path)
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, expected a file")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file")
    return stat.S_IMODE(status.st_mode)


def _new(target: Path, mode: int) -> tuple[Path, int]:
    """Creates a temporary file, locked while this process writes it."""
    # Without O_BINARY, Windows would translate newlines.
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        name = f"{hidden_name(target)}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
        path = target.with_name(name)
        descriptor = os.open(path, flags, mode)
        locked = True
        with suppress(OSError):  # without locks, no other process removes it as stale
            locked = try_lock(descriptor)
        # Another process may have locked, and removed, the file before this one could lock it.
        if locked and is_at(descriptor, path):
            return path, descriptor
        os.close(descriptor)


def _remove_if_stale(temporary: Path) -> None:
    """Removes a temporary file, unless a live process holds its lock."""
    with suppress(OSError):
        descriptor = os.open(temporary, os.O_RDWR)
        try:
            if try_lock(descriptor):
                temporary.unlink()
        finally:
            os.close(descriptor)
