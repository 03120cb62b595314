"""Ensembles: mean and spread are those of single rollouts."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn

EVERY = hgn.Every(10, 4)


@pytest.fixture(scope="module")
def start(cube):
    rng = np.random.default_rng(0)
    nodes = {"momentum": jnp.asarray(rng.normal(0, 0.1, (8, 3)))}
    return cube._replace(nodes=cube.nodes | nodes)


@pytest.fixture(scope="module")
def systems():
    return [hgn.systems.mass_spring("spring", stiffness=k, rest_length=1.0) for k in (0.9, 1, 1.2)]


def test_mean_and_spread_are_those_of_single_rollouts(systems, start):
    spread = hgn.rollout_ensemble(systems, start, EVERY, dt=0.02)
    single = np.stack([hgn.rollout(s, start, EVERY, dt=0.02).position for s in systems])
    np.testing.assert_allclose(spread.members.position, single, rtol=0, atol=1e-13)
    np.testing.assert_allclose(spread.position, single.mean(0), rtol=0, atol=1e-13)
    by_hand = np.sqrt((single.std(0, ddof=1) ** 2).sum(-1))
    np.testing.assert_allclose(spread.position_spread, by_hand, rtol=0, atol=1e-13)
    assert spread.finite.all() and (np.diff(spread.position_spread.mean(1)) > 0).all()


def test_models_of_vmapped_fits_agree_with_the_truth_within_their_spread(data, specs, start):
    models = jax.vmap(lambda key: hgn.fit(data, key=key, terms=specs).model)(jr.split(jr.key(0), 3))
    spread = hgn.rollout_ensemble(models, start, EVERY, dt=0.02)
    truth = hgn.rollout(hgn.systems.mass_spring("spring", rest_length=1.0), start, EVERY, dt=0.02)
    error = np.linalg.norm(np.asarray(spread.position - truth.position), axis=-1).mean(1)
    deviation = np.asarray(spread.position_spread).mean(1)
    assert (error[1:] < 10 * deviation[1:]).all() and (deviation < 1e-5).all()


def test_bad_ensembles_are_refused(systems, start, fitted):
    with pytest.raises(ValueError, match="at least two members, got 1"):
        hgn.rollout_ensemble([fitted.model], start, EVERY, dt=0.02)
    with pytest.raises(ValueError, match="differ in structure"):
        hgn.rollout_ensemble([fitted.model, systems[0]], start, EVERY, dt=0.02)
