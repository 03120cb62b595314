"""Look of all figures: large text, and colours that differ for the colour-blind, in print, and on
white as on dark backgrounds."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

LEARNED, TRUE, NEUTRAL = "#d55e00", "#0072b2", "0.5"
COLOURS = (TRUE, LEARNED, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d46")
"""Without yellow and black, which vanish on white and on black. Okabe and Ito, Color Universal
Design, 2008."""
DASHES = ("-", "--", "-.", ":")
TEXT: dict[Any, Any] = dict.fromkeys(("font.size", "axes.titlesize"), 11.0)

Units: TypeAlias = Mapping[str, str] | None
"""Names of the data's units by quantity: `{"length": "Å", "time": "fs", "energy": "eV"}`. Known
quantities are length, time, energy, force, velocity, momentum and power."""
QUANTITIES = ("length", "time", "energy", "force", "velocity", "momentum", "power")


def panels(
    rows: int = 1, columns: int = 1, *, size: tuple[float | int, float | int], **kwargs: Any
) -> tuple[Figure, np.ndarray]:
    """A figure with `[rows columns]` axes."""
    # Not within rc_context: its end would undo what notebooks set with their first figure.
    figure = plt.figure(figsize=size, dpi=150, layout="constrained")
    with plt.rc_context(TEXT):
        axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
    return figure, axes


def label(name: str, quantity: str, units: Units) -> str:
    """Text of an axis, with the unit in brackets if there is one."""
    unknown = sorted(set(units or {}) - set(QUANTITIES))
    if unknown:
        raise ValueError(f"units of unknown quantities {unknown}; known are {list(QUANTITIES)}")
    unit = (units or {}).get(quantity)
    return f"{name} ({unit})" if unit else name


def legend(ax: Any, **kwargs: Any) -> None:
    """A legend without a frame."""
    ax.legend(**{"frameon": False, "fontsize": 10} | kwargs)


def colours(count: int) -> list[Any]:
    """One colour for each of `count` lines: distinct ones, or shades if there are many."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    return list(plt.get_cmap("viridis")(np.linspace(0.15, 0.9, count)))
