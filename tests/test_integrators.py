import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn

Q0 = jnp.array([[0.8, -0.1], [-0.6, 0.3], [0.2, 0.9]])
P0 = jnp.array([[0.1, 0.2], [-0.3, 0.1], [0.2, -0.3]])
MASS = jnp.array([1.0, 2.0, 0.5])[:, None]


def pair_energy(q):
    return sum(jnp.sum((q[i] - q[j]) ** 2 - 1.0) ** 2 / 4 for i, j in ((0, 1), (1, 2), (0, 2)))


def velocity(p):
    return p / MASS.astype(p.dtype)


force = jax.grad(lambda q: -pair_energy(q))


def energy(y):
    return jnp.sum(y[1] * velocity(y[1])) / 2 + pair_energy(y[0])


def mixed_energy(y):
    """Does not separate: the mass depends on the position."""
    q, p = y
    return jnp.sum(p**2 / (1 + q**2)) / 2 + jnp.sum(q**2) / 2 + jnp.sum(q[0] * q[1])


def joint(hamiltonian):
    def rates(t, y, args):
        by_q, by_p = jax.grad(hamiltonian)(y)
        return by_p, -by_q

    return diffrax.ODETerm(rates)


SPLIT = (
    diffrax.ODETerm(lambda t, p, args: velocity(p)),
    diffrax.ODETerm(lambda t, q, args: force(q)),
)
CASES = {
    "StormerVerlet": (hgn.StormerVerlet(), SPLIT, energy),
    "ImplicitMidpoint": (hgn.ImplicitMidpoint(), joint(energy), energy),
    "ImplicitMidpoint, not separable": (
        hgn.ImplicitMidpoint(),
        joint(mixed_energy),
        mixed_energy,
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


@eqx.filter_jit
def solve(solver, terms, y0, h, steps):
    """The state after each of `steps` steps of length h."""
    solution = diffrax.diffeqsolve(
        terms,
        solver,
        t0=0.0,
        t1=h * steps,
        dt0=None,
        y0=y0,
        saveat=diffrax.SaveAt(steps=True),
        stepsize_controller=diffrax.StepTo(ts=h * np.arange(steps + 1)),
        max_steps=steps,
    )
    return solution.ys


@eqx.filter_jit
def one_step(solver, terms, y, h):
    state = solver.init(terms, 0.0, h, y, None)
    return solver.step(terms, 0.0, h, y, None, state, False)[0]


def last(ys):
    return jax.tree.map(lambda y: y[-1], ys)


def distance(a, b):
    return float(jnp.sqrt(sum(jnp.sum((x - y) ** 2) for x, y in zip(a, b))))


def reference(hamiltonian, time):
    solution = diffrax.diffeqsolve(
        joint(hamiltonian),
        diffrax.Dopri8(),
        t0=0.0,
        t1=time,
        dt0=0.01,
        y0=(Q0, P0),
        stepsize_controller=diffrax.PIDController(rtol=1e-13, atol=1e-13),
        max_steps=10_000,
    )
    return last(solution.ys)


def test_order_is_two(case):
    solver, terms, hamiltonian = case
    truth = reference(hamiltonian, 1.0)
    errors = [
        distance(last(solve(solver, terms, (Q0, P0), 1.0 / n, n)), truth) for n in (100, 200, 400)
    ]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2, atol=0.05)
    assert solver.order(terms) == 2


def test_step_is_symplectic(case):
    solver, terms, _ = case

    def flat(x):
        q, p = one_step(solver, terms, (x[:6].reshape(3, 2), x[6:].reshape(3, 2)), 0.1)
        return jnp.concatenate([q.ravel(), p.ravel()])

    jacobian = jax.jit(jax.jacfwd(flat))(jnp.concatenate([Q0.ravel(), P0.ravel()]))
    omega = np.block([[np.zeros((6, 6)), np.eye(6)], [-np.eye(6), np.zeros((6, 6))]])
    assert abs(np.linalg.det(jacobian) - 1) < 1e-12
    np.testing.assert_allclose(jacobian.T @ omega @ jacobian, omega, atol=1e-12)


def test_step_back_returns_to_the_start(case):
    solver, terms, _ = case
    there = one_step(solver, terms, (Q0, P0), 0.1)
    assert distance(one_step(solver, terms, there, -0.1), (Q0, P0)) < 1e-14
    assert distance(there, (Q0, P0)) > 0.01


def test_flipping_momenta_retraces_the_path(case):
    solver, terms, _ = case
    q, p = last(solve(solver, terms, (Q0, P0), 0.05, 200))
    q, p = last(solve(solver, terms, (q, -p), 0.05, 200))
    assert distance((q, -p), (Q0, P0)) < 1e-10


def test_verlet_is_the_hand_written_one():
    h, q, p = 0.05, np.asarray(Q0), np.asarray(P0)
    gradient = jax.jit(force)
    path = []
    for _ in range(100):
        p = p + h / 2 * np.asarray(gradient(q))
        q = q + h * p / np.asarray(MASS)
        p = p + h / 2 * np.asarray(gradient(q))
        path.append((q, p))
    qs, ps = solve(hgn.StormerVerlet(), SPLIT, (Q0, P0), 0.05, 100)
    np.testing.assert_allclose(qs, [q for q, _ in path], rtol=0, atol=1e-13)
    np.testing.assert_allclose(ps, [p for _, p in path], rtol=0, atol=1e-13)


def oscillator(omega):
    return (
        diffrax.ODETerm(lambda t, p, args: p),
        diffrax.ODETerm(lambda t, q, args: -(omega**2) * q),
    )


ONE = (jnp.array([[1.0]]), jnp.array([[0.0]]))


def test_verlet_oscillates_with_the_known_frequency_and_amplitude():
    """Verlet's oscillator: cos(phi) = 1 - (h omega)^2 / 2; started at rest it stays on
    q = cos(n phi), p = -omega sqrt(1 - (h omega)^2 / 4) sin(n phi)."""
    omega, h, n = 2.0, 0.1, np.arange(1, 1001)
    qs, ps = solve(hgn.StormerVerlet(), oscillator(omega), ONE, h, 1000)
    phi = np.arccos(1 - (h * omega) ** 2 / 2)
    np.testing.assert_allclose(qs[:, 0, 0], np.cos(n * phi), atol=1e-11)
    amplitude = omega * np.sqrt(1 - (h * omega) ** 2 / 4)
    np.testing.assert_allclose(ps[:, 0, 0], -amplitude * np.sin(n * phi), atol=1e-11)


def test_verlet_conserves_the_modified_energy_of_an_oscillator():
    omega, h = 2.0, 0.1
    q, p = solve(hgn.StormerVerlet(), oscillator(omega), ONE, h, 1000)
    modified = p**2 / (1 - (h * omega) ** 2 / 4) + (omega * q) ** 2
    np.testing.assert_allclose(modified, omega**2, rtol=1e-12)


def test_midpoint_oscillates_with_the_known_frequency():
    """tan(phi / 2) = h omega / 2, and the energy is exact."""
    omega, h, n = 2.0, 0.1, np.arange(1, 1001)
    terms = diffrax.ODETerm(lambda t, y, args: (y[1], -(omega**2) * y[0]))
    q, p = solve(hgn.ImplicitMidpoint(), terms, ONE, h, 1000)
    phi = 2 * np.arctan(h * omega / 2)
    np.testing.assert_allclose(q[:, 0, 0], np.cos(n * phi), atol=1e-11)
    np.testing.assert_allclose(p**2 + (omega * q) ** 2, omega**2, rtol=1e-12)


@pytest.mark.parametrize("name", ["StormerVerlet", "ImplicitMidpoint"])
def test_energy_error_stays_bounded_and_does_not_drift(name):
    solver, terms, hamiltonian = CASES[name]
    ys = solve(solver, terms, (Q0, P0), 0.05, 20_000)
    error = np.asarray(jax.jit(jax.vmap(hamiltonian))(ys) - hamiltonian((Q0, P0)))
    quarters = error.reshape(4, -1)
    amplitudes = np.abs(quarters).max(axis=1)
    assert amplitudes.max() < 1.5 * amplitudes.min()
    assert np.ptp(quarters.mean(axis=1)) < 0.05 * amplitudes.max()
    halved = solve(solver, terms, (Q0, P0), 0.025, 20_000)
    smaller = jnp.abs(jax.vmap(hamiltonian)(halved) - hamiltonian((Q0, P0))).max()
    np.testing.assert_allclose(amplitudes.max() / smaller, 4, rtol=0.2)


@pytest.mark.parametrize("name", ["StormerVerlet", "ImplicitMidpoint"])
def test_linear_and_angular_momentum_are_exact(name):
    solver, terms, _ = CASES[name]
    q, p = solve(solver, terms, (Q0, P0), 0.05, 1000)
    spin = np.sum(q[..., 0] * p[..., 1] - q[..., 1] * p[..., 0], axis=1)
    at_start = float(jnp.sum(Q0[:, 0] * P0[:, 1] - Q0[:, 1] * P0[:, 0]))
    np.testing.assert_allclose(spin, at_start, rtol=0, atol=1e-11)
    np.testing.assert_allclose(p.sum(axis=1), np.tile(P0.sum(axis=0), (1000, 1)), atol=1e-12)


def test_midpoint_conserves_quadratic_invariants_of_a_hamiltonian_that_does_not_separate():
    """The flow of H = (q.q)(p.p) / 2 conserves q.p and every q_i p_j - q_j p_i."""

    def hamiltonian(y):
        return jnp.sum(y[0] ** 2) * jnp.sum(y[1] ** 2) / 2

    q, p = solve(hgn.ImplicitMidpoint(), joint(hamiltonian), (Q0, P0), 0.02, 1000)
    q, p, q0, p0 = (np.asarray(x).reshape(-1, 6) for x in (q, p, Q0, P0))
    turn = np.einsum("ti,tj->tij", q, p) - np.einsum("ti,tj->tji", q, p)
    start = np.outer(q0, p0) - np.outer(p0, q0)
    np.testing.assert_allclose(turn, np.broadcast_to(start, turn.shape), rtol=0, atol=1e-11)
    np.testing.assert_allclose(np.sum(q * p, axis=1), np.sum(q0 * p0), rtol=0, atol=1e-11)
    assert np.ptp(q, axis=0).max() > 0.1


def test_midpoint_energy_does_not_drift_on_a_hamiltonian_that_does_not_separate():
    solver, terms, hamiltonian = CASES["ImplicitMidpoint, not separable"]
    ys = solve(solver, terms, (Q0, P0), 0.05, 5000)
    error = np.abs(jax.vmap(hamiltonian)(ys) - hamiltonian((Q0, P0)))
    assert error[-1000:].max() < 1.3 * error[:1000].max()
    assert 0 < error.max() < 1e-2


@pytest.mark.parametrize("tolerance", [1e-4, 1e-8])
def test_midpoint_solves_its_equation_to_the_tolerance(tolerance):
    terms = joint(energy)
    y0, h = (Q0, P0), 0.1
    rough = one_step(hgn.ImplicitMidpoint(tolerance=tolerance), terms, y0, h)
    middle = jax.tree.map(lambda a, b: (a + b) / 2, y0, rough)
    rates = terms.vf(0.0, middle, None)
    defect = jax.tree.map(lambda a, b, r: a + h * r - b, y0, rough, rates)
    assert distance(defect, jax.tree.map(jnp.zeros_like, defect)) < 10 * tolerance


def test_midpoint_reports_a_step_that_is_too_long():
    solver, terms, _ = CASES["ImplicitMidpoint"]
    *_, result = solver.step(terms, 0.0, 50.0, (Q0, P0), None, None, False)
    assert result != diffrax.RESULTS.successful
    *_, result = solver.step(terms, 0.0, 0.01, (Q0, P0), None, None, False)
    assert result == diffrax.RESULTS.successful
    with pytest.raises(eqx.EquinoxRuntimeError):
        diffrax.diffeqsolve(terms, solver, t0=0.0, t1=100.0, dt0=50.0, y0=(Q0, P0))


def test_float32_steps_agree_with_float64_to_its_rounding(case):
    solver, terms, _ = case
    single = jax.tree.map(lambda x: x.astype(jnp.float32), (Q0, P0))
    rough = one_step(solver, terms, single, np.float32(0.1))
    assert {x.dtype for x in rough} == {jnp.dtype(jnp.float32)}
    exact = one_step(solver, terms, (Q0, P0), 0.1)
    assert distance(jax.tree.map(lambda x: x.astype(jnp.float64), rough), exact) < 3e-6
