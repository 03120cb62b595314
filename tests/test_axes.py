"""Bodies with an axis: forces and torques by differences, symmetries, motion, known laws."""

import dataclasses

import equinox as eqx
import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import chebyshev
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation

import hgn_jax as hgn
from hgn_jax.features.compressed_axis_pair import series
from hgn_jax.models import Newtonian

ROTORS, BAND = hgn.LinearRotors(), hgn.systems.Uniform(0.15, 0.4)
DIPOLES, ELLIPSOIDS = hgn.systems.dipoles(), hgn.systems.gay_berne(end=2.0, well=2.0)
STATE = ROTORS.state
TRIANGLE = np.array([[0.0, 0, 0], [1, 0, 0], [0.5, 0.75**0.5, 0]])
FIELD = eqx.filter_jit(lambda model, graphs: model.vector_field(graphs))
ENERGY = eqx.filter_jit(lambda model, graphs: model(graphs))


@pytest.fixture(scope="module")
def triangle():
    graph = hgn.graphs.fully_connected(3, 3, position=jnp.asarray(1.6 * TRIANGLE))
    return replaced(graph, inertia=jnp.linspace(0.3, 0.5, 3))


def simulated(triangle, key):
    """40 trajectories of 8 states each, 0.02 apart."""
    return hgn.systems.simulate(
        DIPOLES, triangle, key=key, trajectories=40, times=0.02 * np.arange(8), start=BAND
    )


@pytest.fixture(scope="module")
def paths(triangle):
    return simulated(triangle, key=0)


@pytest.fixture(scope="module")
def data(paths):
    return hgn.graphs.take(paths, np.arange(320) % 4 == 0)


@pytest.fixture(scope="module")
def unseen(triangle):
    return hgn.graphs.take(simulated(triangle, key=1), np.arange(320) % 8 == 0)


@pytest.fixture(scope="module")
def fit(data):
    return fitted(data, hgn.Derivatives(), hgn.Energies())


@pytest.fixture(scope="module")
def term(data):
    spec = hgn.AxisPair(2, degree=2, contact=(0.4, 0.7), cutoff=2.5)
    return hgn.sample([spec], data, key=0)[0]


def fitted(data, *observations, terms=(), key=0):
    terms = [hgn.AxisPair(32), *terms]
    return hgn.fit(data, key=key, terms=terms, dynamics=ROTORS, observations=observations)


def replaced(graph, **arrays):
    return graph._replace(nodes=graph.nodes | {k: jnp.asarray(v) for k, v in arrays.items()})


def kept(graph, *names):
    return graph._replace(nodes={name: graph.nodes[name] for name in names})


def turned(graph, matrix):
    """The state after a rotation or reflection; angular momenta are axial vectors."""
    axial = np.linalg.det(matrix) * matrix
    by = {"position": matrix, "momentum": matrix, "axis": matrix, "angular_momentum": axial}
    return replaced(graph, **{name: graph.nodes[name] @ m.T for name, m in by.items()})


def errors_of(model, unseen):
    return {
        name: float(jnp.linalg.norm(rate - true) / jnp.linalg.norm(true))
        for name, rate, true in zip(
            ROTORS.observed,
            FIELD(model, unseen),
            (unseen.nodes[name] for name in ROTORS.observed),
        )
    }


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
def test_known_energies_are_the_published_formulas(system, data):
    graph = hgn.graphs.frame(data, 3)
    graph = replaced(graph, position=1.6 * graph.nodes["position"])  # ellipsoids are long
    p, spin = graph.nodes["momentum"], graph.nodes["angular_momentum"]
    kinetic = jnp.sum(p**2, 1) / 2 + jnp.sum(spin**2, 1) / 2 / graph.nodes["inertia"]
    np.testing.assert_allclose(
        ENERGY(system, graph)[0], energy_by_hand(system, graph) + jnp.sum(kinetic), rtol=1e-12
    )


def test_wells_of_ellipsoids_have_the_given_depths():
    s = jnp.linspace(1.0, 2.0, 4001)[:, None]

    def depth(a, c):
        # From the distance of contact, 2 end to end (a = 1) and 1 otherwise (a = 0).
        cosines = jnp.broadcast_to(jnp.array([[a, a, c]]), (len(s), 3))
        return jnp.min(jax.vmap(ELLIPSOIDS.potential)(jnp.concatenate([s + a, cosines], axis=1)))

    side, end, crossed = depth(0.0, 1.0), depth(1.0, 1.0), depth(0.0, 0.0)
    np.testing.assert_allclose([side / end, crossed], [2.0, -1.0], rtol=1e-5)


def test_forces_and_torques_are_differences_of_the_energy(data, term):
    graph, h = hgn.graphs.frame(data, 1), 1e-5
    x, n = (np.array(graph.nodes[name]) for name in ("position", "axis"))
    force, torque = ROTORS.rates(graph, eqx.filter_jit(term.gradient)(graph))[2:]

    def slope(arrays):
        ends = [ENERGY(term, replaced(graph, **arrays(sign * h)))[0] for sign in (1, -1)]
        return (ends[1] - ends[0]) / (2 * h)

    for body, k in np.ndindex(3, 3):
        unit = np.zeros((3, 3))
        unit[body, k] = 1
        along = slope(lambda step, unit=unit: {"position": x + step * unit})
        np.testing.assert_allclose(force[body, k], along, atol=1e-7)
        about = slope(lambda a, unit=unit: {"axis": Rotation.from_rotvec(a * unit).apply(n)})
        np.testing.assert_allclose(torque[body, k], about, atol=1e-7)
    theta = jnp.linspace(-1.0, 1.0, force.shape[2])
    short = ROTORS.rates(graph, eqx.filter_jit(term.energy_gradient)(graph, theta))[2:]
    for contracted, columns in zip(short, (force, torque)):
        np.testing.assert_allclose(contracted, columns @ theta, atol=1e-12)


@pytest.mark.parametrize("polar", [True, False])
def test_features_are_invariant(data, polar):
    (term,) = hgn.sample([hgn.AxisPair(2, degree=2, polar=polar)], data, key=0)
    graph = hgn.graphs.frame(data, 0)
    expected, matrix = ENERGY(term, graph), Rotation.from_rotvec([0.4, -1.0, 2.0]).as_matrix()
    nodes, order = graph.nodes, np.array([2, 0, 1])
    for same in (
        turned(graph, matrix),
        turned(graph, -matrix),
        replaced(graph, position=nodes["position"] + np.array([[3.0, -2.0, 5.0]])),
        replaced(graph, **{k: v[order] for k, v in nodes.items()}),
    ):
        np.testing.assert_allclose(ENERGY(term, same), expected, rtol=1e-12)
    flipped = replaced(graph, axis=nodes["axis"].at[1].multiply(-1))
    assert np.allclose(ENERGY(term, flipped), expected, rtol=1e-12) != polar


def test_motion_turns_with_the_bodies(data):
    graph, matrix = hgn.graphs.frame(data, 0), -Rotation.from_rotvec([0.4, -1, 2]).as_matrix()
    *vectors, torque = FIELD(DIPOLES, graph)
    *others, axial = FIELD(DIPOLES, turned(graph, matrix))
    for vector, other in zip(vectors, others):
        np.testing.assert_allclose(other, vector @ matrix.T, atol=1e-11)
    np.testing.assert_allclose(axial, -torque @ matrix.T, atol=1e-11)  # a pseudovector


def test_energy_and_force_fade_at_the_cutoff(data, term):
    for r, vanishes in ((2.4, False), (2.5 - 1e-7, True), (2.6, True)):
        graph = replaced(hgn.graphs.frame(data, 1), position=r * TRIANGLE)
        slopes = eqx.filter_jit(term.gradient)(graph).position
        sizes = jnp.max(jnp.abs(ENERGY(term, graph))), jnp.max(jnp.abs(slopes))
        assert [bool(size < 1e-5) for size in sizes] == [vanishes, vanishes]


# Fits


def test_a_fit_finds_the_dipoles(fit, unseen):
    errors = errors_of(fit.model, unseen)
    assert max(errors["force"], errors["torque"]) < 1e-5
    assert max(errors["velocity"], errors["axis_velocity"]) < 1e-14  # known
    # With its constant, since energies were observed.
    np.testing.assert_allclose(ENERGY(fit.model, unseen), unseen.globals["energy"], atol=1e-5)


def test_forces_and_torques_need_no_momenta(data, unseen):
    still = kept(data, "position", "axis", "mass", "force", "torque")
    errors = errors_of(fitted(still, hgn.Forces()).model, unseen)
    assert max(errors["force"], errors["torque"]) < 1e-5


def test_measured_states_are_enough(paths, unseen):
    """From axes and angular momenta at a few times, without rates."""
    states = kept(paths, *STATE, "mass", "inertia")
    fit = fitted(states, hgn.Steps())
    errors = errors_of(fit.model, unseen)
    assert max(errors["force"], errors["torque"]) < 1e-3
    for function in (lambda: hgn.refine(fit, states), lambda: hgn.smooth(fit.model, states)):
        with pytest.raises(ValueError, match=r"axes must stay of unit length.*hgn\.Steps"):
            function()


class Damping(hgn.AbstractUntrained, hgn.AbstractRates):
    """Friction of rotation."""

    name = "damping"
    separable = False
    acts_on_pairs = False

    def __call__(self, graphs):
        return hgn.RotorGradient(angular_momentum=-graphs.nodes["angular_momentum"][:, :, None])


def test_rates_of_rotation_beside_an_energy(data, unseen):
    spin = data.nodes["angular_momentum"]
    damped = replaced(data, torque=data.nodes["torque"] - 0.3 * spin)
    model = fitted(damped, hgn.Derivatives(), terms=[Damping()]).model
    np.testing.assert_allclose(model.theta[1], [0.3], atol=1e-4)
    power = eqx.filter_jit(lambda graphs: model.power(graphs)["damping"])(unseen)
    rate = jnp.sum(unseen.nodes["angular_momentum"] ** 2, axis=1) / unseen.nodes["inertia"]
    np.testing.assert_allclose(power, -0.3 * rate.reshape(40, 3).sum(axis=1), rtol=1e-3)
    with pytest.raises(ValueError, match=r"H = T\(p, L\) \+ V\(q, n\)"):
        rolled(model, hgn.graphs.frame(data, 0), [0.0, 0.1], 0.1)


def test_a_batch_of_fits_is_as_fits_alone(data, fit):
    def torque(key):
        one = fitted(data, hgn.Derivatives(), hgn.Energies(), key=key)
        return one.model.vector_field(data)[3]

    both = jax.vmap(torque)(jnp.stack([jax.random.key(1), jax.random.key(0)]))
    np.testing.assert_allclose(both[1], FIELD(fit.model, data)[3], atol=1e-6)


def test_padding_changes_nothing(data, fit):
    few = hgn.graphs.take(data, np.arange(80) < 5)
    padded = hgn.graphs.pad(few, n_node=40, n_edge=80, n_graph=12)
    for rate, whole in zip(FIELD(fit.model, padded), FIELD(fit.model, data)):
        np.testing.assert_allclose(rate[:15], whole[:15], atol=1e-11)
        assert not np.any(rate[15:])
    assert np.all(np.isfinite(ENERGY(fit.model, padded)))


def test_saved_models_move_alike(fit, compressed, tmp_path, data):
    for name, model in (("learned", fit.model), ("compressed", compressed)):
        hgn.save(tmp_path / name, model)
        for rate, same in zip(FIELD(hgn.load(tmp_path / name), data), FIELD(model, data)):
            np.testing.assert_array_equal(rate, same)


@pytest.fixture(scope="module")
def compressed(fit):
    return fit.model.compress(tolerance=1e-6)


def test_compressed_models_are_the_same_without_cancellation(fit, compressed, data):
    rates, wrong = FIELD(fit.model, data), ENERGY(compressed, data) - ENERGY(fit.model, data)
    assert np.std(wrong) < 1e-6 * np.std(ENERGY(fit.model, data))
    light, few = jax.tree.map(
        lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, (compressed, data)
    )
    assert 0 < float(compressed.terms[0].error) <= 1e-6
    for model, graphs, error in ((compressed, data, 1e-6), (light, few, 1e-5)):
        for rate, true in zip(FIELD(model, graphs), rates):
            assert np.linalg.norm(np.asarray(rate) - np.asarray(true)) < 2 * error * np.linalg.norm(
                true
            )


def test_compressed_models_may_have_a_cutoff_and_contact(data, term):
    theta = jnp.asarray(np.random.default_rng(0).normal(size=term(data).shape[1]))
    short, one = term.compress(theta, jnp.zeros(1), 1e-9, False)
    np.testing.assert_allclose(short(data) @ one, term(data) @ theta, rtol=1e-9)
    with pytest.raises(ValueError, match=r"bodies with an axis cannot be compressed.* of 1e-17"):
        term.compress(theta, jnp.zeros(1), 1e-17, False)
    nowhere = dataclasses.replace(term, range=jnp.array([jnp.inf, -jnp.inf]))
    with pytest.raises(ValueError, match="no pair of bodies with an axis in training"):
        nowhere.compress(theta, jnp.zeros(1), 1e-9, False)


def test_polynomials_continue_linearly():
    x = np.array([-1.3, -1, -0.4, 0.9, 1, 1.5])
    coefficients = np.random.default_rng(0).normal(size=(6, 3))
    derivatives = np.append(chebyshev.chebder(coefficients), np.zeros((1, 3)), axis=0)
    both = jnp.asarray(coefficients), jnp.asarray(derivatives)

    def by_x(function):
        return lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]

    def one(x):
        return series(x, *both)

    value, slope, bend = (jax.vmap(f)(jnp.asarray(x)) for f in (one, by_x(one), by_x(by_x(one))))
    within = np.clip(x, -1, 1)
    true = chebyshev.chebval(within, derivatives)
    np.testing.assert_allclose(slope.T, true, atol=1e-13)
    curved = chebyshev.chebval(x, chebyshev.chebder(derivatives)) * (np.abs(x) <= 1)
    np.testing.assert_allclose(bend.T, curved, atol=1e-12)
    line = chebyshev.chebval(within, coefficients) + (x - within) * true
    np.testing.assert_allclose(value.T, line, atol=1e-13)
    by_coefficients = jax.vmap(
        jax.grad(lambda both, x: jnp.sum(series(x, *both))), in_axes=(None, 0)
    )(both, jnp.asarray(x))
    columns = np.repeat(chebyshev.chebvander(within, 5)[:, :, None], 3, axis=2)
    np.testing.assert_allclose(by_coefficients[0], columns, atol=1e-13)
    np.testing.assert_allclose(
        by_coefficients[1], (x - within)[:, None, None] * columns, atol=1e-13
    )


def test_pairs_nearer_than_in_training_count(fit, data):
    count = eqx.filter_jit(fit.model.out_of_range)
    assert not np.any(count(data)["axis pair"])
    near = replaced(data, position=data.nodes["position"].at[:3].multiply(0.3))
    np.testing.assert_array_equal(count(near)["axis pair"], [3] + 79 * [0])


# Motion


def rolled(model, start, times, dt, **settings):
    settings = {"integrator": hgn.RotorVerlet(), **settings}
    return hgn.rollout(model, start, times, dt=dt, **settings)


def state_of(graph):
    return np.concatenate([np.asarray(graph.nodes[name]) for name in STATE], axis=1)


def test_a_free_rotor_turns_uniformly(data):
    start = hgn.graphs.frame(data, 0)
    start = replaced(start, position=1e6 * start.nodes["position"])  # too far to interact
    end = rolled(DIPOLES, start, [0.0, 3.0], 3.0).end.nodes
    rate = start.nodes["angular_momentum"] / start.nodes["inertia"][:, None]
    axis = Rotation.from_rotvec(np.array(3 * rate)).apply(np.array(start.nodes["axis"]))
    np.testing.assert_allclose(end["axis"], axis, atol=1e-13)
    moved = start.nodes["position"] + 3 * start.nodes["momentum"]
    np.testing.assert_allclose(end["position"], moved, rtol=1e-15, atol=1e-9)


def true_states(model, start, times):
    """The motion by another integrator."""

    def rates(t, y):
        arrays = np.split(y.reshape(-1, 12), 4, axis=1)
        graph = replaced(start, **dict(zip(STATE, arrays)))
        return np.concatenate(FIELD(model, graph), axis=1).ravel()

    y0, span = state_of(start).ravel(), (times[0], times[-1])
    y = solve_ivp(rates, span, y0, "DOP853", rtol=1e-12, atol=1e-13, t_eval=times).y
    return y.T.reshape(len(times), -1, 12)


def test_the_integrator_is_of_fourth_order_and_reversible(data):
    """One step of the length h errs by h to the fifth power."""
    start, steps = hgn.graphs.frame(data, 2), np.array([0.01, 0.02, 0.04])
    after = [rolled(DIPOLES, start, [0.0, h], h).end for h in steps]
    true = true_states(DIPOLES, start, np.append(0, steps))[1:]
    errors = [np.abs(state_of(end) - y).max() for end, y in zip(after, true)]
    orders = np.log2(np.divide(errors[1:], errors[:-1]))
    assert np.all(np.abs(orders - 5) < 0.4), (errors, orders)
    back = rolled(DIPOLES, after[2], [steps[2], 0.0], steps[2])
    np.testing.assert_allclose(state_of(back.end), state_of(start), atol=1e-12)


def test_simulated_states_follow_the_motion(paths, unseen):
    true = true_states(DIPOLES, hgn.graphs.frame(paths, 8), 0.02 * np.arange(8))
    for k in (3, 7):
        np.testing.assert_allclose(state_of(hgn.graphs.frame(paths, 8 + k)), true[k], atol=1e-8)
    torque = FIELD(DIPOLES, unseen)[3]
    np.testing.assert_allclose(unseen.nodes["torque"], torque, atol=1e-12)


@pytest.fixture(scope="module")
def path(fit, data):
    observables = [hgn.Momentum(), hgn.AngularMomentum(), hgn.KineticEnergy()]
    start, times = hgn.graphs.frame(data, 1), np.linspace(0, 1, 9)
    return rolled(fit.model, start, times, 0.005, observables=observables)


def test_a_learned_motion_conserves_what_it_must(path, data):
    for name in ("momentum", "angular_momentum"):
        values = np.asarray(path.observed[name])
        np.testing.assert_allclose(values, np.tile(values[:1], (9, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(path.axis, axis=-1), 1, atol=5e-16)
    along = np.sum(path.axis * path.angular_momentum, axis=-1)
    np.testing.assert_allclose(along, 0, atol=1e-13)
    np.testing.assert_allclose(path.energy, np.full(9, path.energy[0]), atol=1e-6)
    # The axes turn: it is no conservation of a state at rest.
    assert np.abs(path.axis[-1] - path.axis[0]).max() > 0.1
    inertia = data.nodes["inertia"][:3]
    turning = jnp.sum(path.angular_momentum**2, axis=2) / 2 / inertia[None]
    moving = jnp.sum(path.momentum**2, axis=2) / 2
    np.testing.assert_allclose(
        path.observed["kinetic_energy"], jnp.sum(turning + moving, axis=1), rtol=1e-12
    )


def test_neighbours_follow_bodies_with_axes(term):
    """In a periodic cell, as with edges to all images from the start."""
    cell, rng = 5.6 * np.eye(3), np.random.default_rng(0)
    x = hgn.graphs.lattice((2, 2, 2), spacing=2.8).nodes["position"]
    graph = hgn.graphs.radius(x + rng.normal(0, 0.3, x.shape), 2.79, cell=cell)
    axis, p, spin = rng.normal(0, 0.3, (3, 8, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    spin -= np.sum(axis * spin, axis=1, keepdims=True) * axis
    graph = replaced(graph, axis=axis, momentum=p, angular_momentum=spin, inertia=np.full(8, 0.4))
    term = dataclasses.replace(term, range=jnp.array([0.1, 2.5]))  # none is out of range
    theta = jnp.linspace(-1.0, 1.0, ENERGY(term, graph).shape[1])
    basis = hgn.Basis((term,), ROTORS, Newtonian())
    model = hgn.HamiltonianGraphNetwork(basis, (theta,), jnp.zeros(basis.constant_count))
    neighbours = hgn.Neighbours(2.5, skin=0.25)
    path = rolled(model, graph, [0.0, 0.1], 0.01, neighbours=neighbours)
    true = true_states(model, graph, [0.0, 0.1])[1]
    np.testing.assert_allclose(state_of(path.end), true, atol=1e-7)
    assert np.abs(true - state_of(graph)).max() > 0.1


# Files


def test_files_hold_axes(path, data, tmp_path):
    hgn.write(tmp_path / "path.npz", path)
    with np.load(tmp_path / "path.npz") as file:
        for name in STATE:
            np.testing.assert_array_equal(file[name], getattr(path, name))
        np.testing.assert_array_equal(file["inertia"], data.nodes["inertia"][:3])
    with pytest.raises(ValueError, match=r"path\.npz: holds bodies with an axis"):
        hgn.read(tmp_path / "path.npz")
    hgn.write(tmp_path / "path.h5", path)
    with h5py.File(tmp_path / "path.h5") as file:
        axis = file["particles/trajectory/axis/value"][:]
    np.testing.assert_array_equal(axis, path.axis)
    with pytest.raises(ValueError, match=r"path\.h5: holds bodies with an axis"):
        hgn.read(tmp_path / "path.h5")
    hgn.write(tmp_path / "data.npz", data)
    again = hgn.read(tmp_path / "data.npz")
    assert again.nodes.keys() == data.nodes.keys()
    for name, array in data.nodes.items():
        np.testing.assert_array_equal(again.nodes[name], array)
    with pytest.raises(ValueError, match="atoms have no axes"):
        hgn.write(tmp_path / "path.xyz", path)


# Bad input


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("axis", lambda n: n.at[4].set(0), r"unit vectors; in frame 1, node 1 .*length is 0"),
        ("axis", lambda n: n.at[4].multiply(1.1), r"frame 1, node 1 the length is 1\.1 .*divide"),
        ("angular_momentum", lambda a: a.at[4].set([3.0, 2, 1]), r"frame 1, node 1 its component"),
        ("inertia", lambda i: i.at[5].set(0), r"nodes\['inertia'\] must be positive.*node 2"),
        ("torque", lambda t: t[:, :1], r"nodes\['torque'\] must be \[n d\]"),
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


def test_fits_refuse_data_that_do_not_suit(data):
    def fit(data, *terms, dynamics=ROTORS):
        return hgn.fit(data, key=0, terms=terms, dynamics=dynamics)

    with pytest.raises(ValueError, match=r"contact=.* is too long"):
        fit(data, hgn.AxisPair(4, contact=(1.0, 6.0)))
    with pytest.raises(ValueError, match=r'AxisPair\(\) needs nodes\["axis"\]'):
        fit(kept(data, "position"), hgn.AxisPair(4))
    with pytest.raises(ValueError, match="the axis pair features turn axes, but Canonical moves"):
        fit(data, hgn.AxisPair(4), dynamics=hgn.Canonical())
    with pytest.raises(ValueError, match=r"kinetic energy of momentum alone.*leave Kinetic"):
        fit(data, hgn.Kinetic(0), hgn.AxisPair(4))
    flat = {name: data.nodes[name][:, :2] for name in ("position", "force", "torque")}
    with pytest.raises(ValueError, match=r"three dimensions, but the data have 2.*append z = 0"):
        hgn.fit(
            data._replace(nodes=flat | {"mass": data.nodes["mass"]}),
            key=0,
            terms=[hgn.Pair(4)],
            dynamics=ROTORS,
            observations=[hgn.Forces()],
        )


def test_energies_refuse_graphs_without_axes(term, data):
    with pytest.raises(ValueError, match=r'bodies with an axis needs nodes\["axis"\]'):
        term(kept(data, "position"))


def test_systems_refuse_what_they_cannot_do(triangle):
    with pytest.raises(ValueError, match="well must be positive"):
        hgn.systems.gay_berne(well=0.0)
    with pytest.raises(ValueError, match="an axis with errors is no unit vector"):
        hgn.systems.simulate(DIPOLES, triangle, key=0, trajectories=2, noise=0.1)


def test_rollouts_refuse_what_moves_no_axes(fit, data, springs, cube):
    start, times = hgn.graphs.frame(data, 0), [0.0, 1.0]
    key, mesh = jax.random.key(0), jax.make_mesh((1,), ("x",))
    bath = hgn.Langevin(temperature=1.0, friction=1.0, key=key)
    for integrator in (hgn.StormerVerlet(), bath):
        with pytest.raises(ValueError, match=r"moves positions and.*integrator=hgn\.RotorVerlet"):
            rolled(fit.model, start, times, 0.1, integrator=integrator)
    barostat = hgn.CellRescaling(pressure=1.0, compressibility=1.0, time=1.0, key=key)
    with pytest.raises(ValueError, match=r"the state of this model is .*leave barostat out"):
        rolled(fit.model, start, times, 0.1, barostat=barostat)
    short = dataclasses.replace(fit.model.terms[0], cutoff=2.0)
    model = eqx.tree_at(lambda m: m.basis.terms, fit.model, (short,))
    with pytest.raises(ValueError, match=r"the state of this model is .*leave mesh out"):
        rolled(model, start, times, 0.1, neighbours=hgn.Neighbours(2.0, skin=0.2, mesh=mesh))
    with pytest.raises(ValueError, match="axes of the model's bodies would stay"):
        hgn.relax(fit.model, start, force=1e-3)
    with pytest.raises(ValueError, match="RotorVerlet needs dynamics"):
        rolled(springs, cube, times, 0.1)
    mixed = dataclasses.replace(fit.model.basis, terms=(Mixed(),))
    model = dataclasses.replace(fit.model, basis=mixed, theta=(jnp.ones(1),))
    with pytest.raises(ValueError, match="H = T"):
        rolled(model, start, times, 0.1)


class Mixed(hgn.AbstractSiteEnergy):
    """An energy of position and momentum."""

    name = "mixed"
    sites = hgn.sites.Phases()

    def phi(self, z, site):
        return z[:1] * z[-1:]
