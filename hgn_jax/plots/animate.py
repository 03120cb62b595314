"""Animated tracks."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter

from .sources import Source, states_of
from .style import Units, colours, label, panels

TAIL = 0.15
"""Length of the tails, as a share of the frames."""


def animate(
    path: Source,
    file: str | os.PathLike[str],
    *,
    seconds: float | int = 6.0,
    rate: int = 20,
    plane: tuple[int, int] = (0, 1),
    names: Sequence[str] | None = None,
    units: Units = None,
) -> Path:
    """Writes the motion in a plane as a GIF, or as MP4 if ffmpeg is installed. Returns the file.

    The motion is drawn `rate` times a second for so many `seconds`, evenly in time as far as the
    saved states allow. `plane` are the two coordinates to draw.

    **Raises:** `ValueError` for another suffix than `.gif` and `.mp4`, fewer than two dimensions,
    or without ffmpeg for an MP4.
    """
    target, states = Path(file), states_of(path)
    writer = _writer(target, rate)
    if states.position.shape[2] < 2:
        raise ValueError("an animation needs two dimensions; try hgn.plots.tracks")
    q, times = states.position[..., list(plane)], states.axis
    sound = np.isfinite(q).all(axis=(1, 2))  # a rollout may have stopped
    q, times = q[sound], times[sound]
    wanted = np.linspace(times[0], times[-1], max(2, round(seconds * rate)))
    shown = np.abs(np.subtract.outer(wanted, times)).argmin(axis=1)  # the nearest saved state
    tail = max(1, round(TAIL * len(q)))
    figure, ((ax,),) = panels(size=(5.5, 5.2))
    palette = colours(q.shape[1])
    lines = [ax.plot([], [], lw=1.2, alpha=0.6, color=c)[0] for c in palette]
    dots = ax.scatter(*q[0].T, s=max(12, 1500 / q.shape[1] ** 0.8) if q.shape[1] > 8 else 90,
                      c=palette, zorder=3)  # fmt: skip
    low, high = q.min(axis=(0, 1)), q.max(axis=(0, 1))
    # The maximum is for bodies at rest, which have no extent.
    middle, half = (low + high) / 2, 0.55 * max((high - low).max(), 1e-12)
    ax.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    ax.set_aspect("equal")
    words = [label("xyz"[k] if k < 3 else f"coordinate {k}", "length", units) for k in plane]
    ax.set(xlabel=words[0], ylabel=words[1])
    if names is not None:
        ax.legend(handles=lines, labels=list(names), frameon=False, loc="upper right")

    def draw(k: int) -> list:
        dots.set_offsets(q[k])
        for i, line in enumerate(lines):
            line.set_data(*q[max(0, k - tail) : k + 1, i].T)
        ax.set_title(f"{states.axis_name} {times[k]:.4g}", loc="left")
        return [dots, *lines]

    FuncAnimation(figure, draw, frames=shown.tolist(), blit=False).save(
        target, writer=writer, dpi=100
    )
    return target


def _writer(target: Path, rate: int) -> PillowWriter | FFMpegWriter:
    if target.suffix.lower() == ".gif":
        return PillowWriter(fps=rate)
    if target.suffix.lower() != ".mp4":
        raise ValueError(f"{target}: animations are .gif or .mp4, got {target.suffix!r}")
    if not FFMpegWriter.isAvailable():
        raise ValueError(f"{target}: an MP4 needs the program ffmpeg; write a .gif instead")
    return FFMpegWriter(fps=rate)
