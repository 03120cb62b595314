"""Averaged SGD of bench/ against a loop, on a quadratic with noisy gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bench.asgd import asgd
from bench.race import tuned

STEPS, RATE = 40, 0.3
NOISE = np.random.default_rng(0).normal(size=(STEPS, 3))


def gradient(x, step):
    return np.array([1.0, 2.0, 3.0]) * x + NOISE[step]


def by_hand():
    """Iterates of SGD with the rate along a half cosine."""
    x, iterates = np.ones(3), []
    for step in range(STEPS):
        x = x - RATE * (1 + np.cos(np.pi * step / STEPS)) / 2 * gradient(x, step)
        iterates.append(x)
    return np.array(iterates)


def test_iterates_are_those_of_sgd_and_the_last_is_the_mean_of_the_second_half():
    optimizer = tuned(asgd, RATE, STEPS)
    update = jax.jit(optimizer.update)
    x, found = {"x": jnp.ones(3)}, []
    state = optimizer.init(x)
    for step in range(STEPS):
        updates, state = update({"x": jnp.asarray(gradient(x["x"], step))}, state, x)
        x = optax.apply_updates(x, updates)
        found.append(x["x"])
    iterates = by_hand()
    np.testing.assert_allclose(found[:-1], iterates[:-1], rtol=1e-12)
    np.testing.assert_allclose(found[-1], iterates[STEPS // 2 :].mean(0), rtol=1e-12)
