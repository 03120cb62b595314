"""Models as files: a readable header, the arrays' bytes, and no code.

A file is one line of JSON, then the arrays' bytes one after the other, little-endian. The header
names format, version, the tree of modules with their settings, each array's dtype and shape, and
the SHA-256 of all that follows it and of itself. Loading builds only the classes listed here.
"""

import dataclasses
import hashlib
import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .features import dense, external, kinetic, message_passing, pair
from .hamiltonian import HamiltonianGraphNetwork
from .structure import Hamiltonian

FORMAT = "hgn-jax model"
FORMAT_VERSION = 1

_CLASSES: dict[str, type[eqx.Module]] = {
    cls.__name__: cls
    for cls in (
        HamiltonianGraphNetwork,
        Hamiltonian,
        dense.Dense,
        external.ExternalFeatures,
        kinetic.KineticFeatures,
        message_passing.MessagePassingFeatures,
        pair.PairFeatures,
    )
}
_DTYPES = {"<f4", "<f8", "<i4", "<i8"}


def save(path: str | os.PathLike[str], model: HamiltonianGraphNetwork) -> None:
    """Writes a model, atomically: the file is complete, or what was there before remains.

    **Raises:** `TypeError` for a module that is not a learned model; `OSError` if the disk is
    full or the folder not writable.
    """
    arrays: list[np.ndarray] = []
    tree = _pack(model, arrays)
    payload = b"".join(a.tobytes() for a in arrays)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "hgn_jax": version("hgn-jax"),
        "model": tree,
        "arrays": [{"dtype": a.dtype.str, "shape": list(a.shape)} for a in arrays],
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


def load(path: str | os.PathLike[str]) -> HamiltonianGraphNetwork:
    """Reads a model, bit for bit as it was saved. No code from the file is run.

    **Raises:** `ValueError` naming the file if it is not a model, of another version, truncated,
    altered, or in 64 bit while JAX is set to 32.
    """
    with open(path, "rb") as file:
        line, payload = file.readline(), file.read()
    try:
        header = json.loads(line)
        stated = header.pop("sha256")
        kind, number = header["format"], header["format_version"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{path}: not an hgn-jax model (no readable header)") from None
    if kind != FORMAT:
        raise ValueError(f"{path}: not an hgn-jax model but {kind!r}")
    if number != FORMAT_VERSION:
        raise ValueError(
            f"{path}: format version {number}, this hgn-jax reads {FORMAT_VERSION}; load it with "
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
    try:
        model = _unpack(path, header["model"], arrays)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: altered: its modules do not fit together ({error})") from None
    if not isinstance(model, HamiltonianGraphNetwork):
        raise ValueError(f"{path}: holds {type(model).__name__}, not a HamiltonianGraphNetwork")
    if not len(model.features) == len(model.theta) == len(model.constants):
        raise ValueError(f"{path}: altered: features and coefficients disagree in number")
    return model


def _pack(node: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(node, eqx.Module):
        name = type(node).__name__
        if _CLASSES.get(name) is not type(node):
            raise TypeError(f"cannot save a {name}: only learned models can be saved")
        fields = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}
        return {"class": name, "fields": {k: _pack(v, arrays) for k, v in fields.items()}}
    if isinstance(node, tuple):
        return [_pack(item, arrays) for item in node]
    if node is None or isinstance(node, str | bool | int | float):
        return node
    if eqx.is_array(node) and node.ndim >= 0:
        values = np.asarray(node)
        if values.dtype.newbyteorder("<").str not in _DTYPES:
            raise TypeError(f"cannot save arrays of {values.dtype}")
        arrays.append(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))))
        return {"array": len(arrays) - 1}
    raise TypeError(f"cannot save a {type(node).__name__}: only learned models can be saved")


def _unpack(path: str | os.PathLike[str], node: Any, arrays: list[Any]) -> Any:
    if isinstance(node, list):
        return tuple(_unpack(path, item, arrays) for item in node)
    if not isinstance(node, dict):
        return node
    if "array" in node:
        return arrays[node["array"]]
    if node.get("class") not in _CLASSES:
        raise ValueError(f"{path}: unknown class {node.get('class')!r}")
    fields = {k: _unpack(path, v, arrays) for k, v in node["fields"].items()}
    return _CLASSES[node["class"]](**fields)


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
