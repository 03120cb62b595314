"""Settings chosen by cross-validation over frames."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jraph import GraphsTuple

from .._types import Key
from ..linear.frame_cv import FrameCV
from ..linear.qr import QR
from .fit import fit
from .held_out import held_out
from .result import Fit


class Trial(NamedTuple):
    """One combination of settings, and how well it predicts held-out frames."""

    settings: dict[str, Any]
    root_mean_square: dict[str, float]
    """Root mean square error of each kind: "energy" per body, "force", "stress"."""
    mean_absolute: dict[str, float]
    """Mean absolute error of each kind."""
    score: float
    """Mean logarithm of the root mean square errors of all kinds: lower is better."""


class Tuning(NamedTuple):
    """The fit with the best settings, and all trials, best first."""

    fit: Fit
    trials: tuple[Trial, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the fit."""
        return self.trials[0].settings


def tune(
    data: GraphsTuple,
    *,
    key: Key | int,
    grid: Mapping[str, Sequence[Any]],
    folds: int = 5,
    report: Callable[[Trial], object] | None = None,
    **settings: Any,
) -> Tuning:
    """Fits every combination of settings, and keeps the one that predicts held-out frames best.

    The score is the mean logarithm of the root mean square errors of energies, forces and stresses,
    whichever the data hold, so that a percent of one counts as much as a percent of another. No
    other data are used. To choose the number of radial functions, the cutoff and the weight of
    energies:

    ```python
    best = hgn.tune(
        data,
        key=0,
        grid={
            "terms": [[hgn.Pair(16, cutoff=c), hgn.ManyBody(500, cutoff=c, radial=r)]
                      for c in (5.0, 5.5) for r in (4, 5, 6)],
            "observations": [[hgn.Energies(w), hgn.Forces()] for w in (0.3, 1.0)],
        },
    )
    ```

    **Arguments:**

    - `data`: frames whose edges reach the greatest cutoff.
    - `key`: that of `fit`, the same for all.
    - `grid`: values to try for each argument of `fit`.
    - `folds`: number of folds of `FrameCV`.
    - `report`: a function, such as `print`, called with each trial as it ends.
    - `settings`: further arguments of `fit`, the same for all.

    **Returns:** a `Tuning`: the best fit, and all trials.

    **Raises:** `ValueError` for an empty grid.
    """
    if not grid or not all(len(values) for values in grid.values()):
        raise ValueError("grid must name at least one argument of fit, each with values to try")
    trials = []
    best: tuple[float, Fit] | None = None
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values))
        fitted = fit(data, key=key, solver=QR(ridge=FrameCV(folds)), **settings, **chosen)
        errors = held_out(fitted, data)
        squares = {kind: float(np.sqrt(np.mean(e**2))) for kind, e in errors.items()}
        absolute = {kind: float(np.mean(np.abs(e))) for kind, e in errors.items()}
        score = float(np.mean(np.log(list(squares.values()))))
        trials.append(Trial(chosen, squares, absolute, score))
        if report is not None:
            report(trials[-1])
        if best is None or score < best[0]:
            best = score, fitted
    assert best is not None
    return Tuning(best[1], tuple(sorted(trials, key=lambda trial: trial.score)))
