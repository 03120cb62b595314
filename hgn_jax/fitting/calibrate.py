"""Standard deviations that hold where the model is wrong: scaled by errors of held-out frames."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

from ..linear.gram import Gram
from .held_out import errors_of, fold_model, folds_of, observed_entries
from .pieces import pieces_of
from .result import Fit
from .uncertainty import deviations, factors


def calibrate(fit: Fit, data: GraphsTuple) -> Fit:
    """The fit, with standard deviations that are as large as the errors of held-out frames.

    The posterior of a linear model knows noise, not what the features cannot express: with data
    from quantum mechanics, which have no noise, it is overconfident many times over. Its shape
    is right all the same: what differs from the training frames is uncertain. Each frame is
    predicted from the folds that it is not in; the deviations of energies and of forces are
    multiplied by the root mean square of error over deviation, each kind by its own.

    **Arguments:**

    - `fit`: a fit with `QR(ridge=FrameCV())`.
    - `data`: the data of the fit, in the same order.

    **Returns:** a copy of the fit whose `standard_deviation` is calibrated; `deviation_scales` are
    the factors.

    **Raises:** `ValueError` for a fit without folds.
    """
    folds = folds_of(fit, data)
    models = [fold_model(fit, k) for k in range(folds)]
    covariances = [
        factors(
            dataclasses.replace(
                fit.reduction,
                systems=tuple(
                    s.without(k) if isinstance(s, Gram) else s for s in fit.reduction.systems
                ),
            ),
            fit.solutions,
        )
        for k in range(folds)
    ]
    ratios: dict[str, list[np.ndarray]] = {}
    for number, piece in enumerate(pieces_of(fit.equations, data, fit.solver)):
        own = number % folds
        found = _deviations(
            fit.equations, covariances[own], fit.reduction.members, fit.solutions, piece, None
        )
        expected = {"energy": found.energy, "force": found.rates.get("force")}
        present = {kind: value for kind, value in expected.items() if value is not None}
        sizes = observed_entries(piece, present)
        for kind, errors in errors_of(models[own], piece).items():
            if kind in sizes:
                ratios.setdefault(kind, []).append(errors / np.maximum(sizes[kind], 1e-300))
    scales = {
        kind: jnp.asarray(np.sqrt(np.mean(np.concatenate(found) ** 2)), fit.model.theta[0].dtype)
        for kind, found in ratios.items()
    }
    return dataclasses.replace(fit, deviation_scales=scales)


_deviations = eqx.filter_jit(deviations)
