"""Rigid rods: a double pendulum against its equations in angles, projections, order, refusals."""

import functools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hgn_jax as hgn
from hgn_jax.graphs.from_frames import from_frames

MASS, LENGTH, G = np.array([1.0, 0.7]), np.array([1.0, 0.8]), 2.0
RODS = hgn.Rods([(0, 1)], hinged={0: (0.0, 0.5)})


# The double pendulum in angles from the downward vertical


def angular_accelerations(angle, rate):
    (a, b), (m, n), (k, s) = angle, MASS, LENGTH
    matrix = np.array(
        [[(m + n) * k**2, n * k * s * np.cos(a - b)], [n * k * s * np.cos(a - b), n * s**2]]
    )
    right = [
        -n * k * s * rate[1] ** 2 * np.sin(a - b) - (m + n) * G * k * np.sin(a),
        n * k * s * rate[0] ** 2 * np.sin(a - b) - n * G * s * np.sin(b),
    ]
    return np.linalg.solve(matrix, right)


def cartesian(angle, rate):
    """Positions, velocities and accelerations of both bodies."""
    acceleration = angular_accelerations(angle, rate)
    along = LENGTH[:, None] * np.stack([np.sin(angle), -np.cos(angle)], 1)
    across = LENGTH[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    q = np.cumsum(along, axis=0) + np.array([0.0, 0.5])
    v = np.cumsum(across * rate[:, None], axis=0)
    a = np.cumsum(across * acceleration[:, None] - along * rate[:, None] ** 2, axis=0)
    return q, v, a


def graphs_of(angles, rates):
    q, v, a = map(np.stack, zip(*(cartesian(*s) for s in zip(angles, rates))))
    mass = np.tile(MASS, len(q))
    nodes = {"velocity": v.reshape(-1, 2), "mass": mass}
    nodes |= {"momentum": mass[:, None] * nodes["velocity"]}
    nodes |= {"force": mass[:, None] * a.reshape(-1, 2)}
    return from_frames(list(q), cutoff=10.0, nodes=nodes)


def random_states(count, seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(-np.pi, np.pi, (count, 2)), rng.normal(size=(count, 2))


class Gravity(hgn.AbstractHamiltonian):
    """Kinetic energy and a uniform field, with rods."""

    rods: hgn.Rods = RODS
    kinetic: float = 1.0

    @property
    def separable(self):
        return False

    @property
    def handles_padding(self):
        return True

    @property
    def dynamics(self):
        return hgn.Constrained(self.rods)

    def __call__(self, graphs):
        m, q, p = (graphs.nodes[k] for k in ("mass", "position", "momentum"))
        m = jnp.where(m > 0, m, 1)
        energy = self.kinetic * jnp.sum(p**2, axis=1) / (2 * m) + G * graphs.nodes["mass"] * q[:, 1]
        return hgn.graphs.geometry.sum_over_graphs(graphs, energy)


vector_field = eqx.filter_jit(lambda model, graphs: model.vector_field(graphs))


@functools.cache
def fitted():
    data = graphs_of(*random_states(300, 0))
    terms = [hgn.Kinetic(0), hgn.External(8)]
    return hgn.fit(data, key=0, terms=terms, dynamics=hgn.Constrained(RODS))


def test_motion_with_rods_is_that_of_the_angles():
    graphs = graphs_of(*random_states(20, 1))
    v, force = vector_field(Gravity(), graphs)
    np.testing.assert_allclose(v, graphs.nodes["velocity"], atol=1e-14)
    np.testing.assert_allclose(force, graphs.nodes["force"], atol=1e-11)


def test_the_field_is_learned_from_constrained_motion():
    graphs = graphs_of(*random_states(100, 2))
    _, force = vector_field(fitted().model, graphs)
    true = np.asarray(graphs.nodes["force"])
    assert np.linalg.norm(force - true) < 1e-6 * np.linalg.norm(true)


def true_states(angle, rate, times):
    """Angles and their rates."""

    def rates(t, y):
        return np.concatenate([y[2:], angular_accelerations(y[:2], y[2:])])

    start = np.concatenate([angle, rate])
    return solve_ivp(rates, (0, times[-1]), start, "DOP853", times, rtol=1e-12, atol=1e-13).y.T


def true_path(angle, rate, times):
    return np.stack([cartesian(y[:2], y[2:])[0] for y in true_states(angle, rate, times)])


START = np.array([1.2, -0.4]), np.array([0.5, 1.0])


@functools.cache
def rolled(steps, kinetic=1.0):
    times = np.linspace(0, 3, 4)
    return hgn.rollout(
        Gravity(kinetic=kinetic),
        graphs_of(*(s[None] for s in START)),
        times,
        dt=3 / steps,
        integrator=hgn.Rattle(),
    )


def test_rattle_is_of_fourth_order_and_keeps_rods_to_rounding():
    true = true_path(*START, np.linspace(0, 3, 4))
    errors = [np.abs(rolled(k).position[-1] - true[-1]).max() for k in (60, 120)]
    assert errors[1] < 1e-4
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 4, atol=0.25)
    check_rods(rolled(60))


def test_steps_may_be_short():
    """Lengths determine momenta to rounding over a step only."""
    times, start = np.array([0.0, 2e-4, 4e-4]), graphs_of(*(s[None] for s in START))
    path = hgn.rollout(Gravity(), start, times, dt=1e-4, integrator=hgn.Rattle())
    np.testing.assert_allclose(path.position, true_path(*START, times), atol=1e-12)


def test_rods_hold_where_the_learned_kinetic_energy_has_an_error():
    check_rods(rolled(60, kinetic=1.01))


def check_rods(path):
    """Rods keep their lengths, and their ends move across them, to rounding."""
    upper = np.asarray(path.position[:, 0]) - np.array([0.0, 0.5])
    lower = np.asarray(path.position[:, 1] - path.position[:, 0])
    v = np.asarray(path.momentum) / MASS[:, None]
    for x, rate, length in ((upper, v[:, 0], 1.0), (lower, v[:, 1] - v[:, 0], 0.8)):
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), length, rtol=1e-13)
        assert np.abs(np.sum(x * rate, axis=1)).max() < 1e-13


def test_a_learned_pendulum_follows_the_true_one():
    times = np.linspace(0, 3, 4)
    start = graphs_of(*(s[None] for s in START))
    path = hgn.rollout(fitted().model, start, times, dt=3 / 240, integrator=hgn.Rattle())
    np.testing.assert_allclose(path.position, true_path(*START, times), atol=2e-5)


def test_states_alone_are_enough():
    """Their integrals over windows, against forces of the equations in angles."""
    times, q, v = 0.02 * np.arange(40), [], []
    for angle, rate in zip(*random_states(8, 7)):
        path = true_states(angle, rate, times)
        positions, velocities, _ = zip(*(cartesian(y[:2], y[2:]) for y in path))
        q.append(positions)
        v.append(velocities)
    data = hgn.graphs.from_trajectories(
        times, np.array(q), velocity=np.array(v), mass=MASS, edges=[(0, 1)], rates=False
    )
    fit = hgn.fit(
        data,
        key=0,
        terms=[hgn.External(2)],
        dynamics=hgn.Constrained(RODS),
        observations=[hgn.Steps(window=8, order=7)],
        solver=hgn.QR("groups"),
    )
    graphs = graphs_of(*random_states(50, 2))
    _, force = vector_field(fit.model, graphs)
    true = np.asarray(graphs.nodes["force"])
    assert np.linalg.norm(force - true) < 1e-4 * np.linalg.norm(true)


def test_a_saved_model_has_its_rods(tmp_path):
    hgn.save(tmp_path / "model.npz", fitted().model)
    loaded = hgn.load(tmp_path / "model.npz")
    graphs = graphs_of(*random_states(3, 5))
    for a, b in zip(vector_field(loaded, graphs), vector_field(fitted().model, graphs)):
        np.testing.assert_array_equal(a, b)


def test_projected_momenta_move_across_the_rods_and_projecting_again_changes_nothing():
    graphs = graphs_of(*random_states(4, 3))
    p = jnp.asarray(np.random.default_rng(0).normal(size=(8, 2)))
    once = RODS.projected(graphs, p)
    v = once / graphs.nodes["mass"][:, None]
    opening = jnp.sum(RODS.vectors(graphs) * RODS.rates(graphs, v), axis=2)
    assert np.abs(opening).max() < 1e-13
    np.testing.assert_allclose(RODS.projected(graphs, once), once, atol=1e-13)
    # Orthogonal in the metric of the masses: what is taken away is along the rods.
    taken = (p - once) / graphs.nodes["mass"][:, None]
    assert abs(float(jnp.sum(taken * once))) < 1e-12


# Bad input


def changed(graphs, name, values):
    return graphs._replace(nodes=graphs.nodes | {name: jnp.asarray(values)})


def test_a_rod_that_changes_its_length_is_named():
    data = graphs_of(*random_states(5, 4))
    q = np.array(data.nodes["position"])
    q[2 * 3 + 1] += 0.01 * (q[2 * 3 + 1] - q[2 * 3])
    with pytest.raises(ValueError, match=r"rod between bodies 0 and 1 is not rigid.*in graph 3"):
        RODS.check(changed(data, "position", q))


def test_momenta_along_a_rod_are_named():
    data = graphs_of(*random_states(5, 4))
    p = np.array(data.nodes["momentum"])
    p[4] += 0.5 * (np.array(data.nodes["position"][4]) - np.array([0, 0.5]))
    with pytest.raises(ValueError, match=r"rod of body 0 move along it in graph 2.*projected"):
        hgn.fit(
            changed(data, "momentum", p),
            key=0,
            terms=[hgn.Kinetic(0), hgn.External(2)],
            dynamics=hgn.Constrained(RODS),
        )


def test_redundant_rods_are_counted_and_named():
    q = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    nodes = {"mass": np.ones(3), "momentum": np.zeros((3, 2))}
    line = from_frames([q], cutoff=5.0, nodes=nodes)
    with pytest.raises(ValueError, match=r"3 rods, but in graph 0 only 2 of.*bodies 0 and 2"):
        hgn.Rods([(0, 1), (1, 2), (0, 2)]).check(line)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hgn.Rods([]), "needs pairs of bodies"),
        (lambda: hgn.Rods([(1, 1)]), "joins body 1 to itself"),
        (lambda: hgn.Rods([(0, 1), (1, 0)]), "given twice"),
        (lambda: hgn.Rods([(0, -1)]), "at least 0"),
        (lambda: hgn.Rods([(0, 7)]).check(graphs_of(*random_states(2, 0))), "has only 2 bodies"),
        (
            lambda: hgn.rollout(
                hgn.systems.mass_spring(),
                graphs_of(*random_states(1, 0)),
                np.array([0, 0.1]),
                dt=0.1,
                integrator=hgn.Rattle(),
            ),
            "needs a model with rigid rods",
        ),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
