"""Pair potentials for OpenMM."""

import itertools
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from ..io.elements import SYMBOLS
from ..models.network import HamiltonianGraphNetwork
from .pair_curves import pair_curves

NANOMETRES, KILOJOULES = 0.1, 96.48533212331
"""An Angstrom in nm, and an eV in kJ/mol."""


def openmm_force(
    model: HamiltonianGraphNetwork,
    elements: list[int] | np.ndarray,
    *,
    periodic: bool,
    length: float = NANOMETRES,
    energy: float = KILOJOULES,
    points: int = 2000,
    least: float | None = None,
) -> Any:
    """A `CustomNonbondedForce` of OpenMM with the pair potentials as tabulated functions.

        system.addForce(hgn.export.openmm_force(model, atomic_numbers, periodic=True))

    Nearer than the first distance and beyond the last one the energy is zero: choose `least` below
    any distance that occurs. OpenMM computes forces in single precision on most platforms.

    **Arguments:**

    - `model`: a model of pairs with a cutoff.
    - `elements`: atomic number of every particle; any numbers if the model knows no species.
    - `periodic`: True for the nearest images in OpenMM's periodic box.
    - `length`, `energy`: the model's units in nm and kJ/mol; the defaults are those of A and eV.
    - `points`, `least`: as `hgn.export.pair_curves`.

    **Raises:** `ModuleNotFoundError` without OpenMM; `ValueError` as `hgn.export.pair_curves`, for
    a model without a cutoff, or elements that it does not know.
    """
    import openmm

    if not np.isfinite(model.reach):
        raise ValueError(
            "OpenMM needs a cutoff, but the model has none: train with one, hgn.Pair(cutoff=...)"
        )
    curves = pair_curves(model, points=points, least=least)
    species = model.basis.species if len(curves) > 1 else ()
    kinds = np.searchsorted(species, elements) if species else np.zeros(len(elements), int)
    known = np.isin(elements, species) if species else np.ones(len(elements), bool)
    if not known.all():
        strange = int(np.asarray(elements)[~known][0])
        named = SYMBOLS[strange - 1] if 0 < strange <= len(SYMBOLS) else strange
        raise ValueError(f"the model does not know the element {named}")
    # A function is chosen by the pair of kinds: all others are multiplied by zero.
    parts = []
    kinds_of = list(itertools.combinations_with_replacement(range(max(1, len(species))), 2))
    for number, (a, b) in enumerate(kinds_of):
        of_pair = f"(delta(kind1 - {a})*delta(kind2 - {b})"
        if a != b:  # OpenMM gives the particles of a pair in either order
            of_pair += f" + delta(kind1 - {b})*delta(kind2 - {a})"
        parts.append(f"{of_pair})*curve{number}(r)")
    force = openmm.CustomNonbondedForce(" + ".join(parts))
    force.addPerParticleParameter("kind")
    for number, curve in enumerate(curves):
        # OpenMM differentiates the table, and would amplify the rounding of energies.
        integral = CubicSpline(curve.r, -curve.force).antiderivative()(curve.r)
        r, values = length * curve.r, energy * (integral - integral[-1])
        table = openmm.Continuous1DFunction(values, float(r[0]), float(r[-1]))
        force.addTabulatedFunction(f"curve{number}", table)
    for kind in kinds:
        force.addParticle([float(kind)])
    method = force.CutoffPeriodic if periodic else force.CutoffNonPeriodic
    force.setNonbondedMethod(method)
    force.setCutoffDistance(length * model.reach)
    return force
