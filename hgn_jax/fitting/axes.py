"""Direction of a field of degree 1, principal axis of one of degree 2, with standard deviations."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from ..features.multipoles import curvatures, slopes

EXACT = 1e-12
"""Relative standard deviation below which rounding is the greater error."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """Direction of a force, or principal axis of a quadratic energy, with standard deviations."""

    direction: Float[np.ndarray, " d"]
    """Unit vector: along the force for degree 1, up to its sign for degree 2."""
    angle_std: float
    """Standard deviation of its angle (degrees)."""
    strength: float
    """Force for degree 1 (mass * length / time^2), curvature of the energy along the axis for
    degree 2 (energy / length^2, or an energy for the direction of bonds)."""
    strength_std: float

    def __str__(self) -> str:
        vector = ", ".join(f"{x:.3f}" for x in self.direction)
        angle = f"{self.angle_std:.2g}" if self.angle_std < 60 else "any number of"
        return (
            f"({vector}) +- {angle} degrees, strength {measured(self.strength, self.strength_std)}"
        )


def axis_of(
    degree: int,
    amplitude: Float[np.ndarray, " c"],
    covariance: Float[np.ndarray, "c c"],
    dimension: int,
) -> Axis:
    """Axis of a multipole of degree 1 or 2, its errors to first order.

    `amplitude` multiplies the solid harmonics of that degree, so their gradient is the force of
    degree 1 and their Hessian the curvature of degree 2. The principal axis of degree 2 is that of
    the greatest curvature by magnitude; in two dimensions, where both are equal, the stiff one.
    """
    if degree == 1:
        forces = -slopes(dimension)
        force = amplitude @ forces
        strength = float(np.linalg.norm(force))
        e = force / strength if strength else np.eye(dimension)[0]
        # To first order: the derivative of the unit vector by the amplitudes.
        turned = (forces - np.outer(forces @ e, e)).T / max(strength, np.finfo(float).tiny)
        along = forces @ e
    else:
        hessians = curvatures(dimension)
        values, vectors = np.linalg.eigh(np.tensordot(amplitude, hessians, 1))
        # In two dimensions both are equal up to rounding: the stiff one is wanted.
        k = len(values) - 1 if values[-1] >= -values[0] * (1 - 1e-9) else 0
        # An axis has no sign: its greatest component is made positive.
        e, strength = vectors[:, k] * np.sign(vectors[np.argmax(abs(vectors[:, k])), k]), values[k]
        others = [j for j in range(dimension) if j != k]
        # Perturbation theory: other axes mix in by their matrix elements over the gaps.
        gaps = np.maximum(abs(values[k] - values[others]), np.finfo(float).tiny)
        turned = np.einsum("ja,mab,b->jm", vectors[:, others].T, hessians, e) / gaps[:, None]
        along = e @ hessians @ e  # derivative of the eigenvalue
    angle = _std(turned, covariance)
    return Axis(e, min(math.degrees(angle), 90.0), float(strength), _std(along[None], covariance))


def measured(value: float, std: float) -> str:
    """A number with the standard deviation of its last digit, such as 9.81(3)."""
    if not (std > 0 and math.isfinite(std) and math.isfinite(value)):
        return f"{value:.6g}"
    if std < EXACT * abs(value):
        return f"{value:.12g}"
    places = -math.floor(math.log10(std))
    last = round(std * 10**places)
    if last == 10:  # 9.6 becomes 10: one place fewer
        places, last = places - 1, 1
    size = max(math.floor(math.log10(abs(value))) if value else 0, -places)
    if -4 <= size < 6 and places >= 0:
        return f"{value:.{places}f}({last})"
    return f"{value / 10.0**size:.{size + places}f}({last})e{size:d}"


def _std(rows: Float[np.ndarray, "j c"], covariance: Float[np.ndarray, "c c"]) -> float:
    """Root of the summed variances of `rows` times the amplitudes."""
    return math.sqrt(max(float(np.trace(rows @ covariance @ rows.T)), 0.0))
