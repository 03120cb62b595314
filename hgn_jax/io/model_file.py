"""Models as files: their arrays as safetensors, their settings as JSON, and no code."""

import os
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..features.base import AbstractTerm
from ..graphs.builders import from_pairs
from ..models.network import HamiltonianGraphNetwork
from . import array_file
from .modules import pack, unpack

FORMAT = array_file.Format("hgn-jax model", 1)


def save(path: str | os.PathLike[str], model: Any) -> None:
    """Writes a model atomically: the new file is complete, or the previous one remains.

    `model` is a learned model, or a `Fit`, of which the model is saved: not its rows, nor its
    standard deviations.

    Symbolic links are followed, and an existing file keeps its mode. Features, dynamics and
    potentials of your own are saved by the names of their classes. Import these classes before you
    load the file. `safetensors.numpy.load_file` reads the arrays.

    **Raises:** `TypeError` for anything but a learned model; `ValueError` if its arrays do not fit
    together; `OSError` naming the path if it cannot be written.
    """
    if isinstance(getattr(path, "model", path), HamiltonianGraphNetwork):
        raise TypeError('the path comes first: hgn.save("model.hgn", fit)')
    model = getattr(model, "model", model)
    if not isinstance(model, HamiltonianGraphNetwork):
        raise TypeError(f"cannot save a {type(model).__name__}, only a learned model or a fit")
    arrays: dict[str, Any] = {}
    tree = pack(model, arrays)
    _model(tree, dict(arrays))  # raises now if the file could not be loaded
    array_file.write(path, FORMAT, {"model": tree}, arrays)


def load(path: str | os.PathLike[str]) -> HamiltonianGraphNetwork:
    """Reads a model, bitwise identical to the one that was saved.

    Loading runs no code from the file and imports nothing. Import the modules of your own features
    before.

    **Raises:** `ValueError` naming the file if it is not a model, has another version, is truncated
    or altered, names unknown classes, or is in 64 bit while JAX is set to 32.
    """
    header, arrays = array_file.read(path, FORMAT)
    try:
        return _model(header.get("model"), arrays)
    # Checks of the user's classes may raise anything, and deep nesting a RecursionError.
    except Exception as error:
        raise ValueError(f"{path}: {error}") from error


def _model(tree: Any, arrays: dict[str, Any]) -> HamiltonianGraphNetwork:
    model = unpack(tree, arrays)
    if not isinstance(model, HamiltonianGraphNetwork):
        raise ValueError(f"holds a {type(model).__name__}, not a HamiltonianGraphNetwork")
    if arrays:
        raise ValueError(f"holds arrays that belong to no module: {sorted(arrays)}")
    _check_sizes(model)
    return model


def _check_sizes(model: HamiltonianGraphNetwork) -> None:
    """Raises `ValueError` if coefficients or constants do not match the terms; known parts too."""
    if len(model.terms) != len(model.theta):
        raise ValueError(f"{len(model.terms)} terms, but coefficients for {len(model.theta)}")
    for term, theta in zip(model.terms, model.theta):
        columns = _columns(term, theta)
        if columns and theta.shape[-1] not in columns:
            raise ValueError(
                f"{theta.shape[-1]} coefficients for the {columns[-1]} columns of "
                f"{type(term).__name__}"
            )
    count = model.basis.constant_count
    if model.constants.shape[-1:] != (count,):
        raise ValueError(
            f"constants have shape {model.constants.shape}, but the terms need {count}"
        )
    if isinstance(model.basis.known, HamiltonianGraphNetwork):
        _check_sizes(model.basis.known)


def _columns(term: AbstractTerm, theta: Float[Array, "... K"]) -> list[int]:
    """Numbers of columns of a term in the dimensions that it may have, found by tracing it for two
    bodies; none if that fails."""
    if theta.ndim != 1:  # a vmapped model
        return []
    columns: Any = term
    counts = []
    for d in (1, 2, 3) if term.dimension is None else (term.dimension,):
        pair = from_pairs(jnp.zeros((2, d), theta.dtype), [(0, 1)])
        try:
            shapes = eqx.filter_eval_shape(lambda pair=pair: columns(pair))
            counts.append(int(jax.tree.leaves(shapes)[0].shape[-1]))
        except Exception:  # the user's terms may need other dimensions or arrays than these
            continue
    return counts
