"""Named arrays and settings in one file: safetensors, with a checksum of every byte.

`safetensors.numpy.load_file` reads the arrays. Settings are a JSON text under `hgn_jax` in
the header's `__metadata__`: format, version, the release that wrote the file, content, and the
SHA-256 of the whole file, computed with its own 64 digits set to zero. Files hold no code.
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
    """Kind of a file, and version of its layout."""

    name: str
    version: int


def write(
    path: str | os.PathLike[str], format: Format, content: dict[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Writes a file atomically: the new file is complete, or the previous one remains.

    **Raises:** `TypeError` for arrays of a dtype that cannot be saved; `OSError` as
    `atomic.write` does.
    """
    header = {
        "sha256": _NO_SUM,  # before the content, which might hold the same digits
        "format": format.name,
        "format_version": format.version,
        "hgn_jax": version("hgn-jax"),
        **content,
    }
    # A single metadata entry: safetensors writes several in random order.
    raw = with_header(
        # JSON, because metadata of safetensors are strings.
        {name: _savable(name, a) for name, a in arrays.items()},
        {"hgn_jax": json.dumps(header)},
    )
    start = raw.index(_NO_SUM.encode())
    view = memoryview(raw)  # slices of bytes would copy the arrays
    digits = hashlib.sha256(raw).hexdigest().encode()
    atomic.write(path, [view[:start], digits, view[start + len(digits) :]])


def begins_as_ours(path: str | os.PathLike[str]) -> bool:
    """True if the file begins as `write` begins it, whatever follows.

    **Raises:** `OSError` if it cannot be opened.
    """
    with open(path, "rb") as file:
        return b'{"__metadata__":{"hgn_jax":' in file.read(64)


def read(path: str | os.PathLike[str], format: Format) -> tuple[dict[str, Any], dict[str, Array]]:
    """Reads settings and arrays, bitwise identical to those that were written.

    **Raises:** `ValueError` naming the file if it is of another format or version, truncated,
    altered, or in 64 bit while JAX is set to 32.
    """
    with open(path, "rb") as file:
        raw = file.read()
    try:
        # A safetensors file: eight bytes for the length of the header, then the header.
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
    """Arrays of a tree by their paths, such as "layers.0.weight"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    arrays = {_dotted(path): leaf for path, leaf in leaves}
    if len(arrays) < len(leaves):  # the key of a dict may contain a dot
        raise ValueError(
            f"two arrays have the same path, among {[_dotted(path) for path, _ in leaves]}"
        )
    return arrays


def filled(shapes: PyTree, arrays: Mapping[str, Any]) -> PyTree:
    """The tree with its leaves (arrays or `jax.ShapeDtypeStruct`s) replaced by `arrays`, by path.

    **Raises:** `ValueError` if names, shapes or dtypes differ.
    """
    expected = {name: (a.shape, a.dtype) for name, a in named(shapes).items()}
    if expected != {name: (a.shape, a.dtype) for name, a in arrays.items()}:
        raise ValueError("arrays of other names, shapes or precision")
    return jax.tree_util.tree_map_with_path(lambda path, _: arrays[_dotted(path)], shapes)


def _dotted(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _savable(name: str, array: Any) -> np.ndarray:
    values = np.asarray(array)
    if values.dtype.name not in _DTYPES:
        raise TypeError(f"cannot save array {name!r} of {values.dtype}")
    # `ascontiguousarray` makes arrays of one axis from scalars.
    return np.ascontiguousarray(values).reshape(values.shape)


def _checksum(raw: bytes, stated: str) -> str | None:
    """Checksum of a file in which one is stated; None if that is no checksum."""
    digits = stated.encode()
    start = raw.find(digits)
    if len(digits) != len(_NO_SUM) or start < 0:
        return None
    checksum = hashlib.sha256(raw[:start] + _NO_SUM.encode())
    checksum.update(memoryview(raw)[start + len(digits) :])
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
