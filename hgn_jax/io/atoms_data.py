"""Data set from frames of atoms: labels under this library's names, weights if some are missing."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax.typing import DTypeLike
from jraph import GraphsTuple

from ..graphs.cell import is_singular, require_cell
from ..graphs.from_frames import from_frames
from ..graphs.open_axes import enclosing_cell
from .atoms_frame import AtomsFrame, numbers
from .labels import ENERGY, FORCES, STRESS, StressFormat, find_key, keys_held, stress_format

logger = logging.getLogger("hgn_jax")


class Labels(NamedTuple):
    """Keys and formats of labels, as given by the user; None for the defaults."""

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    stress_unit: str | None = None
    stress_sign: int | None = None
    stress_order: str | None = None
    required: bool = True


def data_from(
    frames: Sequence[AtomsFrame], *, cutoff: float, labels: Labels, dtype: DTypeLike | None
) -> GraphsTuple:
    """Batch of all frames; see `read`."""
    energy = find_key(frames, "info", labels.energy, ENERGY)
    forces = find_key(frames, "arrays", labels.forces, FORCES)
    stress = find_key(frames, "info", labels.stress, STRESS)
    cells = _cells(frames, cutoff)
    if cells is None:
        if labels.stress is not None:
            raise ValueError("a stress needs a cell, but no frame is periodic along any axis")
        stress = None
    if labels.required and energy is None and forces is None and stress is None:
        raise ValueError(
            "found no energies, forces or stresses to learn from; name them by energy=, forces= or "
            f"stress=, or give labels=False. {keys_held(frames)}"
        )
    mass = [frame.mass() for frame in frames]
    nodes: dict[str, np.ndarray] = {
        "species": np.concatenate([frame.species for frame in frames]).astype(np.int32),
        "mass": np.concatenate(mass),
    }
    globals_: dict[str, np.ndarray] = {}
    kinetic = _add_momenta(frames, mass, nodes)
    if forces is not None:
        _add_forces(frames, forces, nodes)
    if energy is not None:
        values, weight = _energies(frames, energy)
        globals_["energy"] = (values + kinetic) * weight  # zero without a label
        _add_weight("energy_weight", weight, globals_)
    if stress is not None and cells is not None:
        form = stress_format(stress, labels.stress_unit, labels.stress_sign, labels.stress_order)
        globals_["stress"], weight = _stresses(frames, stress, form, cells)
        _add_weight("stress_weight", weight, globals_)
    data = from_frames(
        [frame.position for frame in frames],
        cutoff=cutoff,
        cell=cells,
        nodes=nodes,
        globals_=globals_,
        dtype=dtype,
        names=[frame.where for frame in frames],
    )
    used = {"energy": energy, "force": forces, "stress": stress}
    logger.info("read %d frames of %d atoms; labels %s", len(frames), len(nodes["mass"]), used)
    return data


def _add_momenta(
    frames: Sequence[AtomsFrame], mass: list[np.ndarray], nodes: dict[str, np.ndarray]
) -> np.ndarray:
    """Adds momenta and velocities if any atom moves. Returns kinetic energies `[g]`."""
    given = [frame.momentum() for frame in frames]
    p = [np.zeros_like(f.position) if k is None else k for f, k in zip(frames, given)]
    if not any(k.any() for k in p):
        return np.zeros(len(frames))
    nodes["momentum"] = np.concatenate(p)
    nodes["velocity"] = nodes["momentum"] / nodes["mass"][:, None]
    return np.array([np.sum(np.sum(k**2, axis=1) / m) / 2 for k, m in zip(p, mass)])


def _add_forces(frames: Sequence[AtomsFrame], key: str, nodes: dict[str, np.ndarray]) -> None:
    forces, weight = [], []
    for frame in frames:
        value = frame.arrays.get(key)
        labelled = value is not None
        shape = frame.position.shape
        forces.append(
            numbers(value, f"{frame.where}: {key}", shape) if labelled else np.zeros(shape)
        )
        weight.append(np.full(len(frame.species), float(labelled)))
    nodes["force"] = np.concatenate(forces)
    _add_weight("weight", np.concatenate(weight), nodes)


def _energies(frames: Sequence[AtomsFrame], key: str) -> tuple[np.ndarray, np.ndarray]:
    values, weight = np.zeros(len(frames)), np.zeros(len(frames))
    for k, frame in enumerate(frames):
        value = frame.info.get(key)
        if value is not None:
            values[k], weight[k] = numbers(value, f"{frame.where}: {key}", ()), 1
    return values, weight


def _stresses(
    frames: Sequence[AtomsFrame], key: str, form: StressFormat, cells: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Stresses `[g 3 3]` of the cells of the batch, and weights `[g]`: 1 for labelled frames."""
    values, weight = np.zeros((len(frames), 3, 3)), np.zeros(len(frames))
    for k, (frame, cell) in enumerate(zip(frames, cells)):
        value = frame.info.get(key)
        if value is None:
            continue
        virial = form.matrix(value, f"{frame.where}: {key}")
        if not form.virial:
            if frame.cell is None or is_singular(frame.cell):
                raise ValueError(f"{frame.where}: a stress needs a cell that spans a volume")
            # The stress refers to the volume of the cell in the source.
            virial = virial * abs(np.linalg.det(frame.cell))
        # Cells of open axes are enlarged: the virial stays, and the stress changes with the volume.
        values[k], weight[k] = virial / abs(np.linalg.det(cell)), 1
    return values, weight


def _add_weight(name: str, weight: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
    """Adds the weights to `arrays` if some are zero."""
    if not weight.all():
        arrays[name] = weight


def _cells(frames: Sequence[AtomsFrame], cutoff: float) -> list[np.ndarray] | None:
    """Cells of all frames; None if no frame is periodic along any axis."""
    if not any(frame.periodic.any() for frame in frames):
        return None
    cells = []
    for frame in frames:
        # The box of a frame without periodic axes has no meaning.
        given = frame.cell if frame.periodic.any() else None
        name = f"{frame.where}: cell"
        if given is not None and not np.isfinite(given).all():
            require_cell(given, name)
        cells.append(enclosing_cell(frame.position, given, frame.periodic, cutoff))
        require_cell(cells[-1], name)
    return cells
