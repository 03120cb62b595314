"""NumPy's `.npz`: trajectories as named arrays, or a whole data set. No pickle is ever loaded."""

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

from ..graphs.schema import AXES
from .names import chosen
from .recording import MOVING, OF_BODIES, OF_PAIRS, Recording

TOPOLOGY = ("senders", "receivers", "n_node", "n_edge")
"""Arrays that mark a whole data set."""


def data_arrays(data: GraphsTuple) -> dict[str, np.ndarray]:
    """Arrays of a data set by the names in its file, such as "nodes/position"."""
    named = {
        f"{part}/{name}": np.asarray(array)
        for part in AXES
        for name, array in getattr(data, part).items()
    }
    return named | {name: np.asarray(getattr(data, name)) for name in TOPOLOGY}


def trajectory_arrays(recordings: Sequence[Recording]) -> dict[str, np.ndarray]:
    """Arrays of trajectories by the names in their file: `[t n d]`, or `[k t n d]` for several.

    **Raises:** `ValueError` if bodies or pairs differ between trajectories.
    """
    first = recordings[0]
    bodies = dict(first.bodies)
    pairs = {} if first.pairs is None else {"edges": first.pairs, **first.of_pairs}
    for other in recordings[1:]:
        theirs = {} if other.pairs is None else {"edges": other.pairs, **other.of_pairs}
        if not _same(bodies | pairs, {**other.bodies, **theirs}):
            raise ValueError(
                f"bodies or pairs of {other.where} differ from those of {first.where}: .npz holds "
                "trajectories of the same bodies; write .h5 instead"
            )

    def stacked(values: Sequence[Any]) -> np.ndarray:
        return np.asarray(values[0]) if len(values) == 1 else np.stack(values)

    moving = {name: stacked([r.moving[name] for r in recordings]) for name in first.moving}
    observed = {
        (name if name == "energy" else f"observed/{name}"): stacked(
            [r.observed[name] for r in recordings]
        )
        for name in first.observed
    }
    cell = {} if first.cell is None else {"cell": stacked([r.cell for r in recordings])}
    times = {} if first.times is None else {"times": stacked([r.times for r in recordings])}
    return times | moving | bodies | pairs | cell | observed


def read_npz(
    path: str | os.PathLike[str], columns: Mapping[str, Any] | None, keep: slice
) -> list[Recording] | GraphsTuple:
    """Trajectories of the file, or the data set that was written whole.

    **Raises:** `ValueError` naming the file if it is damaged, or lacks an array; `OSError` if it
    cannot be opened.
    """
    name = os.path.basename(os.fspath(path))
    # Opened first, so that errors of the system keep their words.
    with open(path, "rb") as raw, _readable(name):
        file = np.load(raw, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("holds one array without a name, expected an .npz of named arrays")
        arrays = {key: file[key] for key in file.files}
    if set(TOPOLOGY) <= arrays.keys():
        return _data(name, arrays)
    names = chosen(name, arrays, columns)
    return trajectories(name, {key: arrays[theirs] for key, theirs in names.items()}, keep)


def from_arrays(
    where: str, arrays: Mapping[str, Any], columns: Mapping[str, Any] | None, keep: slice
) -> list[Recording]:
    """Trajectories from arrays by name, as a file holds them."""
    names = chosen(where, arrays, columns)
    named = {key: np.asarray(arrays[theirs]) for key, theirs in names.items()}
    return trajectories(where, named, keep)


def trajectories(name: str, arrays: dict[str, np.ndarray], keep: slice) -> list[Recording]:
    """Trajectories from arrays under this library's names, `[t n d]` or `[k t n d]`."""
    position, times = arrays["position"], arrays["times"]
    if position.ndim not in (3, 4):
        raise ValueError(f"{name}: position must be [t n d] or [k t n d], got {position.shape}")
    several = position.ndim == 4
    count, frames = position.shape[:2] if several else (1, position.shape[0])
    if times.shape not in ((frames,), (count, frames)):
        raise ValueError(
            f"{name}: times must be [t] = ({frames},), as position is {position.shape}, got "
            f"{times.shape}"
        )
    moving = {key: arrays[key] for key in MOVING if key in arrays}
    for key, values in moving.items():
        if values.shape != position.shape:
            raise ValueError(
                f"{name}: {key} must have the shape of position {position.shape}, got "
                f"{values.shape}"
            )

    def of(k: int, values: np.ndarray, axes: int) -> np.ndarray:
        """Trajectory k of an array that has `axes` axes in one trajectory."""
        return values[k] if values.ndim > axes else values

    def cell_of(k: int) -> np.ndarray | None:
        """Cell of trajectory k, `[d d]`, or `[t d d]` if it changes."""
        if (cell := arrays.get("cell")) is None:
            return None
        own = cell[k] if several and cell.ndim > 2 else cell
        return own[keep] if own.ndim == 3 else own

    energy = arrays.get("energy")
    return [
        Recording(
            where=f"{name}, trajectory {k}" if several else name,
            times=of(k, times, 1)[keep],
            moving={key: of(k, values, 3)[keep] for key, values in moving.items()},
            bodies={key: arrays[key] for key in OF_BODIES if key in arrays},
            pairs=arrays.get("edges"),
            of_pairs={key: arrays[key] for key in OF_PAIRS if key in arrays},
            cell=cell_of(k),
            observed={} if energy is None else {"energy": of(k, energy, 1)[keep]},
        )
        for k in range(count)
    ]


def _data(name: str, arrays: dict[str, np.ndarray]) -> GraphsTuple:
    parts: dict[str, dict[str, Any]] = {part: {} for part in AXES}
    for key, values in arrays.items():
        part, _, of_part = key.partition("/")
        if part in parts and of_part in AXES[part]:
            parts[part][of_part] = jnp.asarray(values)
        elif key not in TOPOLOGY:
            raise ValueError(f"{name}: unknown array {key!r} in a data set")
    return GraphsTuple(**parts, **{key: jnp.asarray(arrays[key]) for key in TOPOLOGY})


def _same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turns the errors of NumPy and zip into ones that name the file."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise ValueError(f"{name}: {error}: is the file empty or truncated?") from error
    except ValueError as error:
        words = str(error)
        if "pickle" in words.lower():
            words = (
                "holds Python objects (a pickle), which could run code: save arrays of numbers "
                "instead"
            )
        raise ValueError(f"{name}: {words}") from error
