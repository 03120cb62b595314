"""A Hamiltonian of pairs and simple fields as plain numbers."""

from typing import Any

import numpy as np
from jaxtyping import Array, Float

from ..features.compressed import CompressedKineticFeatures, CompressedPairFeatures
from ..features.curves import AbstractCurve, Chebyshev, Spline
from ..features.exact import HarmonicTrap, Powers, UniformField
from ..features.power_tails import PowerTails
from ..models.equations_of_motion import Canonical
from ..models.network import HamiltonianGraphNetwork
from ..models.newtonian import Newtonian

SKIN = 0.1
"""Skin of neighbour lists, relative to the cutoff."""


def plain_model(model: HamiltonianGraphNetwork) -> dict[str, Any]:
    r"""The Hamiltonian of a compressed model, without its constants, as lists and numbers.

    $H = \sum_{pairs} c_{ij} (\sum \phi(r_{ij}^2) + \sum_n \theta_n r_{ij}^n)
    + \sum_i m_i (\frac{1}{2} |v_i|^2 + \sum f(|v_i|^2))
    + \sum_i m_i g \cdot q_i + \frac{k}{2} |q_i|^2 + b \cdot q_i$

    **Raises:** `ValueError` for a model with other terms, a known potential or constraints.
    """
    _require_plain(model)
    pairs, powers, kinetic = [], [], []
    uniform, stiffness, pull = np.zeros(0), 0.0, np.zeros(0)  # the first field tells the dimension
    for term, theta in zip(model.terms, model.theta):
        coefficients = np.asarray(theta, float)
        if isinstance(term, Powers):
            powers += [[float(n), c] for n, c in zip(term.exponents, coefficients.tolist())]
        elif isinstance(term, UniformField):
            uniform = coefficients + (uniform if len(uniform) else 0)
        elif isinstance(term, HarmonicTrap):
            stiffness += float(coefficients[0])
            pull = coefficients[1:] + (pull if len(pull) else 0)
        elif isinstance(term, CompressedKineticFeatures):
            kinetic.append(_curve(term.curve, theta[0]))
        elif isinstance(term, PowerTails):
            assert isinstance(term.inner, CompressedPairFeatures)
            inner = _curves(term.inner, theta)
            pairs.append([curve | {"tails": _tails(term, t)} for t, curve in enumerate(inner)])
        elif isinstance(term, CompressedPairFeatures):
            pairs.append(_curves(term, theta))
    cutoff = model.reach if 0 < model.reach < np.inf else None
    return {
        "pairs": pairs,
        "powers": powers,
        "kinetic": kinetic,
        "newtonian": model.basis.known is not None,
        "field": {"uniform": uniform.tolist(), "stiffness": stiffness, "pull": pull.tolist()},
        "cutoff": cutoff,
        "skin": None if cutoff is None else SKIN * cutoff,
        "kinds": max(1, len(model.basis.species)),
    }


def _require_plain(model: HamiltonianGraphNetwork) -> None:
    plain = CompressedPairFeatures, CompressedKineticFeatures, Powers, UniformField, HarmonicTrap
    others = [
        term.name
        for term in model.terms
        if not isinstance(term.inner if isinstance(term, PowerTails) else term, plain)
    ]
    if not isinstance(model.dynamics, Canonical):
        others.append(f"the dynamics {type(model.dynamics).__name__}")
    known = model.basis.known
    if known is not None and not isinstance(known, Newtonian):
        others.append(f"the known {type(known).__name__}")
    if others:
        raise ValueError(
            "JavaScript holds pairs, powers, uniform fields, traps and kinetic energies only, but "
            f"the model also has {', '.join(others)}: export it by hgn.export.bundle, or show a "
            "rollout of it, hgn.plots.view"
        )


def _curves(term: CompressedPairFeatures, theta: Float[Array, " T"]) -> list[dict[str, Any]]:
    return [_curve(curve, factor) for curve, factor in zip(term.curves, theta)]


def _curve(curve: AbstractCurve, factor: Float[Array, ""]) -> dict[str, Any]:
    shared = {
        "variable": curve.variable,
        "span": np.asarray(curve.span, float).tolist(),
        "end": curve.end,
        "factor": float(factor),
    }
    if isinstance(curve, Chebyshev):
        parts = {"coefficients": curve.coefficients, "derivative": curve.derivative}
    else:
        assert isinstance(curve, Spline)
        parts = {"pieces": curve.pieces}
    return shared | {name: np.asarray(part, float).tolist() for name, part in parts.items()}


def _tails(term: PowerTails, kind: int) -> dict[str, list[float | None]]:
    starts = np.asarray(term.starts, float)[kind].tolist()
    return {
        "starts": [r if r < np.inf else None for r in starts],  # JSON has no infinity
        "exponents": np.asarray(term.exponents, float)[kind].tolist(),
    }
