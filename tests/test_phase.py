"""Energies of position and momentum, against automatic differentiation and a double pendulum."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hgn_jax as hgn

NO_PAIRS = np.zeros((0, 2), int)


def double_pendulum(z):
    """Two unit masses on unit rods; z holds two angles and the momenta conjugate to them."""
    q, p = z[:2], z[2:]
    delta = q[0] - q[1]
    kinetic = p[0] ** 2 + 2 * p[1] ** 2 - 2 * p[0] * p[1] * jnp.cos(delta)
    return kinetic / (2 + 2 * jnp.sin(delta) ** 2) - 2 * jnp.cos(q[0]) - jnp.cos(q[1])


def henon_heiles(z):
    return jnp.sum(z**2) / 2 + z[0] ** 2 * z[1] - z[1] ** 3 / 3


def magnetic(z):
    """A charge in the plane, with the vector potential (0, x^2) and a spring."""
    return (z[2] ** 2 + (z[3] - z[0] ** 2) ** 2) / 2 + z[0] ** 2 + z[1] ** 2


def graphs_of(z, energy=None):
    """One frame of one body for each row of z; with exact rates if its energy is given."""
    graph = hgn.graphs.from_pairs(z[:1, :2], [])
    arrays = {"position": z[:, :2], "momentum": z[:, 2:]}
    if energy is not None:
        slopes = np.asarray(jax.vmap(jax.grad(energy))(jnp.asarray(z)))
        arrays |= {"velocity": slopes[:, 2:], "force": -slopes[:, :2]}
    return hgn.graphs.snapshots(graph, {k: jnp.asarray(v)[:, None] for k, v in arrays.items()}, {})


def states(count, width, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 4)) * width


def sampled(spec, graphs):
    (term,) = hgn.sample([spec], graphs, key=jax.random.key(0))
    return term


@functools.cache
def fitted():
    data = graphs_of(states(1000, np.array([np.pi, np.pi, 1, 1])), double_pendulum)
    terms = [hgn.Phase(160, angles=(0, 1), degrees=(0, 2))]
    return hgn.fit(data, key=0, terms=terms, observations=[hgn.Derivatives("uniform")])


def test_of_angles_in_degrees_a_poor_fit_says_so():
    data = graphs_of(states(200, np.array([np.pi, np.pi, 1, 1])), double_pendulum)
    degrees = data._replace(nodes=data.nodes | {"position": jnp.rad2deg(data.nodes["position"])})
    with pytest.warns(UserWarning, match="POOR.*Angles must be in radians"):
        hgn.fit(degrees, key=0, terms=[hgn.Phase(20, angles=(0, 1), degrees=(0, 2))])


@pytest.mark.parametrize("angles", [(), (1,), (0, 1)])
def test_columns_are_units_times_monomials(angles):
    z = states(4, 3.0)
    term = sampled(hgn.Phase(5, angles=angles), graphs_of(z))
    q, p = z[:, :2], z[:, 2:]
    others = [k for k in range(2) if k not in angles]
    angle = q[:, list(angles)]
    point = np.concatenate([q[:, others], np.cos(angle), np.sin(angle)], axis=1)
    units = np.asarray(term.layer(jnp.asarray(point)))
    ones = np.ones((4, 1))
    expected = [units, point]
    for m in (p[:, :1], p[:, 1:], p[:, :1] ** 2, p[:, :1] * p[:, 1:], p[:, 1:] ** 2):
        expected += [units * m, ones * m]
    np.testing.assert_allclose(term(graphs_of(z)), np.concatenate(expected, axis=1), atol=1e-14)
    widths = 5 + 2 + len(angles), 6 * 2, 6 * 3
    assert term.groups(sum(widths)) == widths


def test_the_gradient_is_the_derivative_of_the_energy():
    z = states(3, 2.0)
    graphs = graphs_of(z)
    term = sampled(hgn.Phase(4, angles=(0,), degrees=(0, 1, 3)), graphs)
    gradient = eqx.filter_jit(term.gradient)(graphs)
    columns = np.concatenate([gradient.position, gradient.momentum], axis=1)
    values = eqx.filter_jit(term)
    for k, step in enumerate(1e-5 * np.eye(4)):
        slope = (np.asarray(values(graphs_of(z + step))) - values(graphs_of(z - step))) / 2e-5
        np.testing.assert_allclose(columns[:, k], slope, atol=1e-8)


def test_a_double_pendulum_is_learned_and_its_energy_is_the_same_after_a_turn():
    model = fitted().model
    z = states(300, np.array([np.pi, np.pi, 1, 1]), seed=1)
    energy = np.asarray(jax.vmap(double_pendulum)(jnp.asarray(z)))
    error = np.asarray(model(graphs_of(z))) - energy
    assert np.std(error) < 1e-2 * np.std(energy)
    turned = z + 2 * np.pi * np.array([3, -1, 0, 0])
    np.testing.assert_allclose(model(graphs_of(turned)), model(graphs_of(z)), atol=1e-9)
    assert int(model.out_of_range(graphs_of(turned))["phase"].sum()) < 10
    assert int(model.out_of_range(graphs_of(z * np.array([1, 1, 1, 9])))["phase"].sum()) > 200


def test_a_learned_pendulum_swings_as_scipys():
    assert not fitted().model.separable
    start, times = np.array([0.5, -0.3, 0.0, 0.2]), np.linspace(0, 1, 3)
    slopes = jax.jit(jax.grad(double_pendulum))

    def rates(t, z):
        s = np.asarray(slopes(jnp.asarray(z)))
        return np.concatenate([s[2:], -s[:2]])

    true = solve_ivp(rates, (0, 1), start, t_eval=times, rtol=1e-9, atol=1e-9).y.T
    path = hgn.rollout(
        fitted().model,
        graphs_of(start[None]),
        times,
        dt=0.02,
        integrator=hgn.GaussLegendre4(tolerance=1e-10),
    )
    np.testing.assert_allclose(path.position[:, 0], true[:, :2], atol=2e-2)
    np.testing.assert_allclose(path.momentum[:, 0], true[:, 2:], atol=2e-2)


@pytest.mark.parametrize(
    ("energy", "degrees", "exact"),
    [(henon_heiles, (0, 2), True), (magnetic, (0, 1, 2), True), (magnetic, (0, 2), False)],
)
def test_energies_of_plain_coordinates(energy, degrees, exact):
    data = graphs_of(states(500, 2.0), energy)
    how = {"key": 0, "observations": [hgn.Derivatives("uniform")]}
    model = hgn.fit(data, terms=[hgn.Phase(60, degrees=degrees)], **how).model
    z = states(100, 2.0, seed=1)
    error = np.asarray(model(graphs_of(z))) - jax.vmap(energy)(jnp.asarray(z))
    assert np.std(error) < 1e-4 if exact else np.std(error) > 1e-1


def test_a_saved_model_is_the_same(tmp_path):
    hgn.save(tmp_path / "model.hgn", fitted().model)
    graphs = graphs_of(states(3, 1.0, seed=2))
    loaded = hgn.load(tmp_path / "model.hgn")
    np.testing.assert_array_equal(loaded(graphs), fitted().model(graphs))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hgn.Phase(-1), "units must be at least 0"),
        (lambda: hgn.Phase(angles=(0, 0)), "angles must differ"),
        (lambda: hgn.Phase(degrees=(2, -1)), "degrees must be at least 0"),
        (lambda: hgn.Phase(degrees=(0,)), "nothing moves"),
        (lambda: sampled(hgn.Phase(4, angles=(2,)), graphs_of(states(2, 1.0))), "coordinate 2"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
