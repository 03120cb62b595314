"""Pair potentials of a model as tables of distances, energies and forces."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._arguments import whole_number
from ..features.kinetic_base import AbstractKineticFeatures
from ..features.pair_base import AbstractPairFeatures
from ..io.elements import SYMBOLS
from ..models.network import HamiltonianGraphNetwork
from ..models.newtonian import Newtonian


class PairCurve(NamedTuple):
    """One pair potential, zero at the last distance."""

    name: str
    """Symbols of both elements, such as "Si-O", or else the number of the edge type."""
    r: Float[np.ndarray, " p"]
    energy: Float[np.ndarray, " p"]
    force: Float[np.ndarray, " p"]
    """-dV/dr: positive if bodies repel each other."""


def pair_curves(
    model: HamiltonianGraphNetwork, *, points: int = 2000, least: float | None = None
) -> list[PairCurve]:
    """Learned pair potentials at evenly spaced distances, one for each edge type.

    They are those of unit coupling. Kinetic energies are left out: other programs have their own,
    $|p|^2 / 2m$.

    **Arguments:**

    - `model`: a model of pairs, and of nothing else but kinetic energies.
    - `points`: number of distances.
    - `least`: least distance (length); None for the least of each type in training. Below, the
        model extrapolates.

    **Raises:** `ValueError` for a model with other terms or a known potential, without pairs, with
    an edge type that has no pairs in training, or a `least` that is not below the greatest
    distance.
    """
    points = whole_number("points", points, 2)
    _require_pairs_only(model)
    return [_curve(model, kind, name, points, least) for kind, name in enumerate(_names(model))]


def _require_pairs_only(model: HamiltonianGraphNetwork) -> None:
    others = [
        term.name
        for term in model.terms
        if not isinstance(term, AbstractPairFeatures | AbstractKineticFeatures)
    ]
    known = model.basis.known
    if known is not None and not isinstance(known, Newtonian):
        others.append(f"the known {type(known).__name__}")
    if others:
        raise ValueError(
            f"a table holds pair potentials only, but the model also has {', '.join(others)}: "
            "export it by hgn.export.bundle, or as a calculator, hgn.ase.Calculator"
        )


def _names(model: HamiltonianGraphNetwork) -> list[str]:
    """Names of the edge types: those of the pairs of elements, in the order of pair types."""
    types = max((t.types for t in model.terms if isinstance(t, AbstractPairFeatures)), default=0)
    if not types:
        raise ValueError("the model has no pair potential")
    species = model.basis.species
    # Otherwise edges have types of their own, or species are no elements.
    if types == len(species) * (len(species) + 1) // 2 and species[0] > 0:
        symbols = [SYMBOLS[z - 1] for z in species]
        return [f"{a}-{b}" for k, a in enumerate(symbols) for b in symbols[k:]]
    return [str(kind) for kind in range(types)]


def _curve(
    model: HamiltonianGraphNetwork, kind: int, name: str, points: int, least: float | None
) -> PairCurve:
    low, high = (float(x) for x in model.pair_range(kind))
    if not low <= high < np.inf:
        raise ValueError(f"edge type {kind} ({name}) had no pair in training: nothing to tabulate")
    last = model.reach if np.isfinite(model.reach) else high  # where it has faded to zero
    first = low if least is None else float(least)
    if not 0 < first < last:
        raise ValueError(f"least must be between 0 and {last:.6g}, got {first:.6g}")
    r = jnp.linspace(first, last, points, dtype=model.theta[0].dtype)

    def energy(x: jax.Array) -> jax.Array:
        return model.pair_energy(x, kind)

    value, slope = jax.jit(jax.vmap(jax.value_and_grad(energy)))(r)
    return PairCurve(name, *(np.asarray(a, float) for a in (r, value - value[-1], -slope)))
