"""Arrays and a readable header in one file, written whole or not at all, read without code.

A file is one line of JSON, then the arrays' bytes one after the other, little-endian. The header
names format, version, the content, each array's dtype and shape, and the SHA-256 of all that
follows it and of itself.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_DTYPES = {"<f4", "<f8", "<i4", "<i8", "|b1"}


class Format(NamedTuple):
    """What a file says that it is."""

    name: str
    version: int


def write(
    path: str | os.PathLike[str], format: Format, content: dict[str, Any], arrays: Sequence[Any]
) -> None:
    """Writes atomically: the file is complete, or what was there before remains.

    **Raises:** `TypeError` for arrays of a dtype that has no place here; `OSError` if the disk is
    full or the folder not writable.
    """
    values = [_little_endian(a) for a in arrays]
    payload = b"".join(a.tobytes() for a in values)
    header = {
        "format": format.name,
        "format_version": format.version,
        "hgn_jax": version("hgn-jax"),
        **content,
        "arrays": [{"dtype": a.dtype.str, "shape": list(a.shape)} for a in values],
    }
    header["sha256"] = _digest(header, payload)
    line = json.dumps(header, ensure_ascii=True).encode() + b"\n"
    target = Path(path)
    descriptor, name = tempfile.mkstemp(prefix=target.name + ".", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(line)
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read(path: str | os.PathLike[str], format: Format) -> tuple[dict[str, Any], list[jax.Array]]:
    """Header and arrays, bit for bit as they were written.

    **Raises:** `ValueError` naming the file if it is of another format or version, truncated,
    altered, or in 64 bit while JAX is set to 32.
    """
    with open(path, "rb") as file:
        line, payload = file.readline(), file.read()
    try:
        header = json.loads(line)
        stated = header.pop("sha256")
        kind, number = header["format"], header["format_version"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{path}: not an {format.name} (no readable header)") from None
    if kind != format.name:
        raise ValueError(f"{path}: not an {format.name} but {kind!r}")
    if number != format.version:
        raise ValueError(
            f"{path}: format version {number}, this hgn-jax reads {format.version}; load it with "
            f"hgn-jax {header.get('hgn_jax', '(unknown)')} or train again"
        )
    if not isinstance(header.get("arrays"), list):
        raise ValueError(f"{path}: damaged: no list of arrays in the header")
    expected = sum(_size(path, a) for a in header["arrays"])
    if len(payload) != expected:
        raise ValueError(
            f"{path}: truncated or damaged: {len(payload)} bytes of arrays, expected {expected}"
        )
    if _digest(header, payload) != stated:
        raise ValueError(f"{path}: altered or damaged: its checksum does not match")
    arrays, start = [], 0
    for entry in header["arrays"]:
        stop = start + _size(path, entry)
        values = np.frombuffer(payload[start:stop], entry["dtype"]).reshape(entry["shape"])
        array = jnp.asarray(values)
        if array.dtype != values.dtype:
            raise ValueError(
                f"{path}: saved in 64 bit, but JAX is set to 32: call "
                'jax.config.update("jax_enable_x64", True) first'
            )
        arrays.append(array)
        start = stop
    return header, arrays


def _little_endian(array: Any) -> np.ndarray:
    values = np.asarray(array)
    dtype = values.dtype.newbyteorder("<")
    if dtype.str not in _DTYPES:
        raise TypeError(f"cannot save arrays of {values.dtype}")
    return np.ascontiguousarray(values.astype(dtype)).reshape(values.shape)


def _digest(header: dict[str, Any], payload: bytes) -> str:
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode() + payload).hexdigest()


def _size(path: str | os.PathLike[str], entry: Any) -> int:
    if not isinstance(entry, dict) or not {"dtype", "shape"} <= entry.keys():
        raise ValueError(f"{path}: damaged: array {entry!r}")
    if entry["dtype"] not in _DTYPES or not all(
        isinstance(k, int) and k >= 0 for k in entry["shape"]
    ):
        raise ValueError(f"{path}: damaged: array of {entry['dtype']!r} {entry['shape']!r}")
    return int(np.prod(entry["shape"], dtype=int)) * np.dtype(entry["dtype"]).itemsize


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
