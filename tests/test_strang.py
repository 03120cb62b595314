"""Strang's splitting with friction and magnetic fields, against analytic solutions."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hgn_jax as hgn
from hgn_jax.graphs.from_frames import from_frames

STRANG = hgn.Strang()


class Spring(hgn.AbstractSiteEnergy):
    """|q|^2 / 2."""

    name: ClassVar[str] = "spring"
    sites: ClassVar[Any] = hgn.sites.Positions()

    def phi(self, z, site):
        return jnp.sum(z**2)[None] / 2


class Dashpot(hgn.AbstractUntrained, hgn.AbstractRates):
    """Friction with the surroundings that says nothing of the rates that it changes."""

    name: ClassVar[str] = "dashpot"
    separable: ClassVar[bool] = False
    acts_on_pairs: ClassVar[bool] = False

    def __call__(self, graphs):
        return hgn.Gradient(momentum=-graphs.nodes["momentum"][:, :, None])


def bodies(q, p, mass):
    nodes = {"momentum": np.asarray(p, float), "mass": np.asarray(mass, float)}
    globals_ = {"time": np.zeros(1)}
    return from_frames([np.asarray(q, float)], cutoff=1e3, nodes=nodes, globals_=globals_)


def model_of(start, terms, theta):
    found = [
        hgn.sample([t], start, key=0)[0] if isinstance(t, hgn.AbstractTermSpec) else t
        for t in terms
    ]
    basis = hgn.Basis((*hgn.sample([hgn.Kinetic(0)], start, key=0), *found))
    theta = tuple(jnp.asarray(x, float) for x in ([1.0], *theta))
    return hgn.HamiltonianGraphNetwork(basis, theta, jnp.zeros(basis.constant_count))


def order(end, exact, steps=(16, 32)):
    errors = [np.abs(end(k) - exact).max() for k in steps]
    return np.log2(errors[0] / errors[1])


ONE = bodies([[0.7, 0.0, -0.2]], [[0.4, -0.5, 0.3]], [2.0])
FIELD = np.array([0.3, -0.4, 1.2])


def in_field(terms=(), theta=(), field=FIELD):
    return model_of(ONE, [*terms, hgn.Magnetic(0)], [*theta, field])


# Friction


def test_a_damped_oscillator_is_followed_to_second_order():
    """m q'' = -k q - c q', in closed form."""
    m, k, c = 2.0, 3.0, 0.8
    model = model_of(ONE, [Spring(), hgn.Friction(0)], [[k], [c]])
    rate, time = c / (2 * m), 3.0
    w = np.sqrt(k / m - rate**2)
    q0, v0 = np.asarray(ONE.nodes["position"]), np.asarray(ONE.nodes["momentum"]) / m
    wave = q0 * np.cos(w * time) + (v0 + rate * q0) / w * np.sin(w * time)
    exact = np.exp(-rate * time) * wave

    def end(steps):
        times = np.array([0, time])
        return hgn.rollout(model, ONE, times, dt=time / steps, integrator=STRANG).position[-1]

    np.testing.assert_allclose(order(end, exact), 2, atol=0.1)
    assert np.abs(end(256) - exact).max() < 2e-4


@pytest.mark.parametrize("dt", [0.1, 2.0, 16.0])
def test_linear_friction_of_a_free_body_is_exact(dt):
    """p = p0 exp(-c t / m), in steps of up to eight damping times."""
    model = model_of(ONE, [hgn.Friction(0)], [[1.0]])
    times = dt * np.arange(4)
    path = hgn.rollout(model, ONE, times, dt=dt, integrator=STRANG)
    expected = np.exp(-times / 2.0)[:, None, None] * np.asarray(ONE.nodes["momentum"])
    # Terms of the series, of alternating signs, are as great as exp(dt / m).
    accuracy = 1e-14 * np.exp(dt / 2.0)
    np.testing.assert_allclose(path.momentum, expected, rtol=1e-14, atol=accuracy)


def test_all_terms_converge_to_the_path_of_scipy():
    """Friction that is not linear, dashpots of pairs, a drive and a field that varies."""
    rng = np.random.default_rng(0)
    start = bodies(rng.normal(size=(4, 2)), rng.normal(size=(4, 2)), [1.0, 2.0, 0.5, 1.5])
    terms = [
        Spring(), hgn.Friction(2), hgn.PairFriction(2), hgn.Drive([1], period=1.3, units=1),
        hgn.Magnetic(3),
    ]  # fmt: skip
    theta = [
        [2.0],
        [0.4, -0.3, 0.5],
        [0.2, 0.3, 0.4],
        [0.5, 0.2, 0, 0.1, 0.3, 0],
        [1, 0.5, 0.3, -1],
    ]
    model = model_of(start, terms, theta)
    assert model.separable_drift and not model.separable

    @jax.jit
    def rates(t, y):
        q, p = y.reshape(2, 4, 2)
        graph = start._replace(
            nodes=start.nodes | {"position": q, "momentum": p}, globals={"time": t[None]}
        )
        return jnp.concatenate(model.vector_field(graph)).ravel()

    def end(steps):
        path = hgn.rollout(model, start, [0.0, 1.0], dt=1 / steps, integrator=STRANG)
        return np.concatenate([path.position[-1], path.momentum[-1]])

    y0 = np.concatenate([start.nodes["position"], start.nodes["momentum"]]).ravel()
    solved = solve_ivp(lambda t, y: rates(jnp.asarray(t), y), (0, 1), y0, rtol=1e-10, atol=1e-12)
    exact = solved.y[:, -1].reshape(8, 2)
    np.testing.assert_allclose(order(end, exact, (32, 64)), 2, atol=0.1)
    assert np.abs(end(256) - exact).max() < 1e-4


# Magnetic fields


def test_a_charge_circles_at_the_exact_frequency_with_a_constant_speed():
    """Cyclotron motion; 20,000 steps of a third of a radian each."""
    dt, steps = 0.5, 20_000
    every = hgn.Every(steps // 100, 100)
    path = hgn.rollout(in_field(), ONE, every, dt=dt, integrator=STRANG)
    p0, b = np.asarray(ONE.nodes["momentum"][0]), np.linalg.norm(FIELD)
    axis, angle = FIELD / b, -b / 2.0 * np.asarray(path.times)[:, None]
    along = axis * (axis @ p0)
    turned = along + np.cos(angle) * (p0 - along) + np.sin(angle) * np.cross(axis, p0)
    speed = np.linalg.norm(path.momentum[:, 0], axis=1)
    np.testing.assert_allclose(speed, np.linalg.norm(p0), rtol=1e-12)
    np.testing.assert_allclose(path.momentum[:, 0], turned, atol=1e-11)


def test_the_circle_is_followed_to_second_order():
    p0, time, b = np.asarray(ONE.nodes["momentum"][0]), 2.0, 1.5
    z0, v0 = np.asarray(ONE.nodes["position"][0, :2]) @ [1, 1j], p0[:2] @ [1, 1j] / 2.0
    w = -1j * b / 2.0
    exact = z0 + v0 * (np.exp(w * time) - 1) / w
    model = in_field(field=[0, 0, b])

    def end(steps):
        path = hgn.rollout(model, ONE, [0.0, time], dt=time / steps, integrator=STRANG)
        return np.asarray(path.position[-1, 0, :2]) @ [1, 1j]

    np.testing.assert_allclose(order(end, exact), 2, atol=0.05)


def test_crossed_fields_let_a_charge_drift_and_its_energy_stays_bounded():
    """The mean velocity is E x B / |B|^2, times x / tan(x) for half an angle x of rotation per
    step: the fixed point of the step. The rest of the velocity turns, with a mean of zero."""
    force = np.array([0.2, 0.0, 0.0])
    model = in_field([hgn.UniformField()], [-force / 2.0], [0, 0, 1.0])
    turns, per_turn = 2000, 10
    dt, x = 2 * np.pi * 2.0 / per_turn, np.pi / per_turn
    path = hgn.rollout(model, ONE, hgn.Every(per_turn, turns), dt=dt, integrator=STRANG)
    drift = (path.position[-1, 0] - path.position[0, 0])[:2] / (turns * per_turn * dt)
    np.testing.assert_allclose(drift, [0, -0.2 * x / np.tan(x)], atol=1e-10)
    between = hgn.rollout(model, ONE, hgn.Every(7, 2000), dt=dt, integrator=STRANG)
    # Both halves of a kick meet the same speed, so its work is the force times the displacement.
    # What is left is rounding of 14,000 steps.
    np.testing.assert_allclose(between.energy, between.energy[0], rtol=0, atol=1e-12)


def test_energy_in_a_trap_and_a_field_that_varies_does_not_drift():
    """20,000 steps: it would by 2e-2 if the exponential also took the force of the trap."""
    model = model_of(ONE, [Spring(), hgn.Magnetic(4)], [[1.0], TWIST])
    path = hgn.rollout(model, ONE, hgn.Every(20, 1000), dt=0.2, integrator=STRANG)
    error = np.asarray(path.energy / path.energy[0] - 1)
    assert 1e-4 < np.abs(error).max() < 0.02
    assert abs(error[500:].mean() - error[:500].mean()) < 5e-4


# Any forces


def one_step(model, z, dt=0.3):
    nodes = ONE.nodes | {"position": z[None, :3], "momentum": z[None, 3:]}
    start = ONE._replace(nodes=nodes)
    path = hgn.rollout(model, start, np.array([0, dt]), dt=dt, integrator=STRANG)
    return jnp.concatenate([path.position[-1, 0], path.momentum[-1, 0]])


jacobian = eqx.filter_jit(lambda model, z: jax.jacfwd(lambda x: one_step(model, x))(z))
Z = jnp.asarray([0.7, 0.1, -0.2, 0.4, -0.5, 0.3])
TWIST = [0, 0, 1, 0.5, -0.5, 0.3, 0.4]


@pytest.mark.parametrize(
    ("terms", "theta", "volume"),
    [
        ([Spring(), hgn.Magnetic(4)], [[1.0], TWIST], 1),
        ([Spring(), hgn.Friction(0), hgn.Magnetic(4)], [[1.0], [0.8], TWIST],
         np.exp(-3 * 0.3 * 0.8 / 2)),
    ],
    ids=["field", "friction"],
)  # fmt: skip
def test_a_step_preserves_volume_but_for_friction(terms, theta, volume):
    matrix = np.asarray(jacobian(model_of(ONE, terms, theta), Z))
    np.testing.assert_allclose(np.linalg.det(matrix), volume, rtol=1e-13)
    assert np.abs(matrix - np.eye(6)).max() > 0.1


def test_without_velocities_a_step_is_the_position_verlet_method():
    found = one_step(model_of(ONE, [Spring()], [[3.0]]), Z, dt := 0.3)
    q, p = Z[:3], Z[3:]
    half = q + dt / 2 * p / 2.0
    p = p - dt * 3.0 * half
    np.testing.assert_allclose(found, jnp.concatenate([half + dt / 2 * p / 2.0, p]), rtol=1e-14)


def test_motion_in_a_field_is_reversible():
    model = model_of(ONE, [Spring(), hgn.Magnetic(4)], [[1.0], TWIST])
    there = hgn.rollout(model, ONE, [0.0, 4.0], dt=0.2, integrator=STRANG)
    with pytest.warns(UserWarning, match="trained range"):
        back = hgn.rollout(model, there.end, [4.0, 0.0], dt=0.2, integrator=STRANG)
    np.testing.assert_allclose(back.position[-1], ONE.nodes["position"], atol=1e-13)
    np.testing.assert_allclose(back.momentum[-1], ONE.nodes["momentum"], atol=1e-13)


def test_derivatives_agree_with_finite_differences():
    def cost(c):
        model = model_of(ONE, [Spring(), hgn.Friction(0), hgn.Magnetic(0)], [[3.0], c[None], FIELD])
        path = hgn.rollout(model, ONE, np.array([0, 0.5, 1]), dt=0.1, integrator=STRANG)
        return jnp.sum(path.position[-1] ** 3)

    c, e = jnp.asarray(0.6), 1e-4
    run = jax.jit(cost)
    expected = (run(c + e) - run(c - e)) / (2 * e)
    np.testing.assert_allclose(jax.jit(jax.grad(cost))(c), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(cost))(c), expected, rtol=1e-6)


def test_neighbour_lists_give_the_motion_of_given_edges():
    rng = np.random.default_rng(0)
    q = np.stack(np.meshgrid(*[np.arange(4)] * 2), -1).reshape(-1, 2)[:12] * 0.5
    q = q + rng.uniform(-0.05, 0.05, q.shape)
    nodes = {"momentum": 0.3 * rng.normal(size=(12, 2)), "mass": np.ones(12)}
    near, far = (
        from_frames([q], cutoff=r, cell=[np.eye(2) * 4.0], nodes=nodes) for r in (0.8, 1.6)
    )
    terms = [hgn.Pair(2, cutoff=0.8), hgn.PairFriction(2, cutoff=0.8)]
    model = model_of(near, terms, [0.3 * jnp.ones(2), jnp.ones(3)])
    args = {"dt": 0.05, "integrator": STRANG}
    lists = hgn.rollout(model, near, [0.0, 1.0], neighbours=hgn.Neighbours(0.8, skin=0.1), **args)
    given = hgn.rollout(model, far, [0.0, 1.0], neighbours="fixed", **args)
    np.testing.assert_allclose(lists.position, given.position, atol=1e-12)
    total = lists.momentum.sum(axis=1)
    np.testing.assert_allclose(total[-1], total[0], atol=1e-13)


# Bad input


def test_a_step_of_many_damping_times_is_an_error():
    model = model_of(ONE, [hgn.Friction(0)], [[100.0]])
    with pytest.raises(RuntimeError, match="dt"):
        hgn.rollout(model, ONE, [0.0, 2.0], dt=1.0, integrator=STRANG)


@pytest.mark.parametrize(
    ("term", "theta"),
    [(hgn.Phase(2, degrees=(0, 2)), None), (Dashpot(), [0.3])],
    ids=["phase", "own"],
)
def test_models_whose_velocities_may_depend_on_positions_are_refused(term, theta):
    if theta is None:
        found = hgn.sample([term], ONE, key=0)
        columns = found[0](ONE).shape[-1]
        basis = hgn.Basis(found)
        model = hgn.HamiltonianGraphNetwork(
            basis, (jnp.ones(columns),), jnp.zeros(basis.constant_count)
        )
    else:
        model = model_of(ONE, [term], [theta])
    with pytest.raises(ValueError, match="dq/dt that depends on momenta alone"):
        hgn.rollout(model, ONE, [0.0, 1.0], dt=0.1, integrator=STRANG)


def test_integrators_for_separable_models_point_to_this_one():
    model = model_of(ONE, [hgn.Friction(0)], [[1.0]])
    with pytest.raises(ValueError, match=r"integrator=hgn\.Strang"):
        hgn.rollout(model, ONE, [0.0, 1.0], dt=0.1)
