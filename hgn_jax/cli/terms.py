"""Terms of a model by name, such as "kinetic,pair=64"."""

from typing import Any

import numpy as np
from jraph import GraphsTuple

from ..features import (
    External,
    Friction,
    Kinetic,
    Magnetic,
    ManyBody,
    Pair,
    PairFriction,
)
from ..fitting.energies import Energies, Stresses
from ..fitting.observations import AbstractObservation, Derivatives, Forces
from ..fitting.steps import Steps

TERMS: dict[str, Any] = {
    "kinetic": Kinetic,
    "pair": Pair,
    "many_body": ManyBody,
    "external": External,
    "friction": Friction,
    "pair_friction": PairFriction,
    "magnetic": Magnetic,
}
FADING = ("pair", "many_body")
"""Terms that fade at the cutoff."""
OF_BODIES = "kinetic,pair"
OF_ATOMS = "pair=16,many_body=400"


def parsed(text: str | None, cutoff: float | None, atoms: bool) -> list[Any]:
    """Specs of terms from "name" or "name=units", separated by commas."""
    specs = []
    for part in (text or (OF_ATOMS if atoms else OF_BODIES)).split(","):
        name, _, units = part.strip().partition("=")
        if name not in TERMS:
            raise ValueError(f"--terms: unknown term {name!r}; known are {', '.join(TERMS)}")
        if units and not units.isdigit():
            raise ValueError(f"--terms: {name}= needs a number of units, got {units!r}")
        options = {"cutoff": cutoff} if name in FADING and cutoff is not None else {}
        if name == "many_body" and cutoff is None:
            raise ValueError("--terms: many_body needs a cutoff, such as --edges 5.0")
        specs.append(TERMS[name](*([int(units)] if units else []), **options))
    return specs


def observations(data: GraphsTuple, measured: bool) -> list[AbstractObservation]:
    """Observations that the data allow."""
    if measured:
        return [Steps()]
    if "velocity" in data.nodes and "force" in data.nodes:
        return [Derivatives()]
    kinds: list[AbstractObservation] = []
    if "energy" in data.globals:
        kinds.append(Energies())
    if "force" in data.nodes:
        kinds.append(Forces())
    if "stress" in data.globals:
        kinds.append(Stresses())
    if not kinds:
        names = ", ".join([*data.nodes, *data.globals])
        raise ValueError(
            f"the data hold no rates, forces, energies or stresses, only {names}: add one of them, "
            "or fit states by --measured"
        )
    return kinds


def cutoff_of(edges: str | None) -> float | None:
    """The cutoff, if the edges are given by one."""
    try:
        value = float(edges or "")  # "" is no number: ValueError
    except ValueError:
        return None
    return value if np.isfinite(value) else None  # float() also reads "inf" and "nan"
