"""The benchmark of few shots: its forces, its errors of measurement and its priors are right."""

import numpy as np
import pytest

import hgn_jax as hgn
from bench import transfer as bench


@pytest.mark.parametrize("family", bench.FAMILIES)
def test_forces_are_slopes_of_the_potential(family):
    """Central differences; bodies stand alone, so that nothing else acts on them."""
    parameters = bench._parameters(family, 3)
    data = bench._observed(family, parameters, 20, 4, 0.0)
    potential, q = bench.FAMILIES[family][0], np.asarray(data.nodes["position"])
    energy = [
        [potential(point + h * axis, parameters) for point in q]
        for axis in np.eye(2)
        for h in (1e-5, -1e-5)
    ]
    ahead, behind = np.array(energy[0::2]).T, np.array(energy[1::2]).T
    np.testing.assert_allclose(data.nodes["force"], (behind - ahead) / 2e-5, atol=1e-8)
    assert np.abs(q).max() < bench.WIDTH and len(data.n_node) == 20 and not data.n_edge.any()


def test_a_mirror_has_the_energy_of_its_vector_potential():
    """Half the square of A = s (1 + z^2 / 2) - s^3 / 8, whose field has no curl."""
    s, z = 0.7, -0.4
    found = bench.FAMILIES["magnetic mirror"][0](np.array([s, z]), np.array([2.0, 1.0]))
    assert float(found) == pytest.approx((s * (1 + z**2 / 2) - s**3 / 8) ** 2)


def test_errors_are_two_per_cent_of_the_typical_force():
    parameters = bench._parameters("pendula", 1)
    noisy, clean = (bench._observed("pendula", parameters, 4000, 5, n) for n in (bench.NOISE, 0.0))
    error = np.asarray(noisy.nodes["force"] - clean.nodes["force"])
    typical = np.sqrt(np.mean(np.asarray(clean.nodes["force"]) ** 2))
    assert error.std() == pytest.approx(0.02 * typical, rel=0.1)
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(error.size)


def test_a_prior_does_not_see_the_family_that_is_left_out(monkeypatch):
    monkeypatch.setattr(bench, "_terms", tuple)
    monkeypatch.setattr(bench, "_observed", lambda family, *others: family)
    monkeypatch.setattr(hgn, "solve", lambda terms, family, **options: family)
    monkeypatch.setattr(hgn, "prior", lambda fits: fits)
    prior = bench._prior.__wrapped__
    assert prior("springs", True) == [f for f in bench.FAMILIES if f != "springs" for _ in range(2)]
    assert set(prior(None, False)) == set(bench.FAMILIES) and len(prior(None, False)) == 60
