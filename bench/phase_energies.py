"""Energies of one body's position and momentum, from gradients alone: the double pendulum and
Henon-Heiles, as in sampled Hamiltonian networks (arXiv 2411.17511)."""

import time

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from jraph import GraphsTuple

import hgn_jax as hgn

from .record import Record

SAMPLED_HNN = {"double pendulum": 4.1e-3, "Henon-Heiles": 6.8e-8}


def errors(name: str, quick: bool) -> Record:
    """Relative error of H on 4,000 further points. The constant of H, which gradients leave open,
    is that of the mean; the published networks are given H at one point."""
    energy, widths, term = {
        "double pendulum": (
            double_pendulum,
            np.array([np.pi, np.pi, 1, 1]),
            hgn.Phase(500, angles=(0, 1), degrees=(0, 2), activation="tanh"),
        ),
        "Henon-Heiles": (henon_heiles, np.full(4, 5.0), hgn.Phase(200, degrees=(0, 2))),
    }[name]
    rng = np.random.default_rng(0)
    z, unseen = (widths * rng.uniform(-1, 1, (n, 4)) for n in (2000 if quick else 20_000, 4000))
    slopes = jax.vmap(jax.grad(energy))(jnp.asarray(z))
    rates = {"velocity": slopes[:, 2:], "force": -slopes[:, :2]}
    begin = time.perf_counter()
    fit = hgn.fit_stream(
        list(hgn.graphs.chunks(_points(z, rates), 1000)),
        key=0,
        terms=[term],
        observations=[hgn.Derivatives("uniform")],
    )
    seconds = time.perf_counter() - begin
    true = np.asarray(jax.vmap(energy)(jnp.asarray(unseen)))
    error = np.asarray(fit.model(_points(unseen, {}))) - true
    error -= error.mean()
    return {
        "error": float(np.linalg.norm(error) / np.linalg.norm(true)),
        "published": SAMPLED_HNN[name],
        "published_width": 5000,
        "goal": {"double pendulum": 1e-3, "Henon-Heiles": 1e-10}[name],
        "units": term.units,
        "columns": len(fit.model.theta[0]),
        "points": len(z),
        "seconds": seconds,
    }


def double_pendulum(z: Array) -> Array:
    """Masses, lengths and gravity 1."""
    q, p = z[:2], z[2:]
    kinetic = p[0] ** 2 + 2 * p[1] ** 2 - 2 * p[0] * p[1] * jnp.cos(q[0] - q[1])
    potential = -2 * jnp.cos(q[0]) - jnp.cos(q[1])
    return kinetic / (2 + 2 * jnp.sin(q[0] - q[1]) ** 2) + potential


def henon_heiles(z: Array) -> Array:
    return jnp.sum(z**2) / 2 + z[0] ** 2 * z[1] - z[1] ** 3 / 3


def _points(z: np.ndarray, rates: dict[str, Array]) -> GraphsTuple:
    arrays = {"position": z[:, None, :2], "momentum": z[:, None, 2:]}
    arrays = {name: jnp.asarray(a) for name, a in arrays.items()}
    arrays |= {name: a[:, None] for name, a in rates.items()}
    return hgn.graphs.snapshots(hgn.graphs.from_pairs(np.zeros((1, 2)), []), arrays, {})
