"""States as they were measured: noisy, at irregular times, some of them missing."""

import numpy as np
from jaxtyping import Bool, Float

FEWEST = 2
"""Frames of the shortest trajectory. Positions alone need one more: two of them leave the start
free and nothing to compare."""


def measured_states(
    times: Float[np.ndarray, "k t"],
    position: Float[np.ndarray, "k t n d"],
    momentum: Float[np.ndarray, "k t n d"] | None,
    mass: Float[np.ndarray, "n 1"],
) -> tuple[Bool[np.ndarray, "k t"], dict[str, np.ndarray]]:
    """Frames in which anything was measured, and arrays `[k t n ...]` of all frames.

    A body's vector was measured if it is finite. `position_measured` and `momentum_measured` say
    so, and are left out if all was. What is missing is interpolated in time between the body's
    other frames. Momenta that were never measured in a trajectory are mass times the change of
    position over time there; they are left out if there are none at all.

    **Raises:** `ValueError` for infinite values, a position that is never measured in a trajectory,
    or too few frames, naming trajectory, frame and node.
    """
    given = {"position": position} | ({} if momentum is None else {"momentum": momentum})
    for name, array in given.items():
        _check_infinite(name, array)
    measured = {name: np.isfinite(array).all(axis=-1) for name, array in given.items()}
    if "momentum" in measured and not measured["momentum"].any():
        del given["momentum"], measured["momentum"]
    kept = np.any(np.stack([mask.any(axis=-1) for mask in measured.values()]), axis=0)
    _check_seen(kept, measured["position"], FEWEST if "momentum" in measured else FEWEST + 1)
    filled = {
        name: _interpolated(times, array, measured[name] & kept[..., None])
        for name, array in given.items()
    }
    if "momentum" in filled:
        slopes = mass * _slopes(times, filled["position"])
        never = ~measured["momentum"].any(axis=1)[:, None, :, None]
        filled["momentum"] = np.where(never, slopes, filled["momentum"])
    whole = all(mask[kept].all() for mask in measured.values())
    flags = {} if whole else {f"{name}_measured": mask for name, mask in measured.items()}
    return kept, filled | flags


def _check_infinite(name: str, array: np.ndarray) -> None:
    bad = np.argwhere(np.isinf(array))
    if len(bad):
        k, frame, node, _ = bad[0]
        raise ValueError(
            f"{name} is infinite in trajectory {k}, frame {frame}, node {node} ({len(bad)} in "
            "all): write NaN for what was not measured"
        )


def _check_seen(kept: np.ndarray, measured: np.ndarray, fewest: int) -> None:
    never = np.argwhere(~measured.any(axis=1))
    if len(never):
        k, node = never[0]
        raise ValueError(
            f"position of node {node} is never measured in trajectory {k}: leave that trajectory "
            "out, or the body in all of them"
        )
    few = np.flatnonzero(kept.sum(axis=1) < fewest)
    if len(few):
        raise ValueError(
            f"trajectory {few[0]} has {kept[few[0]].sum()} measured frames: states need at least "
            f"{fewest}, because fewer determine only the start of the motion"
        )


def _interpolated(times: np.ndarray, values: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Values with those that were not measured interpolated in time, constant beyond the ends."""
    filled = values.copy()
    # A body that was never measured has nothing to interpolate between.
    for k, i in np.argwhere(~measured.all(axis=1) & measured.any(axis=1)):
        known = measured[k, :, i]
        for a in range(values.shape[3]):
            line = values[k, :, i, a]
            filled[k, ~known, i, a] = np.interp(times[k, ~known], times[k, known], line[known])
    return filled


def _slopes(times: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Derivatives in time by differences of neighbours."""
    return np.stack([np.gradient(x, t, axis=0) for t, x in zip(times, position, strict=True)])
