"""Pair potentials for LAMMPS."""

import os
from pathlib import Path

import numpy as np

from ..models.network import HamiltonianGraphNetwork
from .pair_curves import PairCurve, pair_curves


def lammps_table(
    path: str | os.PathLike[str],
    model: HamiltonianGraphNetwork,
    *,
    points: int = 2000,
    least: float | None = None,
) -> None:
    """Writes the pair potentials as a file for LAMMPS' `pair_style table`.

    Each is a section named after its elements, such as `Si-O`, or after its edge type, such as `0`:

        pair_style table spline 2000
        pair_coeff 1 1 argon.table Ar-Ar

    Energies and lengths are those of the data: eV and A are LAMMPS' units metal. LAMMPS stops with
    an error if a pair comes closer than the first distance.

    **Arguments:** as `hgn.export.pair_curves`.

    **Raises:** `ValueError` as `hgn.export.pair_curves`; `OSError` if the file cannot be written.
    """
    curves = pair_curves(model, points=points, least=least)
    Path(path).write_text("\n".join(_section(curve) for curve in curves))


def _section(curve: PairCurve) -> str:
    rows = np.column_stack([curve.r, curve.energy, curve.force])
    lines = [f"{k} {x:.12g} {e:.15g} {f:.15g}" for k, (x, e, f) in enumerate(rows, start=1)]
    head = [f"# learned by hgn_jax: {curve.name}; number, distance, energy, force", curve.name]
    # R: LAMMPS computes even distances from the first and the last one.
    size = f"N {len(rows)} R {curve.r[0]:.12g} {curve.r[-1]:.12g}"
    return "\n".join([*head, size, "", *lines, ""])
