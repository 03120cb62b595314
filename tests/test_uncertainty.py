"""Standard deviations, against the closed form and against the actual errors."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn

TRIANGLE = hgn.graphs.fully_connected(3, 2, mass=jnp.array([1.0, 2.0, 0.5]))
SPRINGS = hgn.systems.mass_spring("spring", rest_length=1.0)
MORSE = hgn.systems.mass_spring("morse")
PLAIN = (hgn.Derivatives("uniform"),)


def simulate(system=SPRINGS, seed=1, trajectories=60, width=0.25, graph=TRIANGLE):
    start = hgn.systems.Uniform(width, 0.3)
    return hgn.systems.simulate(
        system, graph, key=jr.key(seed), trajectories=trajectories, start=start
    )


@pytest.fixture(scope="module")
def clean():
    return simulate()


@pytest.fixture(scope="module")
def test():
    """Unseen states inside of the trained range."""
    return simulate(seed=9, trajectories=20, width=0.2)


@pytest.fixture(scope="module")
def features(clean):
    return hgn.sample((hgn.Kinetic(8), hgn.Pair(32)), clean, key=jr.key(2))


@pytest.fixture(scope="module")
def few(clean):
    """Terms so few that the closed form keeps its digits on noisy data."""
    return hgn.sample((hgn.Kinetic(2), hgn.Pair(4)), clean, key=jr.key(2))


def parts(deviation):
    return deviation.energy, deviation.velocity, deviation.force


# The closed form


@eqx.filter_jit
def jacobians(model, graphs):
    """d(energy, velocity, force) / d(theta of kinetic features, theta of pair features)."""

    def predict(theta):
        learned = eqx.tree_at(lambda m: m.theta, model, theta)
        return learned(graphs), *learned.vector_field(graphs)

    return jax.jacfwd(predict)(model.theta)


def flat(z):
    return np.asarray(z).reshape(-1, z.shape[-1])


def closed_form(solution, z, unseen):
    pull = np.diag(np.asarray(solution.column_ridge) ** 2 * np.sum(z**2, axis=0))
    inverse = np.linalg.inv(z.T @ z + pull)
    unseen = np.asarray(unseen)
    return float(solution.noise) * np.sqrt(np.einsum("...i,ij,...j->...", unseen, inverse, unseen))


@pytest.fixture(scope="module")
def known(few, clean, test, with_noise):
    """A fit, its weighted rows of kinetic and of pair features, and the rows of its predictions."""
    fit = hgn.solve(few, with_noise(clean, 0.1, 0), observations=PLAIN)
    _, velocity, force = jacobians(fit.model, clean)
    return fit, (flat(velocity[0]), flat(force[1])), jacobians(fit.model, test)


def energies(known, rows):
    """Standard deviations of the energies with these rows of kinetic and of pair features."""
    fit, trained, _ = known
    return np.hypot(*(closed_form(*a) for a in zip(fit.solutions, trained, rows, strict=True)))


def test_standard_deviations_are_the_closed_form(known, test):
    fit, trained, (energy, velocity, force) = known
    found = fit.standard_deviation(test)
    for by, rows, deviation in ((0, velocity, found.velocity), (1, force, found.force)):
        expected = closed_form(fit.solutions[by], trained[by], rows[by])
        np.testing.assert_allclose(deviation, expected, rtol=1e-8)
    centred = [np.asarray(e) - np.mean(e, axis=0, keepdims=True) for e in energy]
    np.testing.assert_allclose(found.energy, energies(known, centred), rtol=1e-8)


def test_energies_are_relative_to_the_reference_by_the_number_of_pairs(known, test):
    """Two graphs as one graph of six bodies, against one of three."""
    fit, _, (energy, _, _) = known
    pairs = test._replace(n_node=test.n_node[::2] * 2, n_edge=test.n_edge[::2] * 2, globals={})
    first = hgn.graphs.take(test, np.arange(20) < 1)
    found = fit.standard_deviation(pairs, reference=first).energy
    centred = [np.asarray(e) - np.asarray(e)[:1] for e in energy]
    expected = energies(known, [e[::2] + e[1::2] for e in centred])
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_energies_observed_as_rows_make_one_system(few, clean, test, with_noise):
    data = with_noise(clean, 0.1, 0)
    both = (hgn.Derivatives("uniform"), hgn.Energies())
    fit = hgn.solve(few, data, observations=both)
    energy, velocity, force = ([flat(z) for z in rows] for rows in jacobians(fit.model, clean))
    weight = 1 / np.std(np.asarray(data.globals["energy"]))
    three_pairs = np.full((60, 1), 3.0)
    z = np.block(
        [
            [velocity[0], np.zeros((360, 5))],
            [np.zeros((360, 3)), force[1], np.zeros((360, 1))],
            [weight * energy[0], weight * energy[1], weight * three_pairs],
        ]
    )
    unseen = np.concatenate([*jacobians(fit.model, test)[0], np.zeros((20, 1))], axis=1)
    expected = closed_form(fit.solutions[0], z, unseen - unseen.mean(axis=0))
    np.testing.assert_allclose(fit.standard_deviation(test).energy, expected, rtol=1e-8)


# Against the errors


@eqx.filter_jit
def standard_errors(fit, graphs):
    """(predicted - true) / standard deviation of energies (their means removed), velocities,
    forces."""
    deviation = fit.standard_deviation(graphs)
    wrong = fit.model(graphs) - graphs.globals["energy"]
    velocity, force = fit.model.vector_field(graphs)
    return (
        (wrong - jnp.mean(wrong)) / deviation.energy,
        (velocity - graphs.nodes["velocity"]) / deviation.velocity,
        (force - graphs.nodes["force"]) / deviation.force,
    )


def rms(values):
    return [float(np.sqrt(np.mean(np.square(v)))) for v in zip(*values, strict=True)]


@pytest.mark.parametrize("noise", [1e-3, 1e-2, 1e-1])
def test_standard_deviations_are_calibrated(noise, features, clean, test, with_noise):
    fits = [hgn.solve(features, with_noise(clean, noise, s), observations=PLAIN) for s in range(24)]
    energy, velocity, force = rms([standard_errors(f, test) for f in fits])
    assert 0.8 < velocity < 1.25
    assert 0.8 < force < 1.25
    assert 0.8 < energy < 1.25


def test_what_the_features_cannot_express_is_not_in_it(with_noise):
    """Four units on a Morse potential: overconfident several times over."""
    data, unseen = simulate(MORSE), simulate(MORSE, seed=9, trajectories=20, width=0.2)
    ratios = []
    for units in (hgn.Kinetic(2), hgn.Pair(4)), (hgn.Kinetic(8), hgn.Pair(32)):
        drawn = hgn.sample(units, data, key=jr.key(3))
        fits = [hgn.solve(drawn, with_noise(data, 1e-3, s), observations=PLAIN) for s in range(4)]
        ratios.append(rms([standard_errors(f, unseen) for f in fits])[2])
    assert ratios[0] > 4 and ratios[1] < 1.5


def test_a_third_of_the_data_is_less_sure_by_the_root_of_three(features, clean, test, with_noise):
    data = with_noise(clean, 1e-2, 0)
    third = hgn.graphs.take(data, np.arange(60) < 20)
    few, many = (
        hgn.solve(features, d, observations=PLAIN).standard_deviation(test) for d in (third, data)
    )
    for x, y in zip(parts(few), parts(many)):
        assert 1.3 < float(jnp.sqrt(jnp.mean(x**2) / jnp.mean(y**2))) < 2.3


# What must not change it


total = eqx.filter_jit(lambda model, graphs: model(graphs))


def test_an_added_constant_changes_nothing(features, clean, test, with_noise):
    data = with_noise(clean, 1e-2, 0)
    shifted = data._replace(globals=data.globals | {"energy": data.globals["energy"] + 300.0})
    fits = [hgn.solve(features, d, observations=PLAIN) for d in (data, shifted)]
    np.testing.assert_allclose(total(fits[1].model, test) - total(fits[0].model, test), 300)
    for x, y in zip(*(parts(f.standard_deviation(test)) for f in fits)):
        np.testing.assert_allclose(x, y, rtol=1e-12)


def same_with_padding(fit, graphs, skipped):
    """Standard deviations of padded graphs; asserts that padding changes none except `skipped`."""
    free = {k: v for k, v in graphs.nodes.items() if k != "fixed"}
    plain = fit.standard_deviation(graphs._replace(nodes=free))
    found = fit.standard_deviation(hgn.graphs.pad(graphs, n_node=64, n_edge=130, n_graph=23))
    np.testing.assert_allclose(found.energy[:20], plain.energy, rtol=1e-9)
    for x, y in zip(parts(plain)[1:], parts(found)[1:]):
        np.testing.assert_allclose(y[:60][~skipped], x[~skipped], rtol=1e-9)
        assert not y[60:].any()
    assert np.isfinite(found.energy).all()
    return found


def test_padding_changes_nothing_where_the_energy_has_no_constant(known, test):
    fit = known[0]
    kinetic, pair = fit.equations.basis.terms
    fading = kinetic, dataclasses.replace(pair, cutoff=5.0)
    fit = eqx.tree_at(lambda f: f.equations.basis.terms, fit, fading)
    same_with_padding(fit, test, skipped=np.zeros(60, bool))


def test_padding_and_fixed_bodies_are_zero_and_change_nothing_else(known, test):
    fixed = jnp.tile(jnp.array([True, False, False]), 20)
    held = test._replace(nodes=test.nodes | {"fixed": fixed})
    found = same_with_padding(known[0], held, skipped=fixed)
    assert not found.velocity[:60][fixed].any() and not found.force[:60][fixed].any()


def test_noise_free_data_are_sure_to_rounding(features, clean, test):
    found = hgn.solve(features, clean, observations=PLAIN).standard_deviation(test)
    assert (found.velocity < 1e-13 * jnp.abs(test.nodes["velocity"]).max()).all()
    assert (found.force < 1e-8 * jnp.abs(test.nodes["force"]).max()).all()


def test_velocities_that_no_term_explains_have_no_deviation(data):
    """Velocity rows are a system without columns if there are no kinetic features."""
    fit = hgn.fit(data, key=0, terms=[hgn.Pair(8)], throw=False)
    found = fit.standard_deviation(data)
    assert not found.velocity.any() and (found.force > 0).all()
