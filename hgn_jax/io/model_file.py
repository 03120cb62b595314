"""Models as files: a readable header, the arrays' bytes, and no code.

The header's content is the tree of modules with their settings. Loading builds only the classes
listed here.
"""

import dataclasses
import os
from typing import Any

import equinox as eqx

from ..features import compressed, curves, dense, external, kinetic, message_passing, pair
from ..models.equations_of_motion import Canonical
from ..models.network import HamiltonianGraphNetwork
from . import array_file

FORMAT = array_file.Format("hgn-jax model", 1)

_CLASSES: dict[str, type[eqx.Module]] = {
    cls.__name__: cls
    for cls in (
        HamiltonianGraphNetwork,
        Canonical,
        compressed.CompressedKineticFeatures,
        compressed.CompressedPairFeatures,
        curves.Chebyshev,
        curves.Spline,
        dense.Dense,
        external.ExternalFeatures,
        kinetic.KineticFeatures,
        message_passing.MessagePassingFeatures,
        pair.PairFeatures,
    )
}


def save(path: str | os.PathLike[str], model: HamiltonianGraphNetwork) -> None:
    """Writes a model, atomically: the file is complete, or what was there before remains.

    **Raises:** `TypeError` for a module that is not a learned model; `OSError` if the disk is
    full or the folder not writable.
    """
    arrays: list[Any] = []
    tree = _pack(model, arrays)
    array_file.write(path, FORMAT, {"model": tree}, arrays)


def load(path: str | os.PathLike[str]) -> HamiltonianGraphNetwork:
    """Reads a model, bit for bit as it was saved. No code from the file is run.

    **Raises:** `ValueError` naming the file if it is not a model, of another version, truncated,
    altered, or in 64 bit while JAX is set to 32.
    """
    header, arrays = array_file.read(path, FORMAT)
    try:
        model = _unpack(path, header["model"], arrays)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: altered: its modules do not fit together ({error})") from None
    if not isinstance(model, HamiltonianGraphNetwork):
        raise ValueError(f"{path}: holds {type(model).__name__}, not a HamiltonianGraphNetwork")
    if not len(model.terms) == len(model.theta) == len(model.constants):
        raise ValueError(f"{path}: altered: features and coefficients disagree in number")
    return model


def _pack(node: Any, arrays: list[Any]) -> Any:
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
        arrays.append(node)
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
