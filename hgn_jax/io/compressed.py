"""Text files that may be compressed."""

import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
DAMAGE = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError)
"""Errors of files that are cut off, or no text."""


def opener_of(path: str | os.PathLike[str]) -> Callable[..., Any]:
    """Function that opens the file, by its suffix."""
    return OPENERS.get(os.path.splitext(os.fspath(path))[1].lower(), open)


def bare_suffix(path: str | os.PathLike[str]) -> str:
    """Suffix in lower case, without that of a compression."""
    stem, suffix = os.path.splitext(os.fspath(path))
    return (os.path.splitext(stem)[1] if suffix.lower() in OPENERS else suffix).lower()


@contextmanager
def opened(path: str | os.PathLike[str], name: str) -> Iterator[Any]:
    """The text of a file. Damage is a `ValueError` that begins with `name`."""
    try:
        with opener_of(path)(path, "rt", encoding="utf-8") as file:
            yield file
    except DAMAGE as error:
        raise ValueError(f"{name}: {error}: is the file truncated, or not text?") from error
