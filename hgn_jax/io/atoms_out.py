"""Frames of bodies as ASE and extended XYZ have them: in three dimensions, with ASE's names."""

import dataclasses
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np
from jraph import GraphsTuple

from ..graphs.padding import without_padding
from .elements import SYMBOLS
from .recording import Recording


@dataclasses.dataclass(frozen=True)
class FrameOut:
    """One frame, to be written."""

    symbols: list[str]
    """Chemical symbols; X for bodies that are no elements."""
    arrays: Mapping[str, np.ndarray]
    """`positions`, `masses`, `momenta`, `forces`, by ASE's names."""
    cell: np.ndarray | None
    """`[3 3]`; None if nothing is periodic."""
    periodic: tuple[bool, bool, bool]
    info: Mapping[str, Any]
    """`energy` without its kinetic part, `stress` `[3 3]`, `time` and other numbers."""


def frames_of_recording(recording: Recording) -> Iterator[FrameOut]:
    """The frames of a trajectory."""
    if "position" not in recording.moving:
        raise ValueError(f"{recording.where} holds no positions: roll out with states=True")
    for k in range(len(recording.moving["position"])):
        numbers = {name: values[k] for name, values in recording.observed.items()}
        if recording.times is not None:
            numbers["time"] = recording.times[k]
        cell = recording.cell
        if cell is not None and cell.ndim == 3:
            cell = cell[k]
        moving = {name: values[k] for name, values in recording.moving.items()}
        yield _frame({**recording.bodies, **moving}, cell, numbers)


def frames_of_data(data: GraphsTuple) -> Iterator[FrameOut]:
    """The frames of a data set, without labels of weight zero."""
    graphs: Any = without_padding(data)
    nodes = {name: np.asarray(array) for name, array in graphs.nodes.items()}
    globals_ = {name: np.asarray(array) for name, array in graphs.globals.items()}
    start = 0
    for k, n in enumerate(np.asarray(graphs.n_node)):
        bodies = {name: array[start : start + n] for name, array in nodes.items()}
        numbers = {name: array[k] for name, array in globals_.items()}
        if not bodies.pop("weight", np.ones(1)).any():  # missing forces are zeros
            bodies.pop("force", None)
        for name in ("energy", "stress"):
            if numbers.pop(f"{name}_weight", 1) == 0:
                numbers.pop(name, None)
        yield _frame(bodies, numbers.pop("cell", None), numbers)
        start += n


def to_ase(frame: FrameOut) -> Any:
    """The frame as ASE's `Atoms`, its labels as results of a calculator.

    **Raises:** `ModuleNotFoundError` that says what to install.
    """
    try:
        ase = import_module("ase")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'{error}: pip install "hgn-jax[ase]"') from error
    results = {k: v for k, v in frame.info.items() if k in ("energy", "stress")}
    if "stress" in results:
        results["stress"] = import_module("ase.stress").full_3x3_to_voigt_6_stress(
            results["stress"]
        )
    if "forces" in frame.arrays:
        results["forces"] = frame.arrays["forces"]
    atoms = ase.Atoms(
        frame.symbols,
        positions=frame.arrays["positions"],
        masses=frame.arrays.get("masses"),
        momenta=frame.arrays.get("momenta"),
        cell=frame.cell,
        pbc=frame.periodic,
        info={k: v for k, v in frame.info.items() if k not in ("energy", "stress")},
    )
    if results:
        calculators = import_module("ase.calculators.singlepoint")
        atoms.calc = calculators.SinglePointCalculator(atoms, **results)
    return atoms


def _frame(
    bodies: Mapping[str, np.ndarray], cell: np.ndarray | None, numbers: dict[str, Any]
) -> FrameOut:
    position = bodies["position"]
    n, d = position.shape
    if d > 3:
        raise ValueError(f"atoms are in three dimensions at most, position has {d}")
    if "axis" in bodies:
        raise ValueError("atoms have no axes, which would be lost: write .npz or .h5 instead")
    mass = bodies.get("mass")
    momentum = bodies.get("momentum")
    if momentum is None and mass is not None and "velocity" in bodies:
        momentum = mass[:, None] * bodies["velocity"]
    if "energy" in numbers and momentum is not None and mass is not None:
        kinetic = np.sum(np.sum(momentum**2, axis=1) / mass) / 2  # as `read` adds it
        numbers["energy"] = numbers["energy"] - kinetic
    arrays = {
        "positions": _in_space(position),
        "masses": mass,
        "momenta": None if momentum is None else _in_space(momentum),
        "forces": _in_space(bodies["force"]) if "force" in bodies else None,
    }
    box = None
    if cell is not None:
        box = np.eye(3)  # a cell needs three vectors; the others are not periodic
        box[:d, :d] = cell
    if "stress" in numbers:
        stress = np.zeros((3, 3))
        stress[:d, :d] = numbers["stress"]
        numbers["stress"] = stress
    species = np.asarray(bodies.get("species", np.zeros(n, int)))
    symbols = [SYMBOLS[z - 1] if 1 <= z <= len(SYMBOLS) else "X" for z in map(int, species)]
    periodic = [cell is not None and axis < d for axis in range(3)]
    return FrameOut(
        symbols,
        {name: array for name, array in arrays.items() if array is not None},
        box,
        (periodic[0], periodic[1], periodic[2]),
        numbers,
    )


def _in_space(vectors: np.ndarray) -> np.ndarray:
    """Vectors `[n d]` with zeros for the missing components of three."""
    return np.pad(vectors, ((0, 0), (0, 3 - vectors.shape[1])))
