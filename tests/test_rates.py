"""Friction, drives and magnetic forces, against NumPy, SciPy and conservation laws."""

import dataclasses
import functools
from typing import Any, ClassVar

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hgn_jax as hgn
from hgn_jax.graphs.from_frames import from_frames

N, PERIOD = 4, 2.5
MASS = np.array([1.0, 2.0, 0.5, 1.5])
EDGES = np.array([(i, j) for i in range(N) for j in range(N) if i != j]).T
FREQUENCY = 2 * np.pi / PERIOD


# The truth


def friction(v):
    speed = np.linalg.norm(v, axis=-1, keepdims=True)
    return -(0.1 + 0.2 * np.tanh(speed)) * v


def h(r):
    return 0.3 * np.exp(-(r**2))


def springs_and_dashpots(q, v):
    force = np.zeros_like(q)
    for i, j in EDGES.T:
        x = q[i] - q[j]
        r = np.linalg.norm(x)
        u = x / r
        force[i] -= (2.0 * (r - 1) + h(r) * (u @ (v[i] - v[j]))) * u
    return force


def drive(t):
    first = [0.4 * np.cos(FREQUENCY * t), 0.3 * np.sin(2 * FREQUENCY * t)]
    return np.array([first, *[[0.0, 0.0]] * (N - 1)])


def energy(q, p):
    pairs = [(i, j) for i, j in EDGES.T if i < j]
    potential = sum((np.linalg.norm(q[i] - q[j]) - 1) ** 2 for i, j in pairs)
    return np.sum(p**2 / MASS[:, None]) / 2 + potential


def rates(t, q, p):
    v = p / MASS[:, None]
    return v, springs_and_dashpots(q, v) + friction(v) + drive(t)


def states(count, seed=0):
    rng = np.random.default_rng(seed)
    square = np.array([[0, 0], [1, 0], [0, 1], [1, 1.0]])
    q = square + rng.uniform(-0.45, 0.45, (count, N, 2))
    return rng.uniform(0, PERIOD, count), q, rng.normal(size=(count, N, 2))


def graphs_of(t, q, p, **nodes):
    """One graph for each time, with measured rates unless they are given."""
    if not nodes:
        v, force = map(np.stack, zip(*(rates(*s) for s in zip(t, q, p))))
        nodes = {"velocity": v.reshape(-1, 2), "force": force.reshape(-1, 2)}
    nodes = {"momentum": p.reshape(-1, 2), "mass": np.tile(MASS, len(t)), **nodes}
    return from_frames(
        list(q),
        cutoff=1e3,
        nodes={k: np.asarray(v) for k, v in nodes.items()},
        globals_={"time": np.asarray(t)},
    )


TERMS = [
    hgn.Kinetic(0),
    hgn.Pair(32),
    hgn.Friction(),
    hgn.PairFriction(),
    hgn.Drive([0], period=PERIOD, units=3),
]


@functools.cache
def fitted():
    data = graphs_of(*states(400))
    return hgn.fit(data, key=1, terms=TERMS, observations=[hgn.Derivatives("uniform")])


vector_field = eqx.filter_jit(lambda model, graphs: model.vector_field(graphs))
power = eqx.filter_jit(lambda model, graphs: model.power(graphs))
columns_of = eqx.filter_jit(lambda term, graphs: term(graphs).momentum)


def sampled(spec, graphs, seed=0):
    return hgn.sample([spec], graphs, key=jr.key(seed))[0]


def random_graphs(d, seed=0, **nodes):
    """Three graphs of unequal size in d dimensions."""
    rng = np.random.default_rng(seed)
    sizes = (4, 3, 5)
    n = sum(sizes)
    nodes = {k: np.asarray(v) for k, v in nodes.items()}
    nodes |= {"momentum": rng.normal(size=(n, d)), "mass": rng.uniform(1, 2, n)}
    return from_frames(
        [rng.normal(size=(k, d)) for k in sizes],
        cutoff=1e3,
        nodes=nodes,
        globals_={"time": np.array([0.0, 0.7, 1.9])},
    )


def velocities(graphs):
    return np.asarray(graphs.nodes["momentum"] / graphs.nodes["mass"][:, None])


# All parts in one solve


def test_every_part_of_the_force_is_found_in_one_solve():
    model = fitted().model
    t, q, p = states(50, seed=1)
    found = np.asarray(vector_field(model, graphs_of(t, q, p))[1]).reshape(-1, N, 2)
    true = np.stack([rates(*s)[1] for s in zip(t, q, p)])
    assert np.linalg.norm(found - true) < 1e-4 * np.linalg.norm(true)
    _, _, resist, dashpots, driven = zip(model.terms, model.theta)
    speed = jnp.linspace(0.2, 2, 20)
    expected = 0.1 + 0.2 * np.tanh(speed)
    np.testing.assert_allclose(resist[0].coefficients(speed) @ resist[1], expected, atol=1e-3)
    r = jnp.linspace(0.5, 1.6, 20)
    np.testing.assert_allclose(dashpots[0].coefficients(r) @ dashpots[1], h(r), atol=2e-3)
    times = jnp.linspace(0, 3 * PERIOD, 31)
    waves = np.asarray(driven[0].waves(times)) @ np.asarray(driven[1]).reshape(2, -1).T
    np.testing.assert_allclose(waves, [drive(t)[0] for t in times], atol=1e-4)


def test_power_of_the_terms_is_the_change_of_the_energy():
    model = fitted().model
    t, q, p = states(20, seed=2)
    by_term = {k: np.asarray(v) for k, v in power(model, graphs_of(t, q, p)).items()}
    assert set(by_term) == {"friction", "pair friction", "drive"}
    v = p / MASS[:, None]
    np.testing.assert_allclose(by_term["friction"], np.sum(friction(v) * v, (1, 2)), atol=3e-3)
    driven = np.array([np.sum(drive(s) * w) for s, w in zip(t, v)])
    np.testing.assert_allclose(by_term["drive"], driven, atol=1e-3)
    assert (by_term["pair friction"] < 1e-3).all()
    step = 1e-4
    for k in range(3):
        solution = [
            solve_ivp(
                lambda s, y: np.concatenate([x.ravel() for x in rates(s, *y.reshape(2, N, 2))]),
                (t[k], t[k] + sign * step),
                np.stack([q[k], p[k]]).ravel(),
                rtol=1e-12,
                atol=1e-14,
            ).y[:, -1].reshape(2, N, 2)
            for sign in (1, -1)
        ]  # fmt: skip
        change = (energy(*solution[0]) - energy(*solution[1])) / (2 * step)
        assert abs(sum(x[k] for x in by_term.values()) - change) < 5e-3 * (1 + abs(change))


def test_power_of_terms_that_share_a_name_is_their_sum():
    model = fitted().model
    damps = [k for k, term in enumerate(model.terms) if term.name == "friction"]
    terms = (*model.terms, *(model.terms[k] for k in damps))
    twice = dataclasses.replace(
        model,
        basis=dataclasses.replace(model.basis, terms=terms),
        theta=(*model.theta, *(3 * model.theta[k] for k in damps)),
    )
    graphs = graphs_of(*states(5, seed=2))
    expected = power(model, graphs)
    expected["friction"] = 4 * expected["friction"]
    chex.assert_trees_all_close(power(twice, graphs), expected, rtol=1e-12)


def test_a_rollout_follows_the_driven_and_damped_motion():
    model = fitted().model
    _, q, p = states(1, seed=3)
    q, p = q[0], 0.3 * p[0]
    start = graphs_of([0.0], q[None], p[None])
    times = np.linspace(0, 4, 5)
    path = hgn.rollout(model, start, times, dt=0.02, integrator=hgn.GaussLegendre4())
    true = solve_ivp(
        lambda s, y: np.concatenate([x.ravel() for x in rates(s, *y.reshape(2, N, 2))]),
        (0, 4), np.stack([q, p]).ravel(), t_eval=times, rtol=1e-10, atol=1e-12,
    ).y.T.reshape(5, 2, N, 2)  # fmt: skip
    np.testing.assert_allclose(path.position, true[:, 0], atol=2e-3)


@pytest.mark.parametrize(
    ("integrator", "order"),
    [(hgn.ImplicitMidpoint(), 2), (hgn.GaussLegendre4(), 4)],
    ids=["midpoint", "gauss"],
)
def test_integrators_keep_their_order_with_friction(integrator, order):
    _, q, p = states(1, seed=3)
    start = graphs_of([0.0], q, 0.5 * p)
    terms = hgn.sample([hgn.Kinetic(0), hgn.Pair(4), hgn.Friction(2)], start, key=0)
    theta = (jnp.ones(1), 0.2 * jnp.ones(4), jnp.array([0.3, 0.2, 0.5]))
    model = hgn.HamiltonianGraphNetwork(hgn.Basis(terms), theta, jnp.zeros(1))

    def end(steps, integrator):
        args = {"dt": 1.0 / steps, "integrator": integrator}
        return hgn.rollout(model, start, np.array([0, 1.0]), **args).position[-1]

    exact = end(256, hgn.GaussLegendre4())
    errors = [float(jnp.max(jnp.abs(end(k, integrator) - exact))) for k in (16, 32)]
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), order, atol=0.2)


def test_explicit_symplectic_integrators_refuse_friction():
    start = graphs_of(*states(1))
    with pytest.raises(ValueError, match="mixes positions and momenta"):
        hgn.rollout(
            fitted().model, start, np.array([0, 1.0]), dt=0.1, integrator=hgn.StormerVerlet()
        )


def test_a_saved_model_moves_bodies_alike(tmp_path):
    model, graphs = fitted().model, graphs_of(*states(3, seed=4))
    hgn.save(tmp_path / "model.npz", model)
    loaded = hgn.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(vector_field(loaded, graphs)[1], vector_field(model, graphs)[1])


# Friction


def test_friction_is_against_the_velocity_and_differs_by_species():
    graphs = random_graphs(3, species=np.array([1, 8, 8, 1] * 3))
    term = sampled(hgn.Friction(3), graphs)
    v = velocities(graphs)
    own = np.asarray(term.coefficients(jnp.asarray(np.linalg.norm(v, axis=1))))
    expected = np.zeros((len(v), 3, 8))
    for i, s in enumerate(np.asarray(graphs.nodes["species"])):
        half = slice(0, 4) if s == 1 else slice(4, 8)
        expected[i, :, half] = -v[i][:, None] * own[i]
    np.testing.assert_allclose(columns_of(term, graphs), expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"the data also have \[3\]"):
        term.accepts(random_graphs(3, species=np.full(12, 3)))


# Friction of pairs


@pytest.mark.parametrize("cutoff", [None, 1.5])
def test_pair_friction_is_central_and_conserves_both_momenta(cutoff):
    graphs = random_graphs(3)
    term = sampled(hgn.PairFriction(5, cutoff=cutoff), graphs)
    found = np.asarray(columns_of(term, graphs))
    x, v = np.asarray(graphs.nodes["position"]), velocities(graphs)
    expected, offset = np.zeros_like(found), 0
    for n in map(int, graphs.n_node):
        for i in range(offset, offset + n):
            for j in range(offset, offset + n):
                r = np.linalg.norm(x[i] - x[j])
                if i == j or (cutoff is not None and r >= cutoff):
                    continue
                u = (x[i] - x[j]) / r
                fade = 1 if cutoff is None else (1 - (r / cutoff) ** 2) ** 2
                raw = np.append(term.layer(jnp.array([[r]]))[0], 1) * fade
                expected[i] -= (u @ (v[i] - v[j])) * u[:, None] * raw
        mine = slice(offset, offset + n)
        scale = np.abs(found[mine]).sum() + 1e-300
        assert np.abs(found[mine].sum(axis=0)).max() < 1e-13 * scale
        torque = np.cross(x[mine, :, None], found[mine], axis=1).sum(axis=0)
        assert np.abs(torque).max() < 1e-13 * scale
        offset += n
    np.testing.assert_allclose(found, expected, atol=1e-12)
    boost = graphs.nodes["mass"][:, None] * jnp.array([[3.0, -1.0, 2.0]])
    boosted = graphs._replace(nodes=graphs.nodes | {"momentum": graphs.nodes["momentum"] + boost})
    np.testing.assert_allclose(columns_of(term, boosted), found, atol=1e-12)


def test_pair_friction_with_neighbour_lists_moves_as_with_given_edges():
    rng = np.random.default_rng(0)
    n, cutoff = 12, 0.8
    q = np.stack(np.meshgrid(*[np.arange(4)] * 2), -1).reshape(-1, 2)[:n] * 0.5
    q = q + rng.uniform(-0.05, 0.05, q.shape)
    cell = np.eye(2) * 4.0
    nodes = {"momentum": 0.3 * rng.normal(size=(n, 2)), "mass": np.ones(n)}
    graphs = from_frames([q], cutoff=cutoff, cell=[cell], nodes=nodes)
    terms = sampled_terms(graphs, cutoff)
    theta = (jnp.ones(1), 0.1 * jnp.ones(8), 0.2 * jnp.ones(5))
    model = hgn.HamiltonianGraphNetwork(hgn.Basis(terms), theta, jnp.zeros(1))
    fixed = from_frames([q], cutoff=2 * cutoff, cell=[cell], nodes=nodes)
    times = np.array([0, 0.2])
    args = {"dt": 0.02, "integrator": hgn.ImplicitMidpoint()}
    lists = hgn.rollout(model, graphs, times, neighbours=hgn.Neighbours(cutoff, skin=0.2), **args)
    given = hgn.rollout(model, fixed, times, neighbours="fixed", **args)
    np.testing.assert_allclose(lists.position, given.position, atol=1e-10)


def sampled_terms(graphs, cutoff):
    specs = [hgn.Kinetic(0), hgn.Pair(8, cutoff=cutoff), hgn.PairFriction(4, cutoff=cutoff)]
    return hgn.sample(specs, graphs, key=0)


# Drives


def test_a_drive_acts_on_named_bodies_of_every_graph():
    graphs = random_graphs(2)
    term = sampled(hgn.Drive([2, 0], bandwidth=3.0, units=4), graphs)
    assert (np.asarray(term.frequency) < 3).all() and not term.periodic
    theta = np.random.default_rng(0).normal(size=(2, 2, 9))
    force = np.asarray(columns_of(term, graphs)) @ theta.ravel()
    first = np.array([0, 4, 7])
    t = np.asarray(graphs.globals["time"])
    angle = t[:, None] * np.asarray(term.frequency)
    waves = np.concatenate([np.cos(angle), np.sin(angle), np.ones((3, 1))], axis=1)
    expected = np.zeros_like(force)
    for g in range(3):
        expected[first[g] + 2] = theta[0] @ waves[g]
        expected[first[g] + 0] = theta[1] @ waves[g]
    np.testing.assert_allclose(force, expected, atol=1e-12)
    late = graphs._replace(globals={"time": graphs.globals["time"] + 1})
    assert term.out_of_range(late).tolist() == [0, 0, 1]


def test_without_a_bandwidth_waves_have_eight_samples_per_period_or_more():
    term = sampled(hgn.Drive([0], units=200), random_graphs(2))
    step = np.median([0.7, 1.2])
    assert 0.9 * np.pi / 4 / step < float(term.frequency.max()) < np.pi / 4 / step


def test_explicit_symplectic_integrators_take_a_drive():
    """A driven harmonic oscillator at rest, p' = -q + a cos(w t), in closed form."""
    a, w, times = 0.3, 1.7, np.linspace(0, 5, 6)
    pull = hgn.sample([hgn.Drive([0], period=2 * np.pi / w, units=1)], one_body(0.0), key=0)
    terms = (hgn.Kinetic(0).sample(jr.key(0), one_body(0.0)), Spring(), *pull)
    # Cosine, sine and constant along x, then along y.
    theta = (jnp.ones(1), jnp.ones(1), jnp.array([a, 0, 0, 0, 0, 0]))
    model = hgn.HamiltonianGraphNetwork(hgn.Basis(terms), theta, jnp.zeros(1))
    path = hgn.rollout(model, one_body(0.0), times, dt=0.05, integrator=hgn.KahanLi8())
    expected = a / (1 - w**2) * (np.cos(w * times) - np.cos(times))
    np.testing.assert_allclose(path.position[:, 0, 0], expected, atol=1e-9)
    np.testing.assert_allclose(path.position[:, 0, 1], 0, atol=1e-14)


class Spring(hgn.AbstractSiteEnergy):
    """|q|^2 / 2."""

    name: ClassVar[str] = "spring"
    sites: ClassVar[Any] = hgn.sites.Positions()

    def phi(self, z, site):
        return jnp.sum(z**2)[None] / 2


def one_body(speed, d=2):
    """One body of mass 1 at the origin, which moves along x."""
    momentum = np.eye(1, d) * speed
    return from_frames(
        [np.zeros((1, d))],
        cutoff=1.0,
        nodes={"momentum": momentum, "mass": np.ones(1)},
        globals_={"time": np.zeros(1)},
    )


# Magnetic fields


@pytest.mark.parametrize("d", [2, 3])
def test_a_charge_circles_in_a_uniform_field(d):
    """Cyclotron motion, of frequency B and radius v / B, in closed form."""
    field, speed, times = 1.5, 0.8, np.linspace(0, 6, 7)
    start = one_body(speed, d)
    terms = hgn.sample([hgn.Kinetic(0), hgn.Magnetic(0)], start, key=0)
    theta = (jnp.ones(1), field * jnp.ones(1) if d == 2 else field * jnp.eye(3)[2])
    model = hgn.HamiltonianGraphNetwork(hgn.Basis(terms), theta, jnp.zeros(0))
    path = hgn.rollout(model, start, times, dt=0.02, integrator=hgn.GaussLegendre4())
    angle = field * times
    circle = speed / field * np.stack([np.sin(angle), np.cos(angle) - 1], axis=1)
    np.testing.assert_allclose(path.position[:, 0, :2], circle, atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(path.momentum[:, 0], axis=1), speed, rtol=1e-12)


def test_a_magnetic_field_is_learned_beside_a_trap():
    """B = 1 + exp(-x^2) out of the plane."""
    rng = np.random.default_rng(0)
    x, v = rng.uniform(-1.5, 1.5, (300, 1, 2)), rng.normal(size=(300, 1, 2))
    b = 1 + np.exp(-(x[..., :1] ** 2))
    force = -x + b * np.stack([v[..., 1], -v[..., 0]], axis=-1)
    nodes = {"mass": np.ones(300), "momentum": v[:, 0], "velocity": v[:, 0], "force": force[:, 0]}
    data = from_frames(list(x), cutoff=1.0, nodes=nodes)
    fit = hgn.fit(
        data,
        key=0,
        terms=[hgn.Kinetic(0), Spring(), hgn.Magnetic(100)],
        observations=[hgn.Derivatives("uniform")],
    )
    *_, magnetic = zip(fit.model.terms, fit.model.theta)
    found = magnetic[0].field(data.nodes["position"]) @ magnetic[1]
    np.testing.assert_allclose(found[:, 0], b[:, 0, 0], atol=2e-3)
    np.testing.assert_allclose(fit.model.theta[1], 1, atol=1e-4)


@pytest.mark.parametrize("d", [2, 3])
def test_a_magnetic_force_is_the_lorentz_force_and_does_no_work(d):
    charge = np.random.default_rng(1).choice([-1.0, 2.0], 12)
    graphs = random_graphs(d, charge=charge)
    term = sampled(hgn.Magnetic(6), graphs)
    v, x = velocities(graphs), graphs.nodes["position"]
    theta = np.random.default_rng(0).normal(size=columns_of(term, graphs).shape[2])
    force = np.asarray(columns_of(term, graphs)) @ theta
    b = np.asarray(term.field(x)) @ theta
    if d == 2:
        v3, b3 = np.pad(v, [(0, 0), (0, 1)]), np.pad(b, [(0, 0), (2, 0)])
    else:
        v3, b3 = v, b
    expected = charge[:, None] * np.cross(v3, b3)[:, :d]
    np.testing.assert_allclose(force, expected, atol=1e-12)
    assert np.abs(np.sum(force * v, axis=1)).max() < 1e-12


def test_a_magnetic_field_in_three_dimensions_has_no_divergence():
    term = sampled(hgn.Magnetic(6), random_graphs(3))
    points = jnp.asarray(np.random.default_rng(2).normal(size=(20, 3)))
    by_point = jax.vmap(jax.jacfwd(lambda y: term.field(y[None])[0]))(points)
    divergence = jnp.einsum("sckc->sk", by_point)
    assert np.abs(by_point).max() > 0.1
    assert np.abs(divergence).max() < 1e-12


# Bad input


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hgn.Friction(-1), "units must be at least 0"),
        (lambda: hgn.PairFriction(0), "units must be at least 1"),
        (lambda: hgn.PairFriction(cutoff=-1.0), "cutoff must be positive"),
        (lambda: hgn.Drive([]), "bodies must name different bodies"),
        (lambda: hgn.Drive([1, 1]), "bodies must name different bodies"),
        (lambda: hgn.Drive([0], period=1.0, bandwidth=2.0), "a period or a bandwidth"),
        (lambda: hgn.Drive([0], period=0.0), "period must be positive"),
        (lambda: sampled(hgn.Drive([3]), random_graphs(2)), "has only 3 bodies"),
        (lambda: hgn.Magnetic(-1), "units must be at least 0"),
        (lambda: sampled(hgn.Magnetic(), random_graphs(1)), "2 or 3 dimensions"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_drive_of_padded_data_and_of_times_that_jump():
    frames = random_graphs(2)
    count = len(frames.n_node)
    number = np.arange(count)
    globals_ = {"time": 100.0 * (number // 2) + 0.1 * (number % 2), "trajectory": number // 2}
    data = frames._replace(globals={k: jnp.asarray(v) for k, v in globals_.items()})
    bodies = int(np.min(frames.n_node))
    padded = hgn.graphs.pad(
        data, n_node=len(data.nodes["mass"]) + 1, n_edge=len(data.senders) + 1, n_graph=count + 2
    )
    for graphs in (data, padded):
        term = sampled(hgn.Drive([bodies - 1]), graphs)
        assert float(term.frequency.max()) <= np.pi / 4 / 0.1
        assert float(term.frequency.max()) > 0.5 * np.pi / 4 / 0.1
    with pytest.raises(ValueError, match=f"only {bodies} bodies"):
        sampled(hgn.Drive([bodies]), padded)
    alone = data._replace(globals=data.globals | {"trajectory": jnp.arange(count)})
    with pytest.raises(ValueError, match="no trajectory has two frames at increasing times"):
        sampled(hgn.Drive([0]), alone)
    assert np.isfinite(sampled(hgn.Drive([0], bandwidth=2.0), alone).frequency).all()


def test_a_summary_says_the_least_and_the_greatest_friction_of_all_species():
    graphs = random_graphs(2, species=np.array([1, 3] * 6))
    term = sampled(hgn.Friction(0), graphs)
    assert term.remarks(jnp.array([0.5, 3.0])) == ("coefficient of friction: 0.5 .. 3",)
    (words,) = term.remarks(jnp.array([2.0, -1.0]))
    assert words.startswith("coefficient of friction: -1 .. 2, negative at")


def test_pairs_up_to_the_cutoff_are_in_the_range_of_pair_friction():
    graph = hgn.graphs.from_pairs(np.array([[0.0, 0], [1, 0], [2.95, 0]]), [(0, 1), (0, 2), (1, 2)])
    term = sampled(hgn.PairFriction(4, cutoff=3.0), graph)
    np.testing.assert_allclose(term.range, [1, 3])
