"""Named arrays and settings in one file: safetensors, with a checksum of every byte.

`safetensors.numpy.load_file` reads the arrays. Settings are one text of JSON under `hgn_jax` in
the header's `__metadata__`: format, version, the release that wrote it, content, and the SHA-256
of the whole file, in which the checksum's own 64 digits count as zeros. Nothing in a file is code.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from safetensors import SafetensorError
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save as with_header

from . import atomic

_DTYPES = {"bool", "int32", "int64", "uint32", "float32", "float64"}
_NO_SUM = "0" * 64


class Format(NamedTuple):
    """The kind of a file's content, and the version of its layout."""

    name: str
    version: int


def write(
    path: str | os.PathLike[str], format: Format, content: dict[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Writes atomically: the file is complete, or what was there before remains.

    **Raises:** `TypeError` for arrays of a dtype that cannot be saved; `OSError` as
    `atomic.write` does.
    """
    header = {
        "sha256": _NO_SUM,  # first, to be found first
        "format": format.name,
        "format_version": format.version,
        "hgn_jax": version("hgn-jax"),
        **content,
    }
    # One entry alone: safetensors writes several in random order.
    raw = with_header(
        {name: _savable(name, a) for name, a in arrays.items()}, {"hgn_jax": json.dumps(header)}
    )
    at = raw.index(_NO_SUM.encode())
    view = memoryview(raw)
    digits = hashlib.sha256(raw).hexdigest().encode()
    atomic.write(path, [view[:at], digits, view[at + len(digits) :]])


def read(path: str | os.PathLike[str], format: Format) -> tuple[dict[str, Any], dict[str, Array]]:
    """Settings and arrays, bit for bit as they were written.

    **Raises:** `ValueError` naming the file if it is of another format or version, truncated,
    altered, or in 64 bit while JAX is set to 32.
    """
    with open(path, "rb") as file:
        raw = file.read()
    try:
        # Eight bytes of the header's length, then the header.
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        header = json.loads(header["__metadata__"]["hgn_jax"])
        stated, kind, number = header["sha256"], header["format"], header["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{path}: not an {format.name} (no readable header)") from None
    if kind != format.name:
        raise ValueError(f"{path}: not an {format.name} but {kind!r}")
    if number != format.version:
        raise ValueError(
            f"{path}: format version {number}, this hgn-jax reads {format.version}; load it with "
            f"hgn-jax {header.get('hgn_jax', '(unknown)')} or train again"
        )
    if not isinstance(stated, str) or stated != _checksum(raw, stated):
        raise ValueError(f"{path}: truncated, altered or damaged: its checksum does not match")
    try:
        values = arrays_of(raw)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: damaged: {error}") from None
    return header, {name: _as_jax(path, name, a) for name, a in values.items()}


def named(tree: PyTree) -> dict[str, Any]:
    """The tree's arrays by their places in it, such as "layers.0.weight"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    arrays = {_place(path): leaf for path, leaf in leaves}
    if len(arrays) < len(leaves):
        raise ValueError(f"two arrays of one name among {[_place(path) for path, _ in leaves]}")
    return arrays


def filled(shapes: PyTree, arrays: Mapping[str, Any]) -> PyTree:
    """The tree with these arrays in the places of its arrays or `jax.ShapeDtypeStruct`s.

    **Raises:** `ValueError` if names, shapes or dtypes differ.
    """
    expected = {name: (a.shape, a.dtype) for name, a in named(shapes).items()}
    if expected != {name: (a.shape, a.dtype) for name, a in arrays.items()}:
        raise ValueError("arrays of other names, shapes or precision")
    return jax.tree_util.tree_map_with_path(lambda path, _: arrays[_place(path)], shapes)


def _place(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _savable(name: str, array: Any) -> np.ndarray:
    values = np.asarray(array)
    if values.dtype.name not in _DTYPES:
        raise TypeError(f"cannot save array {name!r} of {values.dtype}")
    return np.ascontiguousarray(values).reshape(values.shape)


def _checksum(raw: bytes, stated: str) -> str:
    digits = stated.encode()
    at = raw.find(digits)
    if len(digits) != len(_NO_SUM) or at < 0:
        return "none"
    checksum = hashlib.sha256(raw[:at] + _NO_SUM.encode())
    checksum.update(memoryview(raw)[at + len(digits) :])
    return checksum.hexdigest()


def _as_jax(path: str | os.PathLike[str], name: str, values: np.ndarray) -> Array:
    if values.dtype.name not in _DTYPES:
        raise ValueError(f"{path}: damaged: array {name!r} of {values.dtype}")
    array = jnp.asarray(values)
    if array.dtype != values.dtype:
        raise ValueError(
            f"{path}: saved in 64 bit, but JAX is set to 32: call "
            'jax.config.update("jax_enable_x64", True) first'
        )
    return array
