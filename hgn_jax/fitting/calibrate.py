"""Standard deviations that include errors of the model, calibrated on held-out frames."""

import dataclasses
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

from ..graphs.geometry import bodies
from ..linear.gram import Gram
from .held_out import errors_of, fold_model, folds_of, observed_entries
from .pieces import pieces_of
from .result import Fit
from .uncertainty import DeviationScale, deviations, factors


def calibrate(fit: Fit, data: GraphsTuple) -> Fit:
    r"""Scales the standard deviations of a fit to the errors of held-out frames.

    The posterior of a linear model includes noise, but not what the features cannot express. For
    data from quantum mechanics, which have no noise, it is far overconfident. Its shape is still
    right: frames unlike those of training are uncertain. Each frame is predicted by the fit to the
    other folds. The deviations s of energies and of forces become $\sqrt{(c s)^2 + n b^2}$, where
    c and b maximise the likelihood of the errors: errors divided by deviations then have a root
    mean square of one. n is the number of bodies for energies, 1 for forces.

    **Arguments:**

    - `fit`: a fit with `QR(ridge=FrameCV())`.
    - `data`: the data of the fit, in the same order.

    **Returns:** a copy of the fit whose `standard_deviation` is calibrated; its `deviation_scales`
    hold c and b.

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
    by_kind: dict[str, list[np.ndarray]] = {}
    for number, piece in enumerate(pieces_of(fit.equations, data, fit.solver)):
        own = number % folds
        sizes = _deviations(
            fit.equations, covariances[own], fit.reduction.members, fit.solutions, piece, None
        )
        values = {"energy": sizes.energy, "force": sizes.rates.get("force")}
        present = {kind: value for kind, value in values.items() if value is not None}
        expected = observed_entries(piece, present)
        # Entries are energies per body, so this unit becomes sqrt(n) / n.
        unit = observed_entries(piece, {"energy": jnp.sqrt(bodies(piece))})["energy"]
        for kind, errors in errors_of(models[own], piece).items():
            if kind in expected:
                units = unit if kind == "energy" else np.ones_like(errors)
                by_kind.setdefault(kind, []).append(np.stack([errors, expected[kind], units]))
    scales = {kind: _likeliest(*np.concatenate(blocks, axis=1)) for kind, blocks in by_kind.items()}
    dtype = fit.model.theta[0].dtype
    return dataclasses.replace(
        fit,
        deviation_scales={
            k: DeviationScale(*(jnp.asarray(x, dtype) for x in s)) for k, s in scales.items()
        },
    )


def _likeliest(errors: np.ndarray, sizes: np.ndarray, units: np.ndarray) -> tuple[float, float]:
    """Maximum-likelihood factor c and floor b for errors of variance (c s)^2 + (b u)^2."""
    typical = np.mean(sizes**2) / np.mean(units**2)  # shares have no unit
    best = (math.inf, 1.0, 0.0)
    for share in 10.0 ** np.arange(-8, 4.1, 0.25):
        shape = sizes**2 + share * typical * units**2
        # The best common factor is known in closed form: only the ratio of b to c is searched.
        square = np.mean(errors**2 / shape)
        loss = np.mean(np.log(shape)) + np.log(max(square, 1e-300))
        if loss < best[0]:
            best = (loss, math.sqrt(square), math.sqrt(square * share * typical))
    return best[1:]


_deviations = eqx.filter_jit(deviations)
