"""A ridge per group of columns in fits: terms, standard deviations, streams, vmap, a weak field."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn

SOLVER = hgn.QR(ridge="groups")
TRIANGLE = hgn.graphs.fully_connected(3, 2, mass=jnp.array([1.0, 2.0, 0.5]))
SPRINGS = hgn.systems.mass_spring("spring", rest_length=1.0)
PLAIN = {"observations": (hgn.Derivatives("uniform"),), "solver": SOLVER}


@pytest.fixture(scope="module")
def data(with_noise):
    start = hgn.systems.Uniform(0.25, 0.3)
    clean = hgn.systems.simulate(SPRINGS, TRIANGLE, key=jr.key(1), trajectories=60, start=start)
    return with_noise(clean, 0.1)


@pytest.fixture(scope="module")
def features(data):
    return hgn.sample((hgn.Kinetic(2), hgn.Pair(6), hgn.External(3)), data, key=jr.key(2))


@pytest.fixture(scope="module")
def fit(data, features):
    return hgn.solve(features, data, **PLAIN)


def test_terms_tell_their_groups(fit, features, data):
    assert fit.solutions[0].groups == (3,)
    assert fit.solutions[1].groups == (6, 9, 9, 2)
    both = (hgn.Derivatives(), hgn.Energies())
    tied = hgn.solve(features, data, observations=both, solver=SOLVER)
    assert tied.solutions[0].groups == (3, 6, 9, 9, 2, tied.equations.basis.constant_count)
    assert fit.ridge == max(float(s.ridge.max()) for s in fit.solutions)


@eqx.filter_jit
def force_rows(model, graphs):
    """d force / d theta of pair and external features, side by side."""

    def force(theta):
        return eqx.tree_at(lambda m: m.theta[1:], model, theta).vector_field(graphs)[1]

    rows = jnp.concatenate(jax.jacfwd(force)(model.theta[1:]), axis=-1)
    return rows.reshape(-1, rows.shape[-1])


def test_standard_deviations_are_the_closed_form_with_a_ridge_of_each_group(fit, data):
    z = np.asarray(force_rows(fit.model, data))
    scale, ridges = np.linalg.norm(z, axis=0), np.asarray(fit.solutions[1].ridge)
    scaled = z / scale
    inverse = np.linalg.inv(scaled.T @ scaled + np.diag(np.repeat(ridges, (6, 9, 9, 2)) ** 2))
    variance = np.einsum("ij,jk,ik->i", scaled, inverse, scaled)
    expected = float(fit.solutions[1].noise) * np.sqrt(variance)
    found = fit.standard_deviation(data).force
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-7)
    assert ridges.max() / ridges.min() > 10


def same(a, b):
    for x, y in zip(a.solutions, b.solutions, strict=True):
        np.testing.assert_allclose(x.ridge, y.ridge, rtol=1e-6)
        for name in ("evidence", "noise", "effective_dof", "group_dof"):
            x_value, y_value = (np.asarray(getattr(s, name)) for s in (x, y))
            np.testing.assert_allclose(x_value, y_value, rtol=1e-6, atol=1e-9)
        size = np.abs(x.theta).max()
        np.testing.assert_allclose(x.theta, y.theta, rtol=1e-5, atol=1e-8 * size)


def test_updates_and_streams_are_one_fit(fit, data, features):
    pieces = [hgn.graphs.take(data, np.arange(60) // 20 == k) for k in range(3)]
    first, *further = pieces
    updated = hgn.solve(features, first, **PLAIN)
    for piece in further:
        updated = updated.update(piece)
    same(updated, fit)
    specs = (hgn.Kinetic(2), hgn.Pair(6), hgn.External(3))
    options = {"key": jr.key(2), "terms": specs, **PLAIN}
    streamed = hgn.fit_stream(pieces, sample_from=data, **options)
    same(streamed, hgn.fit(data, **options))


def test_vmap_over_keys_is_every_fit_alone(data):
    def fit(key):
        specs = (hgn.Kinetic(2), hgn.Pair(6), hgn.External(3))
        return hgn.fit(data, key=key, terms=specs, throw=False, **PLAIN)

    keys = jr.split(jr.key(3), 3)
    every = jax.jit(jax.vmap(lambda key: fit(key).solutions))(keys)
    assert every[1].ridge.shape == (3, 4)
    for k in range(3):
        one = fit(keys[k])
        assert one.result == hgn.RESULTS.successful
        for many, alone in zip(every, one.solutions):
            np.testing.assert_allclose(many.ridge[k], alone.ridge, rtol=1e-5)
            np.testing.assert_allclose(many.evidence[k], alone.evidence, rtol=1e-9)


def test_external_features_cost_nothing_where_there_are_none_and_find_a_field(cube, with_noise):
    """1% noise, 100 snapshots: with one ridge, errors of forces are half as large again."""
    field = jnp.array([0.03, -0.02, 0.01])
    errors = {}
    for strength in (0.0, 1.0):

        def external(q, mass, strength=strength):
            return -strength * mass * jnp.dot(field, q)

        true = hgn.systems.mass_spring("morse", external=external)
        train, test = (
            hgn.systems.simulate(true, cube, key=jr.key(k), trajectories=100) for k in (0, 1)
        )
        drawn = hgn.sample((hgn.Kinetic(0), hgn.Pair(32), hgn.External(6)), train, key=jr.key(2))
        for name, which, solver in (
            ("pair", drawn[:2], hgn.QR()),
            ("one ridge", drawn, hgn.QR()),
            ("groups", drawn, SOLVER),
        ):
            plain = (hgn.Derivatives("uniform"),)
            fit = hgn.solve(which, with_noise(train, 0.01), observations=plain, solver=solver)
            errors[name, strength] = hgn.metrics.relative_error(fit.model, test)["force"]
    assert errors["groups", 0.0] < 1.05 * errors["pair", 0.0]
    assert errors["one ridge", 0.0] > 1.4 * errors["groups", 0.0]
    assert errors["groups", 1.0] < 1.1 * errors["groups", 0.0] < 0.1 * errors["pair", 1.0]
    np.testing.assert_allclose(-fit.model.theta[2][-3:], field, atol=5e-4)
