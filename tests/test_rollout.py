import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.integrate

import hgn_jax as hgn
from hgn_jax.dynamics.save_times import counted

TIMES = np.arange(11) * 0.5
DT = 0.05


class Rotating(hgn.AbstractHamiltonian):
    """Charged bodies in a magnetic field and a trap: mixes positions and momenta."""

    @property
    def separable(self):
        return False

    def __call__(self, graphs):
        q, p = graphs.nodes["position"], graphs.nodes["momentum"]
        spin = q[:, 0] * p[:, 1] - q[:, 1] * p[:, 0]
        node = jnp.sum(p**2 + q**2, axis=1) / 2 + 0.3 * spin
        return jnp.sum(node)[None]


def moving(graph, scale=0.3, seed=0):
    rng = np.random.default_rng(seed)
    n, d = graph.nodes["position"].shape
    momentum = rng.uniform(-scale, scale, (n, d))
    position = graph.nodes["position"] + rng.uniform(-0.1, 0.1, (n, d))
    return graph._replace(
        nodes=graph.nodes | {"position": position, "momentum": jnp.asarray(momentum)}
    )


@pytest.fixture(scope="module")
def start():
    return moving(hgn.graphs.chain(3, dimension=2, mass=jnp.array([1.0, 2.0, 0.5])))


@pytest.fixture(scope="module")
def coarse(springs, start):
    return hgn.rollout(springs, start, TIMES, dt=DT)


def forces_of_springs(q):
    f = np.zeros_like(q)
    for i, j in ((0, 1), (1, 2)):
        d = q[j] - q[i]
        r = np.linalg.norm(d)
        f[i] += (r - 1) * d / r
        f[j] -= (r - 1) * d / r
    return f


def verlet(q, p, mass, h, steps):
    path = [(q, p)]
    for _ in range(steps):
        p = p + h / 2 * forces_of_springs(q)
        q = q + h * p / mass
        p = p + h / 2 * forces_of_springs(q)
        path.append((q, p))
    return path


def state(graph):
    nodes = graph.nodes
    return (
        np.asarray(nodes["position"]),
        np.asarray(nodes["momentum"]),
        np.asarray(nodes["mass"])[:, None],
    )


def test_rollout_is_a_hand_written_verlet(start, coarse):
    chain = verlet(*state(start), DT, 100)[::10]
    np.testing.assert_allclose(coarse.position, [q for q, _ in chain], rtol=0, atol=1e-13)
    np.testing.assert_allclose(coarse.momentum, [p for _, p in chain], rtol=0, atol=1e-13)


IRREGULAR = np.array([0.0, 0.013, 0.061, 0.09, 0.5, 0.51, 1.234, 2.0, 2.71828, 3.5, 5.0])


@pytest.fixture(scope="module")
def irregular(springs, start):
    return hgn.rollout(springs, start, IRREGULAR, dt=DT)


def test_times_between_steps_are_reached_by_one_shorter_step_to_the_side(start, irregular):
    q, p, mass = state(start)
    chain = verlet(q, p, mass, DT, 100)
    for k, t in enumerate(IRREGULAR):
        step = int(np.floor(t / DT + 1e-9))
        expected = verlet(*chain[step], mass, t - step * DT, 1)[1]
        np.testing.assert_allclose(irregular.position[k], expected[0], rtol=0, atol=1e-13)
        np.testing.assert_allclose(irregular.momentum[k], expected[1], rtol=0, atol=1e-13)


def test_output_times_do_not_disturb_the_chain(coarse, irregular):
    """States at common output times are bitwise identical."""
    both = np.intersect1d(TIMES, IRREGULAR)
    assert len(both) == 5
    mine, theirs = np.isin(TIMES, both), np.isin(IRREGULAR, both)
    assert (coarse.position[mine] == irregular.position[theirs]).all()
    assert (coarse.momentum[mine] == irregular.momentum[theirs]).all()


def test_first_output_is_the_start_bit_for_bit(start, coarse):
    assert (coarse.position[0] == start.nodes["position"]).all()
    assert (coarse.momentum[0] == start.nodes["momentum"]).all()


def test_only_differences_of_times_matter(springs, start, coarse):
    path = hgn.rollout(springs, start, TIMES + 32.0, dt=DT)
    np.testing.assert_allclose(path.position, coarse.position, rtol=0, atol=1e-12)
    assert (path.times == TIMES + 32.0).all()


@pytest.mark.parametrize("solver", [hgn.StormerVerlet(), hgn.ImplicitMidpoint()])
def test_backwards_in_time_retraces_the_path(springs, start, solver):
    there = hgn.rollout(springs, start, TIMES, dt=DT, integrator=solver)
    end = start._replace(
        nodes=start.nodes | {"position": there.position[-1], "momentum": there.momentum[-1]}
    )
    back = hgn.rollout(springs, end, TIMES[::-1], dt=DT, integrator=solver)
    np.testing.assert_allclose(back.position[::-1], there.position, rtol=0, atol=1e-12)
    np.testing.assert_allclose(back.momentum[::-1], there.momentum, rtol=0, atol=1e-12)


def scipys(start, times):
    q0, p0, mass = state(start)

    def rates(t, y):
        q, p = y.reshape(2, *q0.shape)
        return np.concatenate([(p / mass).ravel(), forces_of_springs(q).ravel()])

    y0 = np.concatenate([q0.ravel(), p0.ravel()])
    solution = scipy.integrate.solve_ivp(
        rates, (times[0], times[-1]), y0, "DOP853", times, rtol=1e-13, atol=1e-13
    )
    return solution.y.T.reshape(len(times), 2, *q0.shape)


def test_dopri8_rollout_is_scipys(springs, start):
    path = hgn.rollout(springs, start, IRREGULAR, dt=DT, integrator=diffrax.Dopri8())
    truth = scipys(start, IRREGULAR)
    np.testing.assert_allclose(path.position, truth[:, 0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(path.momentum, truth[:, 1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("solver", [hgn.StormerVerlet(), hgn.ImplicitMidpoint()])
def test_error_against_scipy_is_of_second_order_even_at_irregular_times(springs, start, solver):
    times = np.linspace(0, 1.25, 11) + 0.003 * (np.arange(11) % 2)
    truth = scipys(start, times)[:, 0]
    errors = [
        np.linalg.norm(
            hgn.rollout(springs, start, times, dt=dt, integrator=solver).position - truth,
            axis=(1, 2),
        )
        for dt in (0.02, 0.01)
    ]
    np.testing.assert_allclose(np.log2(errors[0][1:] / errors[1][1:]), 2, atol=0.1)


def test_energy_is_the_models_own_at_every_output(springs, start, irregular):
    energy = jax.jit(
        lambda q, p: springs(start._replace(nodes=start.nodes | {"position": q, "momentum": p}))[0]
    )
    expected = jax.vmap(energy)(irregular.position, irregular.momentum)
    np.testing.assert_allclose(irregular.energy, expected, rtol=1e-14)


def test_fixed_bodies_do_not_move(springs, start):
    pinned = start._replace(nodes=start.nodes | {"fixed": jnp.array([True, False, False])})
    path = hgn.rollout(springs, pinned, TIMES, dt=DT)
    assert (path.position[:, 0] == start.nodes["position"][:1]).all()
    assert np.ptp(path.position[:, 1], axis=0).max() > 0.1


# Transformations


def test_jit_equals_eager_with_traced_times_too(springs, start, coarse):
    fixed = eqx.filter_jit(lambda g: hgn.rollout(springs, g, TIMES, dt=DT))(start)
    np.testing.assert_allclose(fixed.position, coarse.position, rtol=0, atol=1e-13)
    traced = eqx.filter_jit(lambda g, t: hgn.rollout(springs, g, t, dt=DT))(
        start, jnp.asarray(TIMES)
    )
    np.testing.assert_allclose(traced.position, coarse.position, rtol=0, atol=1e-13)


def test_vmap_over_starts_equals_single_rollouts(springs, start):
    starts = [moving(start, seed=s) for s in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *starts)
    paths = jax.vmap(lambda g: hgn.rollout(springs, g, TIMES, dt=DT))(stacked)
    assert paths.finite.all()
    for k, one in enumerate(starts):
        single = hgn.rollout(springs, one, TIMES, dt=DT)
        np.testing.assert_allclose(paths.position[k], single.position, rtol=0, atol=1e-13)
        np.testing.assert_allclose(paths.energy[k], single.energy, rtol=0, atol=1e-13)


def test_graphs_of_a_batch_move_as_if_alone(springs, start):
    other = moving(hgn.graphs.ring(4), seed=5)
    both = hgn.rollout(springs, hgn.graphs.batch([start, other]), TIMES, dt=DT)
    first, second = (hgn.rollout(springs, g, TIMES, dt=DT) for g in (start, other))
    np.testing.assert_allclose(both.position[:, :3], first.position, rtol=0, atol=1e-13)
    np.testing.assert_allclose(both.position[:, 3:], second.position, rtol=0, atol=1e-13)
    energies = np.stack([first.energy, second.energy], axis=1)
    np.testing.assert_allclose(both.energy, energies, rtol=0, atol=1e-13)


def test_gradient_with_respect_to_the_start_is_that_of_finite_differences(springs, start):
    def final(p):
        moved = start._replace(nodes=start.nodes | {"momentum": p})
        path = hgn.rollout(springs, moved, np.array([0.0, 0.5, 0.98]), dt=DT)
        return jnp.sum(path.position[-1] * jnp.array([[1.0, 2.0]]))

    p0 = start.nodes["momentum"]
    gradient = jax.grad(final)(p0)
    direction = jnp.asarray(np.random.default_rng(1).normal(size=p0.shape))
    h = 1e-4
    difference = (final(p0 + h * direction) - final(p0 - h * direction)) / (2 * h)
    np.testing.assert_allclose(jnp.sum(gradient * direction), difference, rtol=1e-7)


# What rollout refuses


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ([0.0, 1.0, 1.0], "strictly"),
        ([0.0, 1.0, 0.5], "strictly"),
        ([0.0, np.nan], "finite"),
        ([], "at least one"),
        (1.0, r"\[t\]"),
        ([[0.0, 1.0]], r"\[t\]"),
    ],
)
def test_bad_times_are_refused(springs, start, times, words):
    with pytest.raises(ValueError, match=words):
        hgn.rollout(springs, start, np.array(times), dt=DT)


@pytest.mark.parametrize("dt", [0.0, -0.1, float("nan"), float("inf")])
def test_bad_steps_are_refused(springs, start, dt):
    with pytest.raises(ValueError, match="dt must be"):
        hgn.rollout(springs, start, TIMES, dt=dt)


def test_bad_graph_is_refused(springs, start):
    broken = start._replace(nodes=start.nodes | {"position": start.nodes["position"] * jnp.nan})
    with pytest.raises(ValueError, match="position"):
        hgn.rollout(springs, broken, TIMES, dt=DT)


def test_verlet_refuses_a_hamiltonian_that_does_not_separate_and_names_the_remedy(start):
    with pytest.raises(ValueError, match="ImplicitMidpoint"):
        hgn.rollout(Rotating(), start, TIMES, dt=DT)


def untrained(spec, snapshots):
    features = hgn.sample([spec], snapshots, key=jr.key(0))
    width = jax.eval_shape(features[0], snapshots).shape[1]
    basis = hgn.Basis(features)
    constants = jnp.zeros(basis.constant_count)
    return hgn.HamiltonianGraphNetwork(basis, (jnp.zeros(width),), constants)


def test_verlet_refuses_features_that_do_not_separate(start):
    model = untrained(hgn.MessagePassing(8, hidden=4), start)
    with pytest.raises(ValueError, match="ImplicitMidpoint"):
        hgn.rollout(model, start, TIMES, dt=DT)


def test_features_of_another_dimension_are_refused(start):
    model = untrained(hgn.External(4), start)
    with pytest.raises(ValueError, match="trained in 2 dimensions, but the graph has 3"):
        hgn.rollout(model, hgn.graphs.chain(3, dimension=3), TIMES, dt=DT)


def test_midpoint_rolls_out_a_hamiltonian_that_does_not_separate(start):
    """Every body turns by 0.3 t while it oscillates with frequency one."""
    path = hgn.rollout(Rotating(), start, TIMES, dt=0.01, integrator=hgn.ImplicitMidpoint())
    q0, p0, _ = state(start)
    for t, q in zip(TIMES, np.asarray(path.position)):
        c, s = np.cos(0.3 * t), np.sin(0.3 * t)
        turned = (np.cos(t) * q0 + np.sin(t) * p0) @ np.array([[c, s], [-s, c]])
        np.testing.assert_allclose(q, turned, rtol=0, atol=5e-4)
    np.testing.assert_allclose(path.energy, path.energy[0], rtol=1e-11)


# Motion that does not stay finite


@pytest.fixture(scope="module")
def collision():
    """Bodies 1 and 2 fly at each other and touch within the fourth step; body 0 is far away."""
    sites = jnp.array([[0.0], [8.0], [10.25]])
    graph = hgn.graphs.from_pairs(sites, [(0, 1), (1, 2), (0, 2)])
    graph = graph._replace(nodes=graph.nodes | {"momentum": jnp.array([[0.0], [1.0], [-1.0]])})
    return hgn.systems.mass_spring(Contact()), graph


class Contact(hgn.systems.AbstractPotential):
    """No force at a distance, undefined for r < 1/2."""

    def __call__(self, r, type):
        return jnp.where(r < 0.5, jnp.sqrt(r - 0.5), 0.0)


def test_stop_names_time_and_node(collision):
    with pytest.raises(RuntimeError, match=r"stopped at time 1: node 1 is not finite.*smaller dt"):
        hgn.rollout(*collision, np.arange(6) * 0.75, dt=0.25)


def test_stop_counts_time_from_the_first_output(collision):
    with pytest.raises(RuntimeError, match="stopped at time 11: node 1"):
        hgn.rollout(*collision, 10 + np.arange(6) * 0.75, dt=0.25)


def test_without_throw_outputs_after_the_stop_are_nan(collision):
    path = hgn.rollout(*collision, np.array([0.0, 0.5, 0.8, 1.0, 1.5, 3.75]), dt=0.25, throw=False)
    assert not path.finite
    assert path.stopped_time == 1.0
    assert path.stopped_node == 1
    np.testing.assert_array_equal(path.position[:3, 1, 0], [8.0, 8.5, 8.8])
    assert jnp.isnan(path.momentum[3:]).any(axis=(1, 2)).all()
    assert jnp.isnan(path.position[4:]).all() and jnp.isnan(path.energy[4:]).all()


def test_motion_that_stops_raises_under_jit_or_shows_in_finite(collision):
    system, graph = collision
    times = np.arange(6) * 0.75
    with pytest.raises(eqx.EquinoxRuntimeError, match="smaller dt"):
        jax.block_until_ready(
            eqx.filter_jit(lambda g: hgn.rollout(system, g, times, dt=0.25))(graph)
        )
    path = eqx.filter_jit(lambda g: hgn.rollout(system, g, times, dt=0.25, throw=False))(graph)
    assert not path.finite and path.stopped_node == 1


def test_too_long_a_step_explodes_and_says_so(start):
    stiff = hgn.systems.mass_spring("anharmonic", stiffness=100.0, rest_length=1.0)
    with pytest.raises(RuntimeError, match=r"stopped at time .*: node [0-7] "):
        hgn.rollout(stiff, start, np.array([0.0, 50.0]), dt=0.5)


def test_midpoint_step_that_cannot_be_solved_is_named(start):
    stiff = hgn.systems.mass_spring("anharmonic", stiffness=100.0, rest_length=1.0)
    with pytest.raises(RuntimeError, match=r"stopped at time|could not be solved"):
        hgn.rollout(stiff, start, np.array([0.0, 5.0]), dt=0.5, integrator=hgn.ImplicitMidpoint())


def test_midpoint_outputs_before_an_unsolvable_step_are_kept_and_later_ones_are_nan(collision):
    system, graph = collision
    times = np.array([0.0, 0.5, 1.0, 1.25, 30.0])
    path = hgn.rollout(
        system, graph, times, dt=0.25, integrator=hgn.ImplicitMidpoint(), throw=False
    )
    assert not path.finite
    assert jnp.isfinite(path.position[:2]).all()
    assert jnp.isnan(path.position[-1]).all()


def test_a_chain_step_that_no_output_needs_cannot_spoil_the_outputs(start):
    stiff = hgn.systems.mass_spring("anharmonic", stiffness=100.0, rest_length=1.0)
    solver = hgn.ImplicitMidpoint()
    path = hgn.rollout(stiff, start, np.array([0.0, 1e-3]), dt=0.5, integrator=solver)
    short = hgn.rollout(stiff, start, np.array([0.0, 1e-3]), dt=1e-3, integrator=solver)
    np.testing.assert_allclose(path.position, short.position, rtol=0, atol=1e-15)


def test_a_side_step_that_cannot_be_solved_does_not_pass_silently():
    """The first step is free; the shorter one after it hits a wall that is too stiff for it."""
    wall = hgn.systems.mass_spring(
        external=lambda q, m: 1e4 / 2 * jnp.maximum(q[0] - 1.0, 0.0) ** 2
    )
    body = hgn.graphs.from_pairs(jnp.array([[0.8]]), [], momentum=jnp.array([[1.5]]))
    times = np.array([0.0, 0.1, 0.199])
    path = hgn.rollout(wall, body, times, dt=0.1, integrator=hgn.ImplicitMidpoint(), throw=False)
    np.testing.assert_allclose(path.position[1], 0.95, rtol=1e-12)
    assert not path.finite


def test_a_single_time_is_the_start(springs, start):
    path = hgn.rollout(springs, start, np.array([3.0]), dt=DT)
    assert (path.position[0] == start.nodes["position"]).all()
    assert path.position.shape == (1, 3, 2)


# Learned models


@pytest.fixture(scope="module")
def long(fitted, springs):
    """4000 steps of the learned and of the true Hamiltonian: two bodies, so no chaos."""
    pair = moving(hgn.graphs.chain(2, dimension=3), scale=0.2)
    return [hgn.rollout(m, pair, np.arange(4001) * 0.1, dt=0.1) for m in (fitted.model, springs)]


def test_learned_hamiltonian_moves_as_the_true_one(long):
    learned, true = (path.position[:100] for path in long)
    np.testing.assert_allclose(learned, true, rtol=0, atol=1e-5)
    assert np.ptp(true, axis=0).max() > 0.1


def test_learned_and_true_energy_errors_have_the_same_amplitude_and_no_drift(long):
    errors = [np.abs(path.energy - path.energy[0]) for path in long]
    np.testing.assert_allclose(errors[0].max(), errors[1].max(), rtol=0.05)
    for error in errors:
        np.testing.assert_allclose(error[:2000].max(), error[2000:].max(), rtol=0.05)
    assert errors[1].max() > 1e-5


# Rounding, and what only shows when traced


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_times_of_a_million_steps_are_counted_to_the_step(dtype):
    """Also in a graph of single precision: times are read in their own precision."""
    counts = np.array([0, 1, 1_200_000, 2_000_000, 10_000_000])
    schedule = counted(0.01 * counts, 0.01, np.dtype(dtype))
    np.testing.assert_array_equal(np.cumsum(schedule.strides), counts)
    aside = counted([0.0, 0.01 * (1e6 + 0.25)], 0.01, np.dtype(dtype))
    assert aside.strides.tolist() == [0, 1_000_000]
    np.testing.assert_allclose(aside.parts, [0, 0.25], atol=1e-6)


@pytest.mark.parametrize(
    ("times", "dt"), [([0.0, 0.2, 0.1], 0.05), ([0.0, 0.0], 0.05), ([0.0, 0.1], -0.05)]
)
def test_bad_times_and_steps_are_not_finite_when_traced(springs, start, times, dt):
    def run(times, dt):
        return hgn.rollout(springs, start, times, dt=dt, throw=False)

    assert not jax.jit(run)(jnp.array(times), dt).finite
    assert jax.jit(run)(jnp.array([0.0, 0.1, 0.2]), 0.05).finite


def test_periodic_edges_without_shift_are_refused(springs):
    graph = hgn.graphs.from_pairs(np.array([[0.0, 0.0], [9.0, 0.0], [9.0, 9.5]]), [(0, 1), (1, 2)])
    graph = graph._replace(globals={"cell": 10 * jnp.eye(2)[None]})

    def end(position):
        moved = graph._replace(nodes=graph.nodes | {"position": position})
        return hgn.rollout(springs, moved, hgn.Every(5, 1), dt=0.01).position

    for run in (end, jax.jit(end)):
        with pytest.raises(ValueError, match="edges carry no `shift`"):
            run(graph.nodes["position"])
