"""Least-squares problems, and their triangles by both methods."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgn_jax.linear import triangle as triangles

METHODS = pytest.mark.parametrize("method", ["householder", "cholesky"])


def system(seed=0, rows=128, columns=12, targets=()):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, columns)), rng.normal(size=(rows, *targets))


# One function for each method, so that equal shapes compile once.
FACTORISE = {
    m: jax.jit(functools.partial(triangles.triangle, rows=None, method=m))
    for m in ("householder", "cholesky")
}


def factorised(z, u, method="householder"):
    return FACTORISE[method](jnp.asarray(z), jnp.asarray(u))


def error(a, b):
    return np.linalg.norm(np.asarray(a, np.float64) - b) / np.linalg.norm(b)


def radial(seed, dtype=np.float64, rows=2400, tests=300):
    """256 nearly dependent units of one variable: rows and targets for training and testing."""
    rng = np.random.default_rng(seed)
    x, unseen = rng.uniform(0.5, 2.0, rows), rng.uniform(0.5, 2.0, tests)
    first, second = rng.choice(x, 256), rng.choice(x, 256)
    step = second - first
    w = np.log(3) * np.where(step < 0, -1, 1) / np.maximum(np.abs(step), 0.2)
    b = -w * first - np.log(3) / 2
    units = [(w / np.cosh(w * r[:, None] + b) ** 2).astype(dtype) for r in (x, unseen)]
    force = [(2 * (1 - np.exp(1 - r)) * np.exp(1 - r)).astype(dtype) for r in (x, unseen)]
    return units[0], force[0], units[1].astype(np.float64), force[1].astype(np.float64)


def slope(f, h):
    """Central difference of fourth order."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)
