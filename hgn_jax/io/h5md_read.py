"""Reads trajectories from HDF5: H5MD, or any layout whose datasets are named."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .h5md import h5py
from .names import chosen, refuse_axes
from .npz import trajectories
from .recording import MOVING, OF_BODIES, OF_PAIRS, Recording


def read_h5md(
    path: str | os.PathLike[str], columns: Mapping[str, Any] | None, keep: slice
) -> list[Recording]:
    """Trajectories of an H5MD file, or of the datasets that `columns` names.

    **Raises:** `ValueError` naming the file if it is damaged or lacks an array, and listing what it
    holds; `OSError` if it cannot be opened.
    """
    name = os.path.basename(os.fspath(path))
    with _opened(path, name) as file:
        if columns is not None or "particles" not in file:
            names = chosen(name, _datasets(file), columns)
            arrays = {key: np.asarray(file[theirs]) for key, theirs in names.items()}
            return trajectories(name, arrays, keep)
        groups = {key: group for key, group in file["particles"].items() if "position" in group}
        if not groups:
            raise ValueError(
                f"{name}: no group of particles has a position; it holds "
                f"{', '.join(_datasets(file)[:30]) or 'nothing'}"
            )
        return [
            _recording(file, key, group, name if len(groups) == 1 else f"{name}, {key}", keep)
            for key, group in groups.items()
        ]


def _recording(file: Any, key: str, group: Any, where: str, keep: slice) -> Recording:
    frames = len(group["position/value"])
    if not frames:
        raise ValueError(f"{where}: holds no frame")
    refuse_axes(where, group)
    units: dict[str, str] = {}
    moving = {}
    for name in MOVING:
        if name not in group:
            continue
        element = group[name]
        if len(element["value"]) != frames or not _same_times(element, group["position"]):
            raise ValueError(
                f"{where}: {name} was recorded at other times than position: rewrite the file with "
                "both at the same times"
            )
        moving[name] = element["value"][keep]
        _note_unit(units, name, element["value"])
    bodies = {}
    for name in OF_BODIES:
        if name in group:
            bodies[name] = _constant(group[name], f"{where}: {name}")
            _note_unit(units, name, _values(group[name]))
    pairs = file.get(f"connectivity/{key}")
    # A single trajectory has no group of its own among the observables.
    energy = file.get(f"observables/{key}/energy", file.get("observables/energy"))
    observed = {}
    if energy is not None and len(_values(energy)) == frames:
        observed["energy"] = _values(energy)[keep]
        _note_unit(units, "energy", _values(energy))
    parameters = file.get(f"parameters/{key}", {})
    times = _times(group["position"], frames)
    if times is not None:
        _note_unit(units, "times", group["position/time"])
    return Recording(
        where=where,
        times=None if times is None else times[keep],
        moving=moving,
        bodies=bodies,
        pairs=None if pairs is None else np.asarray(pairs),
        of_pairs={k: np.asarray(parameters[k]) for k in OF_PAIRS if k in parameters},
        cell=_cell(group, where, units, keep),
        observed=observed,
        units=units,
    )


def _cell(group: Any, where: str, units: dict[str, str], keep: slice) -> np.ndarray | None:
    """Lattice vectors `[t d d]` or `[d d]`; None if no axis is periodic."""
    box = group.get("box")
    if box is None or "edges" not in box:
        return None
    # h5py returns strings of fixed length as bytes.
    boundary = [b.decode() if isinstance(b, bytes) else str(b) for b in box.attrs["boundary"]]
    if "none" in boundary:
        if "periodic" in boundary:
            raise ValueError(
                f"{where}: the box is periodic along some axes only; trajectories need a cell that "
                "is periodic along all, or along none"
            )
        return None
    _note_unit(units, "cell", _values(box["edges"]))
    edges = np.asarray(_values(box["edges"]))
    changes = not isinstance(box["edges"], h5py().Dataset)
    edges = edges[keep] if changes else edges
    d = edges.shape[-1]
    # By `ndim`, too: the sides of a box in d frames are also [d d].
    is_matrix = edges.shape[-2:] == (d, d) and edges.ndim == 2 + changes
    return edges if is_matrix else edges[..., None] * np.eye(d)


def _times(element: Any, frames: int) -> np.ndarray | None:
    """Times `[t]`, stored as such or as a constant step."""
    if "time" not in element:
        return None
    time = element["time"]
    if time.shape == ():
        return float(time.attrs.get("offset", 0.0)) + float(time[()]) * np.arange(frames)
    return np.asarray(time)


def _same_times(a: Any, b: Any) -> bool:
    return all(
        key not in a or key not in b or np.array_equal(a[key][()], b[key][()])
        for key in ("step", "time")
    )


def _constant(item: Any, name: str) -> np.ndarray:
    values = np.asarray(_values(item))
    if isinstance(item, h5py().Dataset):
        return values
    if (values != values[:1]).any():
        raise ValueError(f"{name} changes with time: a trajectory has the same bodies throughout")
    return values[0]


def _values(item: Any) -> Any:
    """The dataset of values of an element that changes with time, or is constant."""
    return item if isinstance(item, h5py().Dataset) else item["value"]


def _note_unit(units: dict[str, str], name: str, item: Any) -> None:
    unit = item.attrs.get("unit")
    if unit is not None:
        units[name] = unit.decode() if isinstance(unit, bytes) else str(unit)


def _datasets(file: Any) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    return names


@contextmanager
def _opened(path: str | os.PathLike[str], name: str) -> Iterator[Any]:
    """The file. Errors of HDF5 become ones that name the file."""
    with open(path, "rb"):  # the system's own words for what cannot be opened
        pass
    try:
        with h5py().File(path, "r", locking=False) as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"{name}: {error}: is the file empty or truncated, or not HDF5?"
        ) from error
