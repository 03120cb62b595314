"""Cholesky QR by a sketch of the rows keeps all digits, also of rows that the sketch misses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from triangle_problems import FACTORISE, METHODS, factorised, radial

from hgn_jax.linear import triangle as triangles


def alike(kind):
    """2400 rows of 256 nearly dependent columns, made awkward for a sketch of their sums."""
    z, u = radial(1)[:2]
    rng = np.random.default_rng(30)
    few = rng.normal(size=(40, 30))
    if kind == "duplicates":
        z[:, 200:] = z[:, :56]
    elif kind == "a line and rows of zeros":
        z[600:] = 0
        z[:, 3] = 0
    elif kind == "columns on neighbouring rows":
        z[:, :30] = 0
        z[500:540, :30] = few
    elif kind == "columns on scattered rows":
        z[:, :30] = 0
        z[rng.choice(2400, 40, replace=False), :30] = few
    elif kind == "one row outweighs all":
        z[5] *= 1e8
    elif kind == "rows that cancel":
        # Four rows at the corners of a rectangle of near and far neighbours: half of these cancel.
        corners = np.add.outer(20 * np.arange(6), [1, 2, 515, 516]).ravel()
        z[corners] = z[:, :24] = 0
        z[corners, :24] = rng.normal(size=(24, 24))
        z[1000:1100, :24] = 1e-4 * rng.normal(size=(100, 24))
    return z, u


AWKWARD = [
    "nothing",
    "duplicates",
    "a line and rows of zeros",
    "columns on neighbouring rows",
    "columns on scattered rows",
    "one row outweighs all",
    "rows that cancel",
]


def departure(t, z, u):
    """Greatest errors of R^T R = Z^T Z and R^T Q^T u = Z^T u, by column, and that of |u|."""
    z, u, r, qu = (np.asarray(a, np.longdouble) for a in (z, u, t.r, t.qu))
    scale = np.sqrt(np.sum(z**2, axis=0))
    scale[scale == 0] = 1
    norm = np.sqrt(np.sum(u**2))
    return (
        np.max(np.abs(r.T @ r - z.T @ z) / np.outer(scale, scale)),
        np.max(np.abs(r.T @ qu - z.T @ u) / scale) / norm,
        abs(np.sqrt(np.sum(qu**2) + np.asarray(t.rest) ** 2) / norm - 1),
    )


@METHODS
@pytest.mark.parametrize("kind", AWKWARD)
def test_rows_that_a_sketch_may_miss_keep_their_digits(method, kind):
    z, u = alike(kind)
    assert max(departure(factorised(z, u, method), z, u)) < 1e-13


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-13), (np.float32, 1e-4)])
@pytest.mark.parametrize("kind", ["nothing", "duplicates", "a line and rows of zeros"])
def test_the_sketch_suffices(kind, dtype, bound, monkeypatch):
    """Also for columns that depend on one another: Householder's way is closed here."""
    z, u = (a.astype(dtype) for a in alike(kind))
    householder = triangles._householder
    short = 1500

    def of_sketches(rows):
        return householder(rows) if len(rows) < short else jnp.full((257, 257), jnp.nan, dtype)

    monkeypatch.setattr(triangles, "_householder", of_sketches)
    t = jax.jit(lambda z, u: triangles.triangle(z, u, None, "cholesky"))(z, u)
    assert max(departure(t, z, u)) < bound


def test_batches_with_one_system_that_the_sketch_misses():
    """All of the batch take Householder's way then."""
    systems = [alike(kind) for kind in ("nothing", "rows that cancel")]
    together = jax.vmap(FACTORISE["cholesky"])(*(jnp.stack(a) for a in zip(*systems)))
    leaves, structure = jax.tree.flatten(together)
    for system, *own in zip(systems, *leaves):
        assert max(departure(jax.tree.unflatten(structure, own), *system)) < 1e-13
