"""Calibrated standard deviations beside the errors on test frames."""

from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

import hgn_jax as hgn
from hgn_jax.fitting.held_out import errors_of, observed_entries
from hgn_jax.graphs.pieces import packs

from .interatomic_data import Subject, testing, training, weighted
from .interatomic_fits import Settings, fitted
from .record import Record


def calibration(
    folder: Path, subject: Subject, settings: Settings, units: int, quick: bool
) -> Record:
    """Root mean square of error over deviation, and rank correlation of their sizes, for the
    energies per atom and the force components of the test frames."""
    data = training(folder, subject, settings.cutoff, quick)
    fit = hgn.calibrate(
        fitted(data, settings, units, 0, quick), weighted(data, settings.energy_weight)
    )
    found: dict[str, list[np.ndarray]] = {"energy": [], "force": []}
    for piece in packs(testing(folder, subject, settings.cutoff, quick), 256):
        deviation, errors = fit.standard_deviation(piece), errors_of(fit.model, piece)
        assert deviation.energy is not None
        sizes = observed_entries(piece, {"energy": deviation.energy, "force": deviation.force})
        for kind, blocks in found.items():
            blocks.append(np.stack([np.abs(errors[kind]), sizes[kind]]))
    record = {**settings.record(), "columns": sum(theta.size for theta in fit.model.theta)}
    for kind, blocks in found.items():
        error, size = np.concatenate(blocks, axis=1)
        record |= {
            f"{kind}_count": error.size,
            f"{kind}_ratio": float(np.sqrt(np.mean((error / size) ** 2))),
            f"{kind}_rank_correlation": float(spearmanr(error, size).statistic),
        }
    return record
