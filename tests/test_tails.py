"""Pair potentials continue outside of the trained range by the power law measured inside."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn

SOFT, HARD = 0.3, 20.0
INSIDE = 0.8, 4.0


def pairs_at(r, force):
    """Pairs of bodies at distances r along x that attract each other with this force."""
    r = jnp.asarray(r)
    ends = jnp.zeros((len(r), 2, 3)).at[:, 1, 0].set(r)
    data = hgn.graphs.batch([hgn.graphs.from_pairs(position, [(0, 1)]) for position in ends])
    along = jax.vmap(force)(r)
    pushed = jnp.zeros((2 * len(r), 3)).at[0::2, 0].set(along).at[1::2, 0].set(-along)
    return data._replace(nodes=data.nodes | {"force": pushed})


def trained(force):
    """Model of pairs between the distances INSIDE."""
    data = pairs_at(np.linspace(*INSIDE, 120), force)
    return hgn.fit(data, key=0, terms=[hgn.Pair(32)], observations=[hgn.Forces()]).model


def learned(force, **options):
    """Such a model, without and with tails."""
    model = trained(force)
    with pytest.warns(UserWarning, match="pair forces follow r"):
        return model, model.tails("power", **options)


@pytest.fixture(scope="module")
def gravity():
    return learned(lambda r: 3.0 / r**2)


def force_of(model, r):
    return np.asarray(jax.vmap(jax.grad(lambda x: model.pair_energy(x)))(jnp.asarray(r)))


def test_an_inverse_square_law_continues_to_both_sides(gravity):
    bare, tailed = gravity
    r = np.array([0.1, SOFT, 0.5, 6.0, HARD])
    np.testing.assert_allclose(force_of(tailed, r), 3 / r**2, rtol=1e-3)
    assert np.max(abs(force_of(bare, r) * r**2 / 3 - 1)) > 0.3
    within = jnp.linspace(*INSIDE, 20)
    np.testing.assert_allclose(tailed.pair_energy(within), bare.pair_energy(within), rtol=1e-13)
    np.testing.assert_allclose(tailed.terms[0].exponents, [[-2, -2]], atol=1e-3)


@pytest.mark.parametrize("power", [-7.0, -1.0, -0.5, 0.0, 1.0, 3.0])
def test_any_power_is_measured(power):
    """-1 has a logarithm for its energy."""
    _, tailed = learned(lambda r: r**power)
    r = np.array([0.4, 8.0])
    np.testing.assert_allclose(force_of(tailed, r), r**power, rtol=5e-3)
    energy = np.asarray(tailed.pair_energy(jnp.array([0.4, 8.0])))
    true = np.log(20) if power == -1 else (8 ** (power + 1) - 0.4 ** (power + 1)) / (power + 1)
    assert energy[1] - energy[0] == pytest.approx(true, rel=5e-3)


def test_an_exact_inverse_law_has_a_logarithm_for_its_energy(gravity):
    _, tailed = gravity
    law = eqx.tree_at(lambda m: m.terms[0].exponents, tailed, jnp.full((1, 2), -1.0))
    for r in (np.array([0.1, 0.4]), np.array([6.0, 9.0])):
        energy, force = np.asarray(law.pair_energy(jnp.asarray(r))), force_of(law, r)
        assert energy[1] - energy[0] == pytest.approx(force[0] * r[0] * np.log(r[1] / r[0]))
        assert force[1] * r[1] == pytest.approx(force[0] * r[0])


def test_several_pair_terms_follow_the_law_of_their_sum():
    data = pairs_at(np.linspace(*INSIDE, 120), lambda r: 3 / r**2)
    terms = [hgn.Pair(16), hgn.Pair(16)]
    fit = hgn.fit(data, key=0, terms=terms, observations=[hgn.Forces()])
    with pytest.warns(UserWarning, match="pair forces follow r"):
        tailed = fit.model.tails("power")
    for term in tailed.terms:
        np.testing.assert_allclose(term.exponents, [[-2, -2]], atol=2e-3)
    np.testing.assert_allclose(
        force_of(tailed, [SOFT, HARD]), [3 / SOFT**2, 3 / HARD**2], rtol=0.01
    )


def test_force_and_energy_are_continuous(gravity):
    _, tailed = gravity
    for a in INSIDE:
        r = a + jnp.array([-1e-9, 1e-9])
        for f in (force_of(tailed, r), np.asarray(tailed.pair_energy(r))):
            np.testing.assert_allclose(f[0], f[1], rtol=1e-7)


def test_the_force_is_the_slope_of_the_energy(gravity):
    _, tailed = gravity
    r = jnp.array([0.2, 1.0, 10.0])
    found = tailed.vector_field(pairs_at(r, lambda r: r))[1]
    h = 1e-4 * r
    slope = (tailed.pair_energy(r + h) - tailed.pair_energy(r - h)) / 2 / h
    np.testing.assert_allclose(found[0::2, 0], slope, rtol=1e-6)
    np.testing.assert_allclose(found[1::2], -found[0::2], rtol=1e-12)


def test_covered_pairs_are_not_out_of_range(gravity):
    bare, tailed = gravity
    data = pairs_at([0.2, 1.0, 10.0], lambda r: r)
    assert bare.out_of_range(data)["pair"].tolist() == [1, 0, 1]
    assert tailed.out_of_range(data)["pair"].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(tailed.pair_range(), bare.pair_range())


def test_one_side_may_be_left_out():
    bare, tailed = learned(lambda r: 3.0 / r**2, below=1.0, above=np.inf)
    assert tailed.out_of_range(pairs_at([0.2, 10.0], lambda r: r))["pair"].tolist() == [0, 1]
    np.testing.assert_allclose(force_of(tailed, [6.0]), force_of(bare, [6.0]), rtol=1e-12)
    np.testing.assert_allclose(force_of(tailed, [SOFT]), 3 / SOFT**2, rtol=1e-4)


def test_tails_are_saved_and_compressed(tmp_path, gravity):
    _, tailed = gravity
    r = jnp.array([0.2, 0.9, 2.0, 10.0])
    hgn.save(tmp_path / "tails.hgn", tailed)
    again = hgn.load(tmp_path / "tails.hgn")
    np.testing.assert_array_equal(again.pair_energy(r), tailed.pair_energy(r))
    small = tailed.compress(tolerance=1e-8)
    np.testing.assert_allclose(force_of(small, r), force_of(tailed, r), rtol=1e-7)
    assert small.terms[0].inner.name == "pair" and len(small.theta[0]) == 1


def test_edge_types_have_laws_of_their_own():
    near, far = (
        pairs_at(np.linspace(*INSIDE, 80), force)
        for force in (lambda r: 3 / r**2, lambda r: -(r**1.5))
    )
    data = hgn.graphs.batch([near, far])
    kind = jnp.repeat(jnp.arange(2), len(near.senders))
    data = data._replace(edges=data.edges | {"type": kind})
    fit = hgn.fit(data, key=0, terms=[hgn.Pair(32)], observations=[hgn.Forces("relative")])
    with pytest.warns(UserWarning, match=r"edge type 1"):
        tailed = fit.model.tails("power")
    np.testing.assert_allclose(tailed.terms[0].exponents, [[-2, -2], [1.5, 1.5]], atol=0.02)


def test_a_cutoff_has_no_tail_above(gravity):
    data = pairs_at(np.linspace(*INSIDE, 120), lambda r: 3 / r**2 * (1 - (r / 5) ** 2) ** 2)
    terms = [hgn.Pair(32, cutoff=5.0)]
    fit = hgn.fit(data, key=0, terms=terms, observations=[hgn.Forces()])
    with pytest.warns(UserWarning, match="below 0.8. out"):
        tailed = fit.model.tails("power")
    assert force_of(tailed, [5.0, 9.0]).tolist() == [0, 0]
    assert tailed.reach == 5.0


def test_a_force_without_a_power_law_is_refused(fitted, no_type_checks):
    with pytest.raises(ValueError, match=r"vanish or change sign.*below=0"):
        trained(lambda r: r - 1.0).tails("power")
    with pytest.raises(ValueError, match=r"off any power law.*tails\(below"):
        trained(lambda r: 2 + jnp.sin(6 * r)).tails("power")
    model = fitted.model
    with pytest.raises(ValueError, match='must be "power"'):
        model.tails("exponential")
    with pytest.raises(ValueError, match="trained range"):
        model.tails("power", below=3.0)
    with pytest.raises(ValueError, match="no pair potential"):
        kinetic = hgn.HamiltonianGraphNetwork(
            hgn.Basis(model.terms[:1]), model.theta[:1], model.constants[:0]
        )
        kinetic.tails("power")


def test_rollouts_do_not_warn_of_covered_pairs(gravity):
    _, tailed = gravity
    apart = jnp.array([[0.0, 0.0, 0.0], [6.0, 0.0, 0.0]])
    graph = hgn.graphs.from_pairs(apart, [(0, 1)], mass=jnp.ones(2))
    graph = graph._replace(nodes=graph.nodes | {"momentum": jnp.zeros((2, 3))})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hgn.rollout(tailed, graph, jnp.linspace(0.0, 0.1, 3), dt=0.01)
