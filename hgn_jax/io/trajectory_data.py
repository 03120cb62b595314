"""Data set from recorded trajectories: what the file does not say comes from the user."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jraph import GraphsTuple

from ..graphs.batching import batch
from ..graphs.schema import did_you_mean
from ..graphs.trajectories import from_trajectories
from . import units as conversion
from .recording import MOVING, Recording

logger = logging.getLogger("hgn_jax")


class Bodies(NamedTuple):
    """Statements of the user about bodies and their motion; None for what the file says."""

    edges: Any = None
    mass: Any = None
    coupling: Any = None
    type: Any = None
    rates: bool = True
    order: int = 8
    units: Any = None


def data_of(recordings: Sequence[Recording], said: Bodies, dtype: DTypeLike | None) -> GraphsTuple:
    """Batch of all frames of all trajectories; see `read`."""
    if said.units is not None:
        to = conversion.target(said.units)
        recordings = [converted(recording, to) for recording in recordings]
    else:
        for recording in recordings:
            conversion.check_together(recording.units, recording.where)
    parts = []
    for number, recording in enumerate(recordings):
        try:
            data = _data(recording, said, dtype)
        except ValueError as error:
            raise ValueError(f"{recording.where}: {error}") from error
        trajectory = jnp.full_like(data.globals["trajectory"], number)  # each was read as number 0
        parts.append(data._replace(globals=data.globals | {"trajectory": trajectory}))
    stated = sorted({f"{k} in {u}" for r in recordings for k, u in r.units.items()})
    logger.info(
        "read %d trajectories of %d frames in all; units: %s",
        len(parts), sum(len(part.n_node) for part in parts),
        said.units or ", ".join(stated) or "not stated",
    )  # fmt: skip
    return parts[0] if len(parts) == 1 else batch(parts)


def converted(recording: Recording, to: tuple[float, float, float]) -> Recording:
    """The recording in units of that length, time and mass (SI).

    **Raises:** `ValueError` if it states no unit of an array, or an unknown one.
    """
    bodies, observed = dict(recording.bodies), dict(recording.observed)
    held: dict[str, Any] = {"times": recording.times, **recording.moving, "cell": recording.cell}
    held |= {"mass": bodies.get("mass")} | observed
    held = {k: v for k, v in held.items() if v is not None and k in conversion.POWERS}
    if missing := [name for name in held if name not in recording.units]:
        raise ValueError(
            f"{recording.where}: units= converts, but no unit of {missing[0]} is stated: state it "
            "in the file (a table's column 'x1 [mm]', the attribute `unit` in H5MD), or leave "
            "units= out and the numbers as they are"
        )
    new = {
        name: np.asarray(values, float)
        * conversion.factor(name, recording.units[name], to, recording.where)
        for name, values in held.items()
    }
    return dataclasses.replace(
        recording,
        times=new.get("times"),
        moving={name: new[name] for name in recording.moving},
        bodies=bodies | ({"mass": new["mass"]} if "mass" in new else {}),
        cell=new.get("cell"),
        observed=observed | {k: new[k] for k in observed if k in new},
    )


def _data(recording: Recording, said: Bodies, dtype: DTypeLike | None) -> GraphsTuple:
    if recording.times is None:
        raise ValueError("states no times: pass its arrays to hgn.graphs.from_trajectories")
    if not len(recording.times):
        raise ValueError("no frames are left: look at frames= and every=")
    names = recording.bodies.get("names")
    moving = {k: a if dtype is None else a.astype(dtype) for k, a in recording.moving.items()}
    arrays: dict[str, Any] = {name: moving[name] for name in MOVING if name in moving}
    if not said.rates:  # states: what follows from them is left out
        arrays.pop("force", None)
        if "momentum" in arrays:
            arrays.pop("velocity", None)
    edges: Any = recording.pairs if said.edges is None else _pairs(said.edges, names)
    if edges is None:
        raise ValueError(
            'it does not say which bodies interact: give edges="all", pairs, or a cutoff'
        )
    of_pairs = dict(recording.of_pairs) if said.edges is None else {}
    coupling = of_pairs.get("coupling") if said.coupling is None else said.coupling
    bodies = dict(recording.bodies)
    if np.asarray(bodies.get("species", 0)).dtype.kind == "f":  # a column of a table
        bodies["species"] = bodies["species"].astype(np.int32)
    data = from_trajectories(
        recording.times,
        **arrays,
        mass=_mass(said.mass, bodies.get("mass"), names),
        edges=edges,
        coupling=coupling,
        type=of_pairs.get("type") if said.type is None else said.type,
        cell=_constant_cell(recording.cell),
        order=said.order,
        rates=said.rates,
        **{k: v for k, v in bodies.items() if k in ("species", "charge", "fixed")},
    )
    if "energy" not in recording.observed:
        return data
    # Frames that were trimmed need no energy. Times in the data are rounded as positions are.
    kept = np.isin(
        recording.times.astype(moving["position"].dtype), np.asarray(data.globals["time"])
    )
    energy = np.asarray(recording.observed["energy"])[kept].astype(data.nodes["position"].dtype)
    return data._replace(globals=data.globals | {"energy": jnp.asarray(energy)})


def _mass(said: Any, held: Any, names: Sequence[str] | None) -> Any:
    if isinstance(said, Mapping):
        if names is None:
            raise ValueError("mass by name needs bodies with names, as tables have")
        return np.array([_by_name(said, name, "mass") for name in names], float)
    if said is None and held is None:
        raise ValueError("states no masses: give mass=, a number or one per body")
    return np.asarray(held if said is None else said, float)


def _pairs(edges: Any, names: Sequence[str] | None) -> Any:
    """Pairs of numbers; bodies may be named."""
    if isinstance(edges, str) or np.ndim(edges) == 0 or names is None:
        return edges
    place = {name: k for k, name in enumerate(names)}
    if not any(isinstance(body, str) for pair in edges for body in pair):
        return edges
    return [tuple(_by_name(place, body, "edges") for body in pair) for pair in edges]


def _by_name(values: Mapping[str, Any], name: Any, of: str) -> Any:
    if name not in values:
        raise ValueError(
            f"{of}: no body {name!r}{did_you_mean(str(name), values)}; there are "
            f"{', '.join(map(str, values))}"
        )
    return values[name]


def _constant_cell(cell: np.ndarray | None) -> np.ndarray | None:
    if cell is None or cell.ndim < 3:
        return cell
    if (cell != cell[:1]).any():
        raise ValueError(
            "its cell changes with time, but positions are differentiated in a constant one: read "
            "frames with energies and forces from .xyz instead"
        )
    return cell[0]
