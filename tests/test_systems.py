import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hgn_jax as hgn
from hgn_jax import systems as S

# name: (system, phi, phi') with parameters that are not the defaults.
KNOWN = {
    "spring": (
        S.mass_spring("spring", stiffness=3.0, rest_length=0.7),
        lambda r: 1.5 * (r - 0.7) ** 2,
        lambda r: 3 * (r - 0.7),
    ),
    "anharmonic": (
        S.mass_spring("anharmonic", stiffness=2.0, quartic=5.0, rest_length=0.6),
        lambda r: (r - 0.6) ** 2 + 1.25 * (r - 0.6) ** 4,
        lambda r: 2 * (r - 0.6) + 5 * (r - 0.6) ** 3,
    ),
    "morse": (
        S.mass_spring("morse", depth=0.5, width=2.0, rest_length=1.1),
        lambda r: 0.5 * (1 - np.exp(-2 * (r - 1.1))) ** 2,
        lambda r: 2 * (1 - np.exp(-2 * (r - 1.1))) * np.exp(-2 * (r - 1.1)),
    ),
    "double_well": (
        S.mass_spring("double_well", strength=0.3, rest_length=1.2),
        lambda r: 0.3 * (r**2 - 1.44) ** 2,
        lambda r: 1.2 * r * (r**2 - 1.44),
    ),
    "lennard_jones": (
        S.lennard_jones(epsilon=0.4, sigma=0.9),
        lambda r: 1.6 * ((0.9 / r) ** 12 - (0.9 / r) ** 6),
        lambda r: 1.6 * (-12 * 0.9**12 / r**13 + 6 * 0.9**6 / r**7),
    ),
    "gravity": (
        S.gravity(gravitational_constant=2.5), lambda r: -2.5 / r, lambda r: 2.5 / r**2,
    ),
}  # fmt: skip
DEFAULTS = {
    "spring": lambda r: r**2 / 2,
    "anharmonic": lambda r: r**2 / 2 + r**4 / 4,
    "morse": lambda r: (1 - np.exp(1 - r)) ** 2,
    "double_well": lambda r: (r**2 - 1) ** 2,
}
PAIRS = np.array([(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)])
MASS = np.array([1.0, 2.0, 0.5, 3.0])
SITES = np.array([(0.0, 0.0, 0.1), (1.1, 0.0, 0.0), (1.0, 1.2, 0.0), (0.0, 0.9, 0.3)])


@pytest.fixture(scope="module")
def graph():
    return hgn.graphs.from_pairs(SITES, PAIRS, mass=MASS, momentum=0.3 * SITES[::-1])


@eqx.filter_jit
def evaluated(system, graphs):
    return system(graphs), system.vector_field(graphs)


def by_hand(graph, phi, slope, coupling=None):
    """Energy and force of the five pairs, in NumPy."""
    x, p = np.asarray(graph.nodes["position"]), np.asarray(graph.nodes["momentum"])
    energy, force = np.sum(p**2 / (2 * MASS[:, None])), np.zeros_like(x)
    for e, (i, j) in enumerate(PAIRS):
        arm = x[j] - x[i]
        r = np.sqrt(arm @ arm)
        c = 1 if coupling is None else coupling[e]
        energy += c * phi(r)
        force[i] += c * slope(r) * arm / r
        force[j] -= c * slope(r) * arm / r
    return energy, force


# Potentials


@pytest.mark.parametrize("name", KNOWN)
def test_pair_energy_is_its_formula(name):
    system, phi, _ = KNOWN[name]
    r = np.linspace(0.5, 3, 20).reshape(4, 5)
    np.testing.assert_allclose(system.pair_energy(jnp.asarray(r)), phi(r), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", DEFAULTS)
def test_default_parameters(name):
    r = np.linspace(0.5, 3, 20)
    found = S.mass_spring(name).pair_energy(jnp.asarray(r))
    np.testing.assert_allclose(found, DEFAULTS[name](r), rtol=1e-13, atol=1e-15)


def test_default_parameters_of_atoms_and_planets():
    r = np.linspace(0.8, 3, 20)
    atoms = S.lennard_jones().pair_energy(jnp.asarray(r))
    np.testing.assert_allclose(atoms, 4 * (r**-12 - r**-6), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(S.gravity().pair_energy(jnp.asarray(r)), -1 / r, rtol=1e-14)


@pytest.mark.parametrize("name", KNOWN)
def test_energies_and_forces_match_sums_by_hand(name, graph):
    system, phi, slope = KNOWN[name]
    coupling = MASS[PAIRS].prod(axis=1) if name == "gravity" else None
    energy, force = by_hand(graph, phi, slope, coupling)
    found, (velocity, pull) = evaluated(system, graph)
    np.testing.assert_allclose(found, [energy], rtol=1e-13)
    np.testing.assert_allclose(pull, force, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(velocity, graph.nodes["momentum"] / MASS[:, None])


@pytest.mark.parametrize("name", KNOWN)
def test_rates_are_central_differences_of_the_energy(name, graph):
    system = KNOWN[name][0]
    h = 1e-5
    _, rates = evaluated(system, graph)
    steps = h * np.concatenate([np.eye(12), -np.eye(12)]).reshape(24, 4, 3)
    for state, sign, rate in (("momentum", 1, rates[0]), ("position", -1, rates[1])):
        moved = hgn.graphs.snapshots(graph, {state: np.asarray(graph.nodes[state]) + steps}, {})
        up, down = np.asarray(evaluated(system, moved)[0]).reshape(2, 4, 3)
        np.testing.assert_allclose(rate, sign * (up - down) / (2 * h), rtol=0, atol=1e-7)


def test_each_edge_type_has_its_own_parameters(graph):
    kinds = np.array([0, 1, 2, 1, 0])
    stiffness, rest = np.array([1.0, 2.0, 5.0]), np.array([0.5, 1.0, 0.2])
    system = S.mass_spring(stiffness=stiffness, rest_length=rest)
    typed = hgn.graphs.from_pairs(
        SITES, PAIRS, mass=MASS, momentum=graph.nodes["momentum"], type=kinds
    )
    r = np.linalg.norm(SITES[PAIRS[:, 0]] - SITES[PAIRS[:, 1]], axis=1)
    kinetic = np.sum(np.asarray(graph.nodes["momentum"]) ** 2 / (2 * MASS[:, None]))
    expected = kinetic + np.sum(stiffness[kinds] / 2 * (r - rest[kinds]) ** 2)
    np.testing.assert_allclose(system(typed), [expected], rtol=1e-13)
    for t in range(3):
        np.testing.assert_allclose(
            system.pair_energy(jnp.array(2.0), t), stiffness[t] / 2 * (2 - rest[t]) ** 2, rtol=1e-14
        )


@pytest.mark.parametrize("cls", [S.Spring, S.Anharmonic, S.Morse, S.DoubleWell, S.LennardJones])
def test_every_parameter_may_depend_on_the_type(cls):
    one = {k: 1.0 + 0.1 * i for i, k in enumerate(cls.__dataclass_fields__)}
    two = {k: 0.6 + 0.3 * i for i, k in enumerate(cls.__dataclass_fields__)}
    both = cls(**{k: np.array([one[k], two[k]]) for k in one})
    r = jnp.array(1.3)
    for t, single in enumerate((cls(**one), cls(**two))):
        expected = single(r, jnp.array(0))
        np.testing.assert_allclose(both(r, jnp.array(t)), expected, rtol=1e-14)
    assert both(r, jnp.array(0)) != both(r, jnp.array(1))


def test_coupling_scales_pair_energies(graph):
    coupling = np.array([1.0, -2.0, 0.0, 3.0, 0.5])
    coupled = hgn.graphs.from_pairs(
        SITES, PAIRS, mass=MASS, momentum=graph.nodes["momentum"], coupling=coupling
    )
    system, phi, slope = KNOWN["morse"]
    energy, force = by_hand(graph, phi, slope, coupling)
    found, (_, pull) = evaluated(system, coupled)
    np.testing.assert_allclose(found, [energy], rtol=1e-13)
    np.testing.assert_allclose(pull, force, rtol=1e-12, atol=1e-14)


def test_external_potential_acts_on_every_body_with_its_mass(graph):
    def well(x, m):
        return 9.81 * m * x[2] + jnp.sum(x**4)

    plain = S.mass_spring("spring", rest_length=1.0)
    energy, (_, force) = evaluated(S.mass_spring("spring", external=well, rest_length=1.0), graph)
    without, (_, pull) = evaluated(plain, graph)
    outer = np.sum(9.81 * MASS * SITES[:, 2]) + np.sum(SITES**4)
    np.testing.assert_allclose(energy - without, [outer], rtol=1e-12)
    expected = -4 * SITES**3 - 9.81 * MASS[:, None] * np.array([0, 0, 1])
    np.testing.assert_allclose(force - pull, expected, rtol=1e-12, atol=1e-13)


def test_periodic_images_pull_through_the_boundary():
    graph = hgn.graphs.from_pairs(np.array([[0.2, 0.0], [3.9, 0.0]]), [(0, 1)])
    graph = graph._replace(
        edges={"shift": jnp.array([[-1, 0], [1, 0]])}, globals={"cell": 4 * jnp.eye(2)[None]}
    )
    energy, (_, force) = evaluated(S.mass_spring("spring"), graph)
    np.testing.assert_allclose(energy, [0.3**2 / 2], rtol=1e-13)
    np.testing.assert_allclose(force, [[-0.3, 0], [0.3, 0]], rtol=1e-13)


@pytest.mark.parametrize("name", ["morse", "gravity"])
def test_energies_add_up_over_separate_copies(name, graph):
    system = KNOWN[name][0]
    double = graph._replace(
        nodes={k: jnp.concatenate([v, v]) for k, v in graph.nodes.items()},
        senders=jnp.concatenate([graph.senders, graph.senders + 4]),
        receivers=jnp.concatenate([graph.receivers, graph.receivers + 4]),
        n_node=2 * graph.n_node,
        n_edge=2 * graph.n_edge,
    )
    np.testing.assert_allclose(system(double), 2 * system(graph), rtol=1e-14)
    np.testing.assert_allclose(jnp.sum(system.node_energy(graph)), system(graph)[0], rtol=1e-14)
    np.testing.assert_allclose(system.node_energy(double)[4:], system.node_energy(graph))


def test_fixed_bodies_and_nothing_else_stand_still(graph):
    fixed = jnp.array([False, True, False, True])
    pinned = graph._replace(nodes=graph.nodes | {"fixed": fixed})
    free, held = (evaluated(KNOWN["morse"][0], g)[1] for g in (graph, pinned))
    for a, b in zip(free, held):
        assert not b[1].any() and not b[3].any()
        np.testing.assert_array_equal(b[0], a[0])
        np.testing.assert_array_equal(b[2], a[2])


def test_unknown_potentials_and_parameters_are_named_beside_the_known_ones():
    with pytest.raises(ValueError, match=r"'sprung'.*anharmonic.*double_well.*morse.*spring"):
        S.mass_spring("sprung")
    with pytest.raises(ValueError, match=r"spring has no \['width'\].*rest_length.*stiffness"):
        S.mass_spring("spring", width=1.0)
    with pytest.raises(ValueError, match="to the potential itself"):
        S.mass_spring(S.Spring(), stiffness=2.0)


def test_a_potential_may_be_given_itself():
    assert S.mass_spring(S.Newton(2.0)).pair_energy(jnp.array(4.0)) == -0.5


# Starts


def displacements(data, graph, count):
    return [
        np.asarray(data.nodes[k]).reshape(count, 4, 3) - np.asarray(graph.nodes[k])
        for k in ("position", "momentum")
    ]


def test_uniform_starts_fill_their_box(graph):
    start = S.Uniform(position=0.3, momentum=0.7)
    data = S.simulate(S.mass_spring(), graph, key=jr.key(1), trajectories=4000, start=start)
    for draws, width in zip(displacements(data, graph, 4000), (0.3, 0.7)):
        assert 0.999 * width < np.abs(draws).max() <= width * (1 + 1e-12)
        # 48,000 draws: five standard errors of mean, variance and kurtosis.
        assert abs(draws.mean()) < 5 * width / np.sqrt(3 * 48_000)
        assert abs(np.mean(draws**2) / width**2 - 1 / 3) < 5 * np.sqrt(4 / 45 / 48_000)
        assert abs(np.mean(draws**4) / width**4 - 1 / 5) < 5 * np.sqrt(16 / 225 / 48_000)


def test_normal_starts_have_their_moments(graph):
    start = S.Normal(position=0.3, momentum=0.7)
    data = S.simulate(S.mass_spring(), graph, key=jr.key(2), trajectories=4000, start=start)
    for draws, sigma in zip(displacements(data, graph, 4000), (0.3, 0.7)):
        assert abs(draws.mean()) < 5 * sigma / np.sqrt(48_000)
        assert abs(np.mean(draws**2) / sigma**2 - 1) < 5 * np.sqrt(2 / 48_000)
        assert abs(np.mean(draws**4) / sigma**4 - 3) < 5 * np.sqrt(96 / 48_000)


@pytest.mark.parametrize("start", [S.Uniform(), S.Normal()])
def test_coordinates_are_drawn_independently(graph, start):
    data = S.simulate(S.mass_spring(), graph, key=jr.key(3), trajectories=4000, start=start)
    q, p = displacements(data, graph, 4000)
    correlation = np.corrcoef(np.concatenate([q.reshape(4000, -1), p.reshape(4000, -1)], 1).T)
    # 276 pairs of columns, standard error 1 / sqrt(4000).
    assert np.abs(correlation - np.eye(24)).max() < 5 / np.sqrt(4000)


def test_the_key_decides(graph):
    def drawn(seed):
        data = S.simulate(S.mass_spring(), graph, key=jr.key(seed), trajectories=3)
        return np.asarray(data.nodes["position"])

    np.testing.assert_array_equal(drawn(0), drawn(0))
    assert (drawn(0) != drawn(1)).all()


# simulate


TIMES = np.array([0.5, 0.6, 1.7, 1.75, 4.0])


@pytest.fixture(scope="module")
def pinned(graph):
    return graph._replace(nodes=graph.nodes | {"fixed": jnp.array([False, True, False, False])})


@pytest.fixture(scope="module")
def paths(pinned):
    """Three trajectories at irregular times, body 1 fixed."""
    start = S.Uniform(position=0.1, momentum=0.3)
    return S.simulate(
        KNOWN["morse"][0], pinned, key=jr.key(6), trajectories=3, times=TIMES, start=start,
        tolerance=1e-11,
    )  # fmt: skip


def test_times_and_trajectories_are_numbered(paths):
    hgn.check(paths)
    np.testing.assert_array_equal(paths.globals["time"], np.tile(TIMES, 3))
    np.testing.assert_array_equal(paths.globals["trajectory"], np.repeat([0, 1, 2], 5))
    assert paths.n_node.tolist() == [4] * 15 and paths.n_edge.tolist() == [10] * 15


def test_states_agree_with_scipy(paths):
    _, _, slope = KNOWN["morse"]
    free = np.array([1.0, 0.0, 1.0, 1.0])[:, None]

    def rates(_, y):
        x, p = y.reshape(2, 4, 3)
        arm = x[PAIRS[:, 1]] - x[PAIRS[:, 0]]
        r = np.linalg.norm(arm, axis=1)[:, None]
        force = np.zeros((4, 3))
        np.add.at(force, PAIRS[:, 0], slope(r) * arm / r)
        np.add.at(force, PAIRS[:, 1], -slope(r) * arm / r)
        return np.concatenate([(free * p / MASS[:, None]).ravel(), (free * force).ravel()])

    q, p = (np.asarray(paths.nodes[k]).reshape(3, 5, 12) for k in ("position", "momentum"))
    for k in range(3):
        start = np.concatenate([q[k, 0], p[k, 0]])
        exact = solve_ivp(rates, TIMES[[0, -1]], start, "DOP853", TIMES, rtol=1e-12, atol=1e-13).y.T
        np.testing.assert_allclose(np.concatenate([q[k], p[k]], 1), exact, rtol=0, atol=1e-9)


def test_energy_is_conserved_and_recorded(paths):
    energy = np.asarray(paths.globals["energy"]).reshape(3, 5)
    np.testing.assert_allclose(energy, energy[:, :1] * np.ones(5), rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        evaluated(KNOWN["morse"][0], paths)[0], energy.ravel(), rtol=1e-13, atol=1e-14
    )
    assert np.ptp(energy[:, 0]) > 1e-3


def test_fixed_bodies_keep_their_state_and_have_zero_rates(paths):
    for name in ("position", "momentum"):
        own = np.asarray(paths.nodes[name]).reshape(15, 4, 3)
        start = {"position": SITES, "momentum": 0.3 * SITES[::-1]}[name]
        np.testing.assert_array_equal(own[:, 1], np.tile(start[1], (15, 1)))
        assert (np.ptp(own[:, [0, 2, 3]], axis=0) > 1e-3).all()
    for name in ("velocity", "force"):
        assert not np.asarray(paths.nodes[name]).reshape(15, 4, 3)[:, 1].any()


def test_without_noise_rates_are_exact(paths):
    _, (velocity, force) = evaluated(KNOWN["morse"][0], paths)
    np.testing.assert_allclose(paths.nodes["velocity"], velocity, rtol=1e-14)
    np.testing.assert_allclose(paths.nodes["force"], force, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("tolerance", "least", "most"), [(1e-12, 0, 1e-10), (1e-4, 1e-8, 1e-2)])
def test_an_oscillator_swings_as_it_should_to_the_tolerance(tolerance, least, most):
    momentum = np.array([[-0.5], [0.5]])
    graph = hgn.graphs.from_pairs(
        np.array([[0.0], [1.0]]), [(0, 1)], mass=np.array([2.0, 2.0]), momentum=momentum
    )
    times = np.array([0.0, 0.1, 1.0, 2 * np.pi, 7.0])
    data = S.simulate(
        S.mass_spring(stiffness=1.0, rest_length=1.0), graph, key=jr.key(0), trajectories=1,
        times=times, start=S.Uniform(0.0, 0.0), tolerance=tolerance,
    )  # fmt: skip
    x = np.asarray(data.nodes["position"]).reshape(5, 2)
    # The reduced mass is one: the length swings as 1 + 0.5 sin t.
    error = np.abs(x[:, 1] - x[:, 0] - 1 - 0.5 * np.sin(times)).max()
    assert least <= error <= most


def test_a_step_cut_short_by_an_observation_time_is_no_collision():
    """A rounding error before the next time once counted as a step that is too small."""
    times = 0.1 * np.arange(60)
    ring = hgn.graphs.ring(3)
    data = S.simulate(
        S.mass_spring("double_well"), ring, key=jr.key(0), trajectories=40, times=times,
        start=S.Uniform(1.0, 0.1),
    )  # fmt: skip
    energy = np.asarray(data.globals["energy"]).reshape(40, -1)
    np.testing.assert_allclose(energy, energy[:, :1] * np.ones(60), rtol=1e-6, atol=1e-8)


def test_two_bodies_circle_with_the_period_of_kepler():
    m1, m2, a, constant = 3.0, 1.0, 1.5, 0.7
    mu = m1 * m2 / (m1 + m2)
    speed = np.sqrt(constant * (m1 + m2) / a)
    period = 2 * np.pi * a / speed
    graph = hgn.graphs.from_pairs(
        np.array([[-a * m2 / (m1 + m2), 0.0], [a * m1 / (m1 + m2), 0.0]]),
        [(0, 1)],
        mass=np.array([m1, m2]),
        momentum=np.array([[0.0, -mu * speed], [0.0, mu * speed]]),
    )
    times = period * np.array([0, 1 / 4, 1 / 2, 0.9, 1, 2])
    data = S.simulate(
        S.gravity(gravitational_constant=constant), graph, key=jr.key(0), trajectories=1,
        times=times, start=S.Uniform(0.0, 0.0), tolerance=1e-12,
    )  # fmt: skip
    x = np.asarray(data.nodes["position"]).reshape(6, 2, 2)
    angle = 2 * np.pi * times / period
    arm = a * np.stack([np.cos(angle), np.sin(angle)], 1)
    np.testing.assert_allclose(x[:, 1] - x[:, 0], arm, rtol=0, atol=1e-9)
    np.testing.assert_allclose(data.globals["energy"], -constant * m1 * m2 / (2 * a), rtol=1e-10)
    np.testing.assert_array_equal(data.edges["coupling"], m1 * m2)


def test_gravity_couples_the_masses_of_either_end(graph):
    coupling = S.gravity().couple(graph).edges["coupling"]
    expected = MASS[PAIRS[:, 0]] * MASS[PAIRS[:, 1]]
    np.testing.assert_array_equal(coupling, np.tile(expected, 2))


# Noise


@pytest.fixture(scope="module")
def noisy(pinned):
    """Clean and noisy copies of the same 2000 starts."""
    return [
        S.simulate(S.mass_spring("morse"), pinned, key=jr.key(8), trajectories=2000, noise=noise)
        for noise in (0.0, 0.05)
    ]


@pytest.mark.parametrize("name", ["momentum", "velocity", "force"])
def test_noise_is_in_units_of_the_standard_deviation(noisy, name):
    clean, dirty = (np.asarray(d.nodes[name]).reshape(2000, 4, 3) for d in noisy)
    errors = (dirty - clean)[:, [0, 2, 3]]
    size = 0.05 * clean.std()
    assert abs(errors.std() / size - 1) < 5 / np.sqrt(2 * 18_000)
    assert abs(errors.mean()) < 5 * size / np.sqrt(18_000)
    assert abs(np.mean(errors**4) / size**4 - 3) < 5 * np.sqrt(96 / 18_000) + 0.1


def test_noise_of_positions_is_in_units_of_their_scatter_about_the_sites(noisy):
    clean, dirty = (np.asarray(d.nodes["position"]).reshape(2000, 4, 3) for d in noisy)
    scatter = np.sqrt(np.mean(clean.var(axis=0)))
    errors = (dirty - clean)[:, [0, 2, 3]]
    assert abs(errors.std() / (0.05 * scatter) - 1) < 5 / np.sqrt(2 * 18_000)


def test_noise_leaves_fixed_bodies_and_energies_alone(noisy):
    clean, dirty = noisy
    for name in ("position", "momentum", "velocity", "force"):
        a, b = (np.asarray(d.nodes[name]).reshape(2000, 4, 3) for d in noisy)
        np.testing.assert_array_equal(a[:, 1], b[:, 1])
        assert (a[:, [0, 2, 3]] != b[:, [0, 2, 3]]).all()
    np.testing.assert_array_equal(clean.globals["energy"], dirty.globals["energy"])


def test_errors_of_different_arrays_are_independent(noisy):
    clean, dirty = noisy
    names = ("position", "momentum", "velocity", "force")
    free = np.tile([True, False, True, True], 2000)
    errors = [np.asarray(dirty.nodes[k] - clean.nodes[k])[free].ravel() for k in names]
    assert np.abs(np.corrcoef(errors) - np.eye(4)).max() < 5 / np.sqrt(18_000)


# Errors


@pytest.mark.parametrize(
    "times",
    [(0.0, 0.0), (1.0, 0.5), (0.0, 2.0, 1.0), (), ((0.0, 1.0),), (0.0, np.nan, 1.0), (0.0, np.inf)],
)
def test_times_must_increase(graph, times):
    with pytest.raises(ValueError, match="strictly increasing"):
        S.simulate(S.mass_spring(), graph, key=jr.key(0), trajectories=1, times=np.array(times))


@pytest.mark.parametrize(
    ("name", "bad"),
    [("tolerance", x) for x in (np.nan, np.inf, 0.0, -1.0)]
    + [("noise", x) for x in (np.nan, np.inf, -1.0)]
    + [("trajectories", x) for x in (0, -1, 2.0)],
)
def test_numbers_out_of_range_are_refused(graph, name, bad, no_type_checks):
    """A tolerance of NaN once ran forever."""
    with pytest.raises(ValueError, match=f"{name} must be .*, got {bad}"):
        S.simulate(S.mass_spring(), graph, key=jr.key(0), times=(0.0, 1.0), **{name: bad})


def test_complex_times_are_refused(graph):
    with pytest.raises(ValueError, match="times is complex"):
        S.simulate(S.mass_spring(), graph, key=jr.key(0), times=np.array([0, 1j]))


@pytest.mark.parametrize("name", ["momentum", "mass"])
def test_a_graph_without_momenta_or_masses_is_refused(graph, name):
    bare = graph._replace(nodes={k: v for k, v in graph.nodes.items() if k != name})
    with pytest.raises(ValueError, match=rf"simulate needs nodes\[.{name}.\]. The data hold"):
        S.simulate(S.mass_spring(), bare, key=jr.key(0))


def test_a_batch_of_graphs_is_refused(graph):
    both = hgn.graphs.snapshots(graph, {"position": jnp.stack([SITES, SITES])}, {})
    with pytest.raises(ValueError, match="batch of 2"):
        S.simulate(S.mass_spring(), both, key=jr.key(0))


def test_dtype_follows_the_graph(graph):
    narrow = jax.tree.map(lambda a: a.astype("float32") if a.dtype == "float64" else a, graph)
    data = S.simulate(S.gravity(), narrow, key=jr.key(0), trajectories=2, noise=0.1)
    arrays = [*data.nodes.values(), data.edges["coupling"], data.globals["energy"]]
    assert {a.dtype for a in arrays} == {jnp.dtype("float32")}


def test_a_collision_stops_the_simulation_with_an_error():
    two = hgn.graphs.fully_connected(2, 2, position=np.array([[0.0, 0.0], [1.0, 0.0]]))
    still = hgn.systems.Uniform(0.0, 0.0)
    with pytest.raises(RuntimeError, match="minimum step size"):
        hgn.systems.simulate(
            hgn.systems.gravity(), two, key=jr.key(0), trajectories=1, times=(0.0, 5.0), start=still
        )


def test_an_edge_type_without_parameters_is_an_error():
    system = hgn.systems.mass_spring("spring", stiffness=np.array([1.0, 2.0]))
    graph = hgn.graphs.from_pairs(np.eye(3), [(0, 1), (1, 2)], type=np.array([0, 2]))
    with pytest.raises(RuntimeError, match="edge type has no parameters"):
        hgn.systems.simulate(system, graph, key=jr.key(0), trajectories=1)
