"""Bodies with an axis: forces and torques by differences, symmetries, motion, known laws."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation

import hgn_jax as hgn

ROTORS, BAND = hgn.LinearRotors(), hgn.systems.Uniform(0.2, 0.4)
DIPOLES, ELLIPSOIDS = hgn.systems.dipoles(), hgn.systems.gay_berne(end=2.0, well=2.0)


def triangle(d=3, bodies=3, spacing=1.6):
    corners = spacing * np.array([[0.0, 0, 0], [1, 0, 0], [0.4, 0.9, 0]])[:bodies, :d]
    graph = hgn.graphs.fully_connected(bodies, d, position=jnp.asarray(corners))
    inertia = jnp.linspace(0.3, 0.5, bodies)
    return graph._replace(nodes=graph.nodes | {"inertia": inertia})


def states(system=DIPOLES, trajectories=20, key=0, **settings):
    graph = triangle(**settings)
    return hgn.systems.simulate(system, graph, key=key, trajectories=trajectories, start=BAND)


@pytest.fixture(scope="module")
def data():
    return states(trajectories=60)


@pytest.fixture(scope="module")
def fit(data):
    return hgn.fit(data, key=0, terms=[hgn.AxisPair(24)], dynamics=ROTORS)


def replaced(graph, **arrays):
    return graph._replace(nodes=graph.nodes | {k: jnp.asarray(v) for k, v in arrays.items()})


def turned(graph, matrix):
    """The state after a rotation or reflection; angular momenta are axial vectors."""
    axial = np.linalg.det(matrix) * matrix
    by = {"position": matrix, "momentum": matrix, "axis": matrix, "angular_momentum": axial}
    return replaced(graph, **{name: graph.nodes[name] @ m.T for name, m in by.items()})


# Energies


def energy_by_hand(system, graph):
    """Sum over pairs in NumPy, from the published formulas in vectors."""
    x, n = np.asarray(graph.nodes["position"]), np.asarray(graph.nodes["axis"])
    total = 0.0
    for i in range(len(x)):
        for j in range(i):
            r = np.linalg.norm(x[j] - x[i])
            u = (x[j] - x[i]) / r
            a, b, c = n[i] @ u, n[j] @ u, n[i] @ n[j]
            if system is DIPOLES:
                total += 4 / r**12 + c / r**3 - 3 * a * b / r**3
                continue
            chi, well = (4 - 1) / (4 + 1), (2**0.5 - 1) / (2**0.5 + 1)

            def g(x, a=a, b=b, c=c):
                return 1 - x * (a**2 + b**2 - 2 * x * a * b * c) / (1 - x**2 * c**2)

            rho = r - g(chi) ** -0.5 + 1
            total += 4 * g(well) ** 2 / np.sqrt(1 - chi**2 * c**2) * (rho**-12 - rho**-6)
    return total


@pytest.mark.parametrize("system", [DIPOLES, ELLIPSOIDS])
def test_known_energies_are_the_published_formulas(system):
    graph = hgn.graphs.frame(states(system, spacing=2.4), 3)
    p, spin = graph.nodes["momentum"], graph.nodes["angular_momentum"]
    kinetic = jnp.sum(p**2, 1) / 2 + jnp.sum(spin**2, 1) / 2 / graph.nodes["inertia"]
    np.testing.assert_allclose(
        system(graph)[0], energy_by_hand(system, graph) + jnp.sum(kinetic), rtol=1e-12
    )


def test_wells_of_ellipsoids_have_the_given_depths():
    s = jnp.linspace(1.0, 2.0, 4001)[:, None]

    def depth(a, c):
        # From the distance of contact, 2 end to end (a = 1) and 1 otherwise (a = 0).
        cosines = jnp.broadcast_to(jnp.array([[a, a, c]]), (len(s), 3))
        return jnp.min(jax.vmap(ELLIPSOIDS.potential)(jnp.concatenate([s + a, cosines], axis=1)))

    side, end, crossed = depth(0.0, 1.0), depth(1.0, 1.0), depth(0.0, 0.0)
    np.testing.assert_allclose([side / end, crossed], [2.0, -1.0], rtol=1e-5)


@pytest.mark.parametrize("d", [2, 3])
def test_forces_and_torques_are_differences_of_the_energy(d):
    data = states(d=d)
    spec = hgn.AxisPair(4, degree=3, contact=(0.4, 0.7), cutoff=2.5)
    (term,) = hgn.sample([spec], data, key=0)
    graph, h = hgn.graphs.frame(data, 1), 1e-5
    energy = eqx.filter_jit(term)
    force, torque = ROTORS.rates(graph, term.gradient(graph))[2:]
    theta = jnp.linspace(-1.0, 1.0, force.shape[2])
    *_, short_force, short_torque = ROTORS.rates(graph, term.energy_gradient(graph, theta))
    np.testing.assert_allclose(short_force, force @ theta, atol=1e-12)
    np.testing.assert_allclose(short_torque, torque @ theta, atol=1e-12)
    x, n = (np.asarray(graph.nodes[name]) for name in ("position", "axis"))
    for body in range(3):
        for k in range(d):
            step = np.zeros_like(x)
            step[body, k] = h
            ends = [energy(replaced(graph, position=x + s * step))[0] for s in (1, -1)]
            np.testing.assert_allclose(force[body, k], (ends[1] - ends[0]) / (2 * h), atol=1e-7)
        for k in range(torque.shape[1]):
            ends = []
            for angle in (h, -h):
                about = np.eye(3)[k] if d == 3 else np.array([0.0, 0, 1])
                moved = n.copy()
                moved[body] = Rotation.from_rotvec(angle * about).as_matrix()[:d, :d] @ n[body]
                ends.append(energy(replaced(graph, axis=moved))[0])
            np.testing.assert_allclose(torque[body, k], (ends[1] - ends[0]) / (2 * h), atol=1e-7)


@pytest.mark.parametrize("polar", [True, False])
def test_features_are_invariant(data, polar):
    (term,) = hgn.sample([hgn.AxisPair(4, degree=3, polar=polar)], data, key=0)
    graph, phi = hgn.graphs.frame(data, 0), eqx.filter_jit(term)
    expected = phi(graph)
    for sign in (1, -1):
        matrix = sign * Rotation.from_rotvec([0.4, -1.0, 2.0]).as_matrix()
        np.testing.assert_allclose(phi(turned(graph, matrix)), expected, rtol=1e-12)
    moved = replaced(graph, position=graph.nodes["position"] + np.array([[3.0, -2.0, 5.0]]))
    np.testing.assert_allclose(phi(moved), expected, rtol=1e-12)
    order = np.array([2, 0, 1])
    other = replaced(graph, **{k: v[order] for k, v in graph.nodes.items()})
    np.testing.assert_allclose(phi(other), expected, rtol=1e-12)
    flipped = replaced(graph, axis=graph.nodes["axis"].at[1].multiply(-1))
    assert np.allclose(phi(flipped), expected, rtol=1e-12) != polar
    # Motion turns with the bodies; torques are axial, too.
    matrix = -Rotation.from_rotvec([0.4, -1.0, 2.0]).as_matrix()
    theta = jnp.linspace(-1.0, 1.0, expected.shape[1])
    rates = [
        ROTORS.motion(g, term.energy_gradient(g, theta)) for g in (graph, turned(graph, matrix))
    ]
    np.testing.assert_allclose(rates[1][2], rates[0][2] @ matrix.T, atol=1e-12)
    np.testing.assert_allclose(rates[1][3], -rates[0][3] @ matrix.T, atol=1e-12)


def test_energy_and_force_fade_at_the_cutoff(data):
    (term,) = hgn.sample([hgn.AxisPair(4, cutoff=2.5)], data, key=0)
    pair = hgn.graphs.frame(states(bodies=2), 0)
    for r, vanishes in ((2.4, False), (2.5 - 1e-7, True), (2.6, True)):
        graph = replaced(pair, position=[[0.0, 0, 0], [r, 0, 0]])
        sizes = jnp.max(jnp.abs(term(graph))), jnp.max(jnp.abs(term.gradient(graph).position))
        assert [bool(size < 1e-5) for size in sizes] == [vanishes, vanishes]


# Fits


@pytest.mark.parametrize("observation", [hgn.Derivatives(), hgn.Forces()])
def test_a_fit_finds_the_dipoles(data, observation):
    if isinstance(observation, hgn.Forces):
        needed = ("position", "axis", "mass", "force", "torque")
        data = data._replace(nodes={name: data.nodes[name] for name in needed})
    fit = hgn.fit(
        data,
        key=0,
        terms=[hgn.AxisPair(32)],
        dynamics=ROTORS,
        observations=[observation],
    )
    unseen = states(key=1)
    for name, rate in zip(ROTORS.observed, fit.model.vector_field(unseen)):
        error = jnp.linalg.norm(rate - unseen.nodes[name]) / jnp.linalg.norm(unseen.nodes[name])
        assert error < 2e-4, name
    # Without observed energies the constant is open.
    change = fit.model(unseen) - unseen.globals["energy"]
    assert jnp.std(change) < 1e-3 * jnp.std(unseen.globals["energy"])


def test_padding_changes_nothing(data, fit):
    few = hgn.graphs.take(data, np.arange(60) < 5)
    padded = hgn.graphs.pad(few, n_node=40, n_edge=80, n_graph=12)
    expected = fit.model.vector_field(few)
    for rate, short in zip(fit.model.vector_field(padded), expected):
        np.testing.assert_allclose(rate[:15], short, atol=1e-12)
        assert not np.any(rate[15:])
    assert np.all(np.isfinite(fit.model(padded)))


def test_a_saved_model_moves_alike(fit, tmp_path, data):
    hgn.save(tmp_path / "model", fit.model)
    loaded = hgn.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded(data), fit.model(data))


def test_pairs_nearer_than_in_training_count(fit, data):
    graph = hgn.graphs.frame(data, 0)
    assert fit.model.out_of_range(graph)["axis pair"] == 0
    near = replaced(graph, position=0.3 * graph.nodes["position"])
    assert fit.model.out_of_range(near)["axis pair"] == 3


# Motion


def rolled(model, start, times, dt, **settings):
    return hgn.rollout(model, start, times, dt=dt, integrator=hgn.RotorVerlet(), **settings)


@pytest.mark.parametrize("d", [2, 3])
def test_a_free_rotor_turns_uniformly(d):
    start = hgn.graphs.frame(states(d=d), 0)
    system = hgn.systems.dipoles(moment=0.0, epsilon=0.0)
    times = np.array([0.0, 3.0, 7.0])
    path = rolled(system, start, times, 0.5)
    n, spin = (np.array(start.nodes[name]) for name in ("axis", "angular_momentum"))
    if d == 2:
        n, spin = np.pad(n, ((0, 0), (0, 1))), np.pad(spin, ((0, 0), (2, 0)))
    rate = spin / np.asarray(start.nodes["inertia"])[:, None]
    for time, axis, position in zip(times, path.axis, path.position):
        expected = Rotation.from_rotvec(time * rate).apply(n)[:, :d]
        np.testing.assert_allclose(axis, expected, atol=1e-13)
        moved = start.nodes["position"] + time * start.nodes["momentum"]
        np.testing.assert_allclose(position, moved, atol=1e-13)


def test_the_integrator_is_of_fourth_order_and_reversible(data):
    start = hgn.graphs.frame(data, 2)
    names = DIPOLES.dynamics.state

    def end_of(path):
        return np.concatenate([np.asarray(path.end.nodes[name]) for name in names], axis=1)

    def rates(t, y):
        split = np.split(y.reshape(3, 12), 4, axis=1)
        graph = replaced(start, **dict(zip(names, split)))
        return np.concatenate(field(graph), axis=1).ravel()

    field = eqx.filter_jit(DIPOLES.vector_field)
    y0 = np.concatenate([np.asarray(start.nodes[name]) for name in names], axis=1)
    true = solve_ivp(rates, (0, 1), y0.ravel(), "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    errors = [
        np.abs(end_of(rolled(DIPOLES, start, [0.0, 1.0], dt)).ravel() - true).max()
        for dt in (1 / 40, 1 / 80, 1 / 160)
    ]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(np.abs(orders - 4) < 0.4), (errors, orders)
    forth = rolled(DIPOLES, start, [0.0, 1.0], 1 / 40)
    back = rolled(DIPOLES, forth.end, [1.0, 0.0], 1 / 40)
    np.testing.assert_allclose(end_of(back), y0, atol=1e-12)


def test_an_isolated_pair_conserves_what_it_must(fit):
    start = hgn.graphs.frame(states(bodies=2, key=3), 1)
    observables = [hgn.Momentum(), hgn.AngularMomentum(), hgn.KineticEnergy()]
    path = rolled(fit.model, start, np.linspace(0, 2, 9), 0.005, observables=observables)
    for name in ("momentum", "angular_momentum"):
        values = np.asarray(path.observed[name])
        np.testing.assert_allclose(values, np.tile(values[:1], (9, 1)), atol=1e-13)
    np.testing.assert_allclose(np.linalg.norm(path.axis, axis=-1), 1, atol=5e-16)
    along = np.sum(path.axis * path.angular_momentum, axis=-1)
    np.testing.assert_allclose(along, 0, atol=1e-14)
    np.testing.assert_allclose(path.energy, np.full(9, path.energy[0]), atol=1e-7)
    # The axes turn: it is no conservation of a state at rest.
    assert np.abs(path.axis[-1] - path.axis[0]).max() > 0.1
    turning = jnp.sum(path.angular_momentum**2, axis=2) / 2 / start.nodes["inertia"][None]
    moving = jnp.sum(path.momentum**2, axis=2) / 2
    np.testing.assert_allclose(
        path.observed["kinetic_energy"], jnp.sum(turning + moving, axis=1), rtol=1e-12
    )


def test_motion_in_a_plane_is_that_in_space():
    flat = hgn.graphs.frame(states(d=2), 0)
    nodes = {
        name: np.pad(flat.nodes[name], ((0, 0), (0, 1)))
        for name in ("position", "momentum", "axis")
    }
    spin = np.pad(flat.nodes["angular_momentum"], ((0, 0), (2, 0)))
    measured = {*ROTORS.observed, *nodes}
    kept = {name: a for name, a in flat.nodes.items() if name not in measured}
    space = replaced(flat._replace(nodes=kept), **nodes, angular_momentum=spin)
    paths = [rolled(DIPOLES, start, [0.0, 1.0], 0.02) for start in (flat, space)]
    np.testing.assert_allclose(paths[0].axis, paths[1].axis[..., :2], atol=1e-12)
    np.testing.assert_allclose(paths[0].position, paths[1].position[..., :2], atol=1e-12)
    np.testing.assert_allclose(
        paths[0].angular_momentum, paths[1].angular_momentum[..., 2:], atol=1e-12
    )


def test_simulated_states_follow_the_motion():
    start = states(bodies=2, trajectories=2)
    one = triangle(bodies=2)
    path = hgn.systems.simulate(DIPOLES, one, key=0, trajectories=2, times=[0.0, 0.4], start=BAND)
    first, second = hgn.graphs.frame(path, 0), hgn.graphs.frame(path, 1)
    for name in DIPOLES.dynamics.state:
        np.testing.assert_array_equal(first.nodes[name], start.nodes[name][:2])
    moved = rolled(DIPOLES, first, [0.0, 0.4], 0.002)
    np.testing.assert_allclose(second.nodes["axis"], moved.axis[-1], atol=1e-8)
    np.testing.assert_allclose(second.nodes["torque"], DIPOLES.vector_field(second)[3], atol=1e-12)


# Bad input


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("axis", lambda n: n.at[4].set(0), r"unit vectors; in frame 1, node 1 .*length is 0"),
        ("axis", lambda n: n.at[4].multiply(1.1), r"frame 1, node 1 the length is 1\.1 .*divide"),
        ("angular_momentum", lambda a: a.at[4].set([3.0, 2, 1]), r"frame 1, node 1 its component"),
        ("inertia", lambda i: i.at[5].set(0), r"nodes\['inertia'\] must be positive.*node 2"),
        ("torque", lambda t: t[:, :1], r"nodes\['torque'\] must be \[n w\]"),
    ],
)
def test_bad_states_are_named(data, name, change, message):
    bad = replaced(data, **{name: change(data.nodes[name])})
    with pytest.raises(ValueError, match=message):
        hgn.check(bad)


def test_angular_momenta_need_inertia(data):
    without = {name: a for name, a in data.nodes.items() if name != "inertia"}
    with pytest.raises(ValueError, match=r'needs nodes\["inertia"\]'):
        hgn.check(data._replace(nodes=without))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": 3}, "even"),
        ({"degree": -1}, "degree"),
        ({"contact": (1.0, -2.0)}, "contact must be two positive distances"),
        ({"cutoff": 0.0}, "cutoff must be positive"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        hgn.AxisPair(**settings)


def test_fits_refuse_data_that_do_not_suit(data, springs):
    with pytest.raises(ValueError, match=r"contact=.* is too long"):
        hgn.fit(data, key=0, terms=[hgn.AxisPair(4, contact=(1.0, 6.0))], dynamics=ROTORS)
    without = {name: a for name, a in data.nodes.items() if name == "position"}
    with pytest.raises(ValueError, match=r'AxisPair\(\) needs nodes\["axis"\]'):
        hgn.fit(data._replace(nodes=without), key=0, terms=[hgn.AxisPair(4)], dynamics=ROTORS)
    line = hgn.systems.simulate(springs, hgn.graphs.chain(3), key=0, trajectories=2)
    with pytest.raises(ValueError, match="2 or 3 dimensions, but the data have 1"):
        hgn.fit(line, key=0, terms=[hgn.Pair(4)], dynamics=ROTORS)
    with pytest.raises(ValueError, match="not that of rotation: leave Kinetic"):
        hgn.fit(data, key=0, terms=[hgn.Kinetic(0), hgn.AxisPair(4)], dynamics=ROTORS)
    with pytest.raises(ValueError, match="well must be positive"):
        hgn.systems.gay_berne(well=0.0)


def test_integrators_and_models_must_suit(fit, data, springs, cube):
    start = hgn.graphs.frame(data, 0)
    with pytest.raises(ValueError, match=r"integrator=hgn\.RotorVerlet"):
        hgn.rollout(fit.model, start, [0.0, 1.0], dt=0.1)
    with pytest.raises(ValueError, match="RotorVerlet needs dynamics"):
        rolled(springs, cube, [0.0, 1.0], 0.1)
    mixed = dataclasses.replace(fit.model.basis, terms=(Mixed(),))
    model = dataclasses.replace(fit.model, basis=mixed, theta=(jnp.ones(1),))
    with pytest.raises(ValueError, match="H = T"):
        rolled(model, start, [0.0, 1.0], 0.1)


class Mixed(hgn.AbstractSiteEnergy):
    """An energy of position and momentum."""

    name = "mixed"
    sites = hgn.sites.Phases()

    def phi(self, z, site):
        return z[:1] * z[-1:]
