"""Priors from related systems: expectation maximisation, the posterior, and few-shot fits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import hgn_jax as hgn
from hgn_jax.linear.prior import GaussianPrior, learned
from hgn_jax.linear.triangle import triangle

UNIFORM = {"observations": [hgn.Derivatives("uniform")]}


def systems(count, rows, noise, mean, root, seed=0, scales=1.0):
    """Rows of systems whose coefficients are normal: triangles, solutions, true coefficients."""
    rng = np.random.default_rng(seed)
    factors, solutions, truth = [], [], []
    solve = jax.jit(hgn.QR(1e-12).solve)
    for _ in range(count):
        theta = mean + root @ rng.normal(size=len(mean))
        z = rng.normal(size=(rows, len(mean)))
        u = z @ theta + noise * rng.normal(size=rows)
        t = triangle(jnp.asarray(z * scales), jnp.asarray(u))
        factors.append(t)
        solutions.append(solve(t))
        truth.append(theta)
    return factors, solutions, np.array(truth)


MEAN = np.array([1.0, -2.0, 0.5, 3.0])
ROOT = np.array([[0.5, 0, 0, 0], [0.4, 0.1, 0, 0], [0, 0, 0.3, 0], [-0.2, 0, 0.2, 0.01]])


def test_mean_and_covariance_are_those_of_the_coefficients():
    """Many rows with little noise give the sample's; its error is that of 100 systems."""
    triangles, solutions, truth = systems(100, 40, 1e-4, MEAN, ROOT)
    found = learned(triangles, solutions)
    theta = truth * np.asarray(found.scale)
    np.testing.assert_allclose(found.mean, theta.mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(found.covariance, np.cov(theta.T, bias=True), atol=1e-4)
    assert np.exp(found.log_noise) == pytest.approx(1e-4, rel=0.05)


def test_systems_that_no_fit_determines_determine_the_prior_together():
    """Two rows of four unknowns each, from 400 systems: only the prior makes them one problem."""
    triangles, solutions, _ = systems(400, 2, 0.05, MEAN, ROOT, seed=1)
    solutions = [eqx.tree_at(lambda s: s.noise, s, jnp.asarray(0.05)) for s in solutions]
    found = learned(triangles, solutions)
    np.testing.assert_allclose(found.mean / found.scale, MEAN, atol=0.15)
    covariance = found.covariance / np.outer(found.scale, found.scale)
    np.testing.assert_allclose(covariance, ROOT @ ROOT.T, atol=0.15)


@pytest.fixture(scope="module")
def known():
    return GaussianPrior(
        jnp.asarray(MEAN),
        jnp.asarray(ROOT @ ROOT.T),
        jnp.ones(4),
        jnp.log(0.1),
        jnp.asarray(1.0),
    )


@pytest.mark.parametrize("like", [True, False])
def test_solution_and_evidence_are_those_of_bayesian_regression(known, like):
    """The rows of the prior give mean and covariance; SciPy gives the likelihood of the data."""
    rng = np.random.default_rng(2)
    theta = MEAN + ROOT @ rng.normal(size=4) if like else np.array([-5.0, 5.0, 5.0, -5.0])
    n = 3 if like else 12
    z = rng.normal(size=(n, 4))
    u = z @ theta + 0.1 * rng.normal(size=n)
    found = known.solve(triangle(jnp.asarray(z), jnp.asarray(u)), (4,))
    assert found.prior.trust > 0 if like else found.prior.trust == 0
    rows, sigma = found.prior.rows, float(found.noise)
    covariance = sigma**2 * np.linalg.inv(np.asarray(rows.r.T @ rows.r))
    mean = np.linalg.solve(np.asarray(rows.r), np.asarray(rows.qu))
    np.testing.assert_allclose(mean, MEAN if like else 0 * MEAN, atol=1e-8)
    spread = z @ covariance @ z.T + sigma**2 * np.eye(n)
    gain = covariance @ z.T @ np.linalg.inv(spread)
    np.testing.assert_allclose(found.theta, mean + gain @ (u - z @ mean), rtol=1e-8)
    likelihood = multivariate_normal(z @ mean, spread).logpdf(u) + n / 2 * (1 + np.log(2 * np.pi))
    off = float((jnp.log(found.noise) - known.log_noise) / known.log_noise_spread)
    assert found.evidence == pytest.approx(likelihood - off**2 / 2, rel=1e-8)
    posterior = covariance - gain @ z @ covariance
    dof = 4 - np.trace(posterior @ np.linalg.inv(covariance))
    assert float(found.effective_dof) == pytest.approx(dof, rel=1e-6)


def test_units_of_columns_do_not_matter():
    scales = np.array([1e-3, 1.0, 1e2, 1e5])
    few = systems(1, 3, 0.05, MEAN, ROOT, seed=4)
    scaled = systems(1, 3, 0.05, MEAN, ROOT, seed=4, scales=scales)
    one, other = (
        learned(*systems(30, 20, 0.05, MEAN, ROOT, scales=s)[:2]).solve(held[0][0], (4,))
        for s, held in ((1.0, few), (scales, scaled))
    )
    np.testing.assert_allclose(one.theta, np.asarray(other.theta) * scales, rtol=1e-6)


def simulated(square, stiffness, seed, count, rest_length=1.0):
    spring = hgn.systems.mass_spring("spring", stiffness=stiffness, rest_length=rest_length)
    return hgn.systems.simulate(spring, square, key=jr.key(seed), trajectories=count)


@pytest.fixture(scope="module")
def square():
    return hgn.graphs.lattice((2, 2))


@pytest.fixture(scope="module")
def terms(square):
    return hgn.sample([hgn.Pair(16)], simulated(square, 1.0, 99, 50), key=0)


@pytest.fixture(scope="module")
def fits(square, terms, with_noise):
    """Springs of nine stiffnesses and rest lengths."""
    every = [
        simulated(square, k, i, 40, length)
        for i, (k, length) in enumerate((k, x) for k in (0.5, 1.0, 2.0) for x in (0.9, 1.0, 1.1))
    ]
    return [hgn.solve(terms, with_noise(d, 0.01), **UNIFORM) for d in every]


@pytest.fixture(scope="module")
def springs_prior(fits):
    return hgn.prior(fits)


def error(fit, data):
    return float(hgn.metrics.relative_error(fit.model, data)["force"])


def test_one_snapshot_of_a_related_system_is_enough(square, terms, springs_prior, with_noise):
    few = with_noise(simulated(square, 1.4, 20, 2, 1.05), 0.01)
    test = simulated(square, 1.4, 21, 50, 1.05)
    fit, alone = springs_prior.fit(few), hgn.solve(terms, few, **UNIFORM, throw=False)
    assert error(fit, test) < 0.02
    assert error(alone, test) > 3 * error(fit, test)
    assert fit.trust > 0 and alone.trust is None
    assert f"trust in the prior from other systems: {float(fit.trust):g}" in fit.summary()
    sigma = fit.standard_deviation(test).force
    off = fit.model.vector_field(test)[1] - test.nodes["force"]
    assert 0.3 < float(jnp.sqrt(jnp.mean((off / sigma) ** 2))) < 3


def test_an_unrelated_system_is_learned_from_scratch(square, terms, springs_prior, with_noise):
    morse = hgn.systems.mass_spring("morse", depth=-3.0)
    few, test = (
        hgn.systems.simulate(morse, square, key=jr.key(k), trajectories=n)
        for k, n in ((30, 40), (31, 50))
    )
    few = with_noise(few, 0.01)
    fit, alone = springs_prior.fit(few), hgn.solve(terms, few, **UNIFORM)
    assert error(fit, test) < 1.3 * error(alone, test)


def test_more_data_keep_the_prior(square, springs_prior, with_noise):
    few, more = (with_noise(simulated(square, 1.4, 40 + k, 2, 1.05), 0.01) for k in range(2))
    both = hgn.graphs.batch([few, more])
    fit = springs_prior.fit(few).update(more)
    at_once = springs_prior.fit(both)
    np.testing.assert_allclose(fit.model(both), at_once.model(both), rtol=1e-8)
    assert int(fit.rows) == int(at_once.rows)
    merged = hgn.merge([springs_prior.fit(few), springs_prior.fit(more)])
    np.testing.assert_allclose(merged.model(both), at_once.model(both), rtol=1e-8)


def test_fits_are_differentiable_with_respect_to_the_data(square, springs_prior, with_noise):
    """Coefficients are linear in the forces, as long as trust, width and noise stay."""
    few = with_noise(simulated(square, 1.4, 50, 2, 1.05), 0.01)
    force = few.nodes["force"]
    change = jr.normal(jr.key(0), force.shape)

    def theta(force):
        data = few._replace(nodes=few.nodes | {"force": force})
        return springs_prior.fit(data, throw=False).model.theta[0]

    _, tangent = jax.jvp(theta, (force,), (change,))
    fit = springs_prior.fit(few)
    system = fit.equations.systems(few)[-1]
    rows = fit.solutions[-1].prior.rows
    whole = np.concatenate([system.matrix, rows.r])
    own = np.zeros(len(whole))
    own[: len(system.target)] = change.ravel()
    np.testing.assert_allclose(
        np.asarray(system.matrix) @ np.asarray(tangent),
        np.asarray(system.matrix) @ np.linalg.lstsq(whole, own, rcond=None)[0],
        atol=1e-5,
    )


def test_fits_that_differ_are_refused(square, terms, fits, springs_prior):
    data = simulated(square, 1.0, 1, 20)
    with pytest.raises(ValueError, match="at least two systems, got 1"):
        hgn.prior(fits[:1])
    with pytest.raises(ValueError, match="prior: fit 1 has other terms than fit 0"):
        hgn.prior([fits[0], hgn.fit(data, key=5, terms=[hgn.Pair(16)], **UNIFORM)])
    scaled = [hgn.solve(terms, simulated(square, k, 1, 20)) for k in (1.0, 3.0)]
    with pytest.raises(ValueError, match="other observations or scales"):
        hgn.prior(scaled)
    with pytest.raises(ValueError, match="nodes hold"):
        nodes = {k: v for k, v in data.nodes.items() if k != "mass"}
        springs_prior.fit(data._replace(nodes=nodes))
