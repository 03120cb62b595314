"""Checks of bodies with an axis."""

import numpy as np
from jraph import GraphsTuple

from .check_values import Frames

SLACK = 1e-5
"""Relative error up to which an axis counts as a unit vector: data in files are rounded."""


def check_axes(graphs: GraphsTuple, frames: Frames, padding: np.ndarray) -> None:
    """Raises `ValueError` for axes that are not of unit length, and for angular momenta that are
    not perpendicular to them."""
    if "axis" not in graphs.nodes:
        return
    axis, real = graphs.nodes["axis"], ~padding[frames.of["nodes"]]
    length = np.linalg.norm(axis, axis=1)
    if (bad := real & (np.abs(length - 1) > SLACK)).any():
        i = int(np.argmax(bad))
        remedy = "give every body a direction" if length[i] == 0 else "divide axes by their lengths"
        raise ValueError(
            f'nodes["axis"] must hold unit vectors; in {frames.located("nodes", i)} the length is '
            f"{length[i]:.6g} ({bad.sum()} in all): {remedy}"
        )
    momentum = graphs.nodes.get("angular_momentum")
    if momentum is None:
        return
    along = np.abs(np.sum(axis * momentum, axis=1))
    # Compared with the typical size, too: small momenta of rounded data have few digits.
    size = np.maximum(np.linalg.norm(momentum, axis=1), np.sqrt(np.mean(momentum**2)))
    if (bad := real & (along > SLACK * size)).any():
        i = int(np.argmax(bad))
        raise ValueError(
            f'nodes["angular_momentum"] must be perpendicular to nodes["axis"]; in '
            f"{frames.located('nodes', i)} its component along the axis is {along[i]:.3g}, of "
            f"{size[i]:.3g} ({bad.sum()} in all): subtract it, a linear rotor does not spin"
        )
