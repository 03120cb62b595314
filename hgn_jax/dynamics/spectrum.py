"""Spectra of correlation functions."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._tree import is_concrete


class Spectrum(NamedTuple):
    """A spectrum and its angular frequencies."""

    frequency: Float[Array, " f"]
    """Angular frequency (1 / time), from zero to pi over the time between samples."""
    density: Float[Array, "f ..."]


def spectrum(times: ArrayLike, correlation: ArrayLike) -> Spectrum:
    r"""Spectrum of a correlation function C, such as `hgn.VelocityAutocorrelation` records.

    $S(\omega) = \frac{2}{\pi} \int_0^T C(t) \cos(\omega t)\, w(t)\, dt$ with Hann's window
    $w = \cos^2(\pi t / 2 T)$, by the trapezoidal rule: $\int_0^\infty S\, d\omega = C(0)$. That of
    the velocity autocorrelation is the density of vibrational states, up to a factor. Lines are
    $2 \pi / T$ wide.

    - `times`: `[t]`, an equal time apart, from zero.
    - `correlation`: `[t ...]`; average it over starts first, for smooth spectra.

    **Raises:** `ValueError` for times that are not an equal time apart, or fewer than two.

    Allen and Tildesley, Computer Simulation of Liquids, 2nd ed., section 8.4.
    """
    t, c = jnp.asarray(times), jnp.asarray(correlation)
    if t.ndim != 1 or len(t) < 2 or c.shape[:1] != t.shape:
        raise ValueError(f"need times [t] and a correlation [t ...], got {t.shape}, {c.shape}")
    if is_concrete(t):
        spacing = np.diff(np.asarray(t, float))
        if np.abs(spacing - spacing[0]).max() > 1e-4 * abs(spacing[0]):
            raise ValueError(
                f"times must be evenly spaced, got steps of {spacing.min():.6g} to "
                f"{spacing.max():.6g}"
            )
    step, last = t[1] - t[0], len(t) - 1
    window = np.cos(np.pi / 2 * np.arange(len(t)) / last) ** 2
    window[0] /= 2  # the trapezoidal rule, and the window is zero at the end
    frequency = np.pi * np.arange(len(t)) / last
    # The time between samples cancels from phases: NumPy's float64 serves under jit, too.
    cosines = np.cos(frequency[:, None] * np.arange(len(t)))
    weights = jnp.asarray(2 / np.pi * cosines * window[None], c.dtype)
    return Spectrum(
        jnp.asarray(frequency, c.dtype) / step.astype(c.dtype),
        step.astype(c.dtype) * jnp.tensordot(weights, c, axes=1),
    )
