"""Checks of trajectories: their times, their values, and units that disagree."""

from collections.abc import Mapping

import numpy as np

from .schema import check_float

RESOLUTION = 1e-6
"""Greatest allowed rounding of times that are differentiated by, relative to the step between
frames."""
INTEGRAL_RESOLUTION = 1e-4
"""The same for times that are integrated over: errors of single steps average out."""
UNITS = 2.0
"""Factor by which velocities may differ from the differences of positions."""


def check_numbers(name: str, array: np.ndarray) -> None:
    """Raises `ValueError` unless the array holds integers, or floats of at least 32 bits."""
    if not np.issubdtype(array.dtype, np.integer):
        check_float(name, array.dtype)


def check_times(times: np.ndarray) -> None:
    """Raises `ValueError` for times that are not finite or do not increase."""
    finite = np.isfinite(times)
    rising = np.diff(times, axis=1, prepend=-np.inf) > 0
    # Steps next to a NaN do not rise either: name the NaN itself.
    bad = np.argwhere(~rising if finite.all() else ~finite)
    if len(bad):
        k, frame = bad[0]
        after = f" after {times[k, frame - 1]:.10g}" if finite.all() else ""
        raise ValueError(
            "times must be finite and strictly increasing in every trajectory: in trajectory "
            f"{k}, frame {frame} has time {times[k, frame]:.10g}{after} ({len(bad)} in all)"
        )


def check_frames(times: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises `ValueError` for times that do not increase, or values that are not finite."""
    check_times(times)
    for name, array in arrays.items():
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            k, frame, node, _ = bad[0]
            raise ValueError(
                f"{name} is NaN or Inf in trajectory {k}, frame {frame}, node {node} "
                f"({len(bad)} in all)"
            )


def check_newtonian(expected: np.ndarray, momentum: np.ndarray, slack: float) -> None:
    """Raises `ValueError` if the momentum is not the expected mass times velocity."""
    size = np.linalg.norm(expected, axis=-1, keepdims=True)
    # Absolute, for bodies that are almost at rest.
    rounding = 1e3 * np.finfo(momentum.dtype).eps * size.max()
    # The error of a differentiated velocity scales with the greatest speed of the body.
    size = size if slack < 1e-3 else size.max(axis=1, keepdims=True)
    bad = np.argwhere(np.abs(expected - momentum) > rounding + slack * size)
    if len(bad):
        k, frame, node, _ = bad[0]
        raise ValueError(
            f"momentum is not mass times velocity in trajectory {k}, frame {frame}, node {node}: "
            "check the unit of mass, or pass newtonian=False if the kinetic energy is not |p|^2/2m"
        )


def check_resolution(times: np.ndarray, dtype: np.dtype) -> None:
    """Raises `ValueError` if times are rounded too coarsely to be differentiated by.

    A time t is known to eps |t|, so a derivative over a step dt has a relative error of
    eps |t| / dt. Each further derivative multiplies the error by the number of frames per
    oscillation. If all steps are exactly equal, their length is known better: from the whole span.
    """
    steps = np.diff(times, axis=1)
    even = (steps == steps[:, :1]).all(axis=1)
    _check_rounding(times, dtype, RESOLUTION, "derivatives", np.where(even, steps.shape[1], 1))


def check_integral_resolution(times: np.ndarray, given: np.dtype, kept: np.dtype) -> None:
    """Raises `ValueError` if times are rounded too coarsely to be integrated over, as they are
    given or as they are kept, in the precision of the positions."""
    for dtype in (given, kept):
        _check_rounding(times, dtype, INTEGRAL_RESOLUTION, "integrals", 1)


def _check_rounding(
    times: np.ndarray, dtype: np.dtype, least: float, what: str, known: np.ndarray | int
) -> None:
    """`known` is by how much steps are known better than their ends."""
    if not np.issubdtype(dtype, np.floating):  # integers are exact
        return
    steps = np.diff(times, axis=1)
    rounding = float(np.finfo(dtype).eps) * np.abs(times).max(axis=1)
    error = rounding / steps.min(axis=1, initial=np.inf) / known  # a single frame has no step
    k = int(np.argmax(error))
    if error[k] > least:
        raise ValueError(
            f"times in {dtype} up to {np.abs(times[k]).max():.6g} (trajectory {k}) are rounded to "
            f"{rounding[k]:.2g}, which is {error[k]:.2g} of the step {steps[k].min():.6g}; "
            f"{what} need at most {least:g}. Pass times in NumPy's float64, counted from the "
            "first frame, such as dt * np.arange(t)"
            + ("; positions in float64 keep them so" if what == "integrals" else "")
        )


def check_velocity(times: np.ndarray, x: np.ndarray, v: np.ndarray) -> None:
    """Raises `ValueError` if velocities and differences of positions disagree in size.

    Medians are compared, over all bodies and frames where both vary slowly from frame to frame. If
    that is less than half of them, nothing is concluded: frames are coarse, or positions noisy.
    """
    if times.shape[1] < 3:
        return
    differences = np.diff(x, axis=1) / np.diff(times)[..., None, None]
    between = (v[:, 1:] + v[:, :-1]) / 2  # a difference is the mean velocity of its step
    sizes = [np.linalg.norm(u, axis=-1)[:, :-1] for u in (differences, between)]
    changes = [np.linalg.norm(np.diff(u, axis=1), axis=-1) for u in (differences, between)]
    moving = (sizes[0] > 0) & (sizes[1] > 0)
    slow = moving & (changes[0] <= sizes[0] / 2) & (changes[1] <= sizes[1] / 2)
    if 2 * slow.sum() <= moving.sum():
        return
    expected, given = (float(np.median(size[slow])) for size in sizes)
    if not 1 / UNITS < given / expected < UNITS:
        raise ValueError(
            f"velocity is about {given:.3g} but position changes by about {expected:.3g} per unit "
            "of time (medians): the units of position, velocity and times do not agree"
        )
