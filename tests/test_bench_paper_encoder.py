"""The paper's encoder of bench/ is fitted by plain least squares, in the best of some readings."""

import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from bench.paper_encoder import PLAIN, Reading, most_favourable

CANDIDATES = [Reading("ELM"), Reading("ELM, standardised")]
SIZE = 12, 4


@pytest.fixture(scope="module")
def train():
    plane = hgn.graphs.lattice((2, 2))
    spring = hgn.systems.mass_spring("spring")
    return hgn.systems.simulate(spring, plane, key=jr.key(0), trajectories=50)


def split(train):
    return hgn.graphs.split(train, 0.1, key=jr.key(2))


def fitted(part, reading):
    return hgn.fit(part, key=jr.key(3), terms=[reading.term(*SIZE)], **PLAIN)


def test_reading_is_the_one_with_the_least_error_on_held_out_training_data(train):
    part, held_out = split(train)
    models = [fitted(part, reading).model for reading in CANDIDATES]
    errors = [float(hgn.metrics.mean_square_error(model, held_out)) for model in models]
    assert not np.isclose(*errors)
    best = CANDIDATES[int(np.argmin(errors))]
    assert most_favourable(CANDIDATES, train, *SIZE) == best
    assert most_favourable(CANDIDATES[::-1], train, *SIZE) == best


def test_fit_is_that_of_numpy_with_equal_weights(train):
    part, _ = split(train)
    fit = fitted(part, CANDIDATES[1])
    q, p = (np.asarray(g) for g in fit.model.terms[0].gradient(part))
    matrix = np.concatenate([p, -q]).reshape(-1, sum(SIZE))
    rates = np.concatenate([part.nodes["velocity"], part.nodes["force"]]).ravel()
    scale = np.linalg.norm(matrix, axis=0)
    theta = np.linalg.lstsq(matrix / scale, rates)[0] / scale
    np.testing.assert_allclose(matrix @ fit.model.theta[0], matrix @ theta, atol=1e-6)
