"""Bounds of observables that end a rollout."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Array
from jraph import GraphsTuple

from ..graphs.geometry import graph_mask
from .observables import AbstractObservable


def check_bounds(
    until: Mapping[str, float] | None, observables: Sequence[AbstractObservable]
) -> dict[str, float]:
    """The bounds. Raises `ValueError` for bounds that are no numbers or of no observable."""
    names, bounds = [o.name for o in observables], {}
    for name, bound in ({} if until is None else until).items():
        if name not in names:
            raise ValueError(
                f"until bounds {name!r}, but the observables are {names}: add it to observables="
            )
        if not isinstance(bound, int | float) or math.isnan(bound):
            raise ValueError(f"until must bound {name} by a number, got {bound!r}")
        bounds[name] = float(bound)
    return bounds


def exceeded(
    graphs: GraphsTuple, observed: Mapping[str, Array | np.ndarray], until: Mapping[str, float]
) -> dict[str, float]:
    """Greatest values at one output of the observables that are above their bounds there. Zeros of
    padding do not count."""
    real = np.asarray(graph_mask(graphs))
    values = {name: float(np.max(np.asarray(observed[name])[real])) for name in until}
    return {name: value for name, value in values.items() if value > until[name]}


def reason(values: Mapping[str, float], until: Mapping[str, float], time: float) -> str:
    """Which observables `exceeded` their bounds, in words; empty if none did."""
    words = [f"{name} is {x:.3g}, above {until[name]:.3g}" for name, x in values.items()]
    return f"{'; '.join(words)} at time {time:.6g}" if words else ""
