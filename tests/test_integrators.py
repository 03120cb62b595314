import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hgn_jax as hgn
from hgn_jax.integrators.gauss import AbstractGauss

Q0 = jnp.array([[0.8, -0.1], [-0.6, 0.3], [0.2, 0.9]])
P0 = jnp.array([[0.1, 0.2], [-0.3, 0.1], [0.2, -0.3]])
START = (Q0, P0)
MASS = jnp.array([1.0, 2.0, 0.5])[:, None]
OUTPUTS = 1000


def differences(x):
    """The differences of the three pairs."""
    return x - jnp.roll(x, 1, axis=0)


def pair_energy(q):
    return jnp.sum((jnp.sum(differences(q) ** 2, axis=1) - 1.0) ** 2) / 4


def velocity(p):
    return p / MASS.astype(p.dtype)


def energy(y):
    return jnp.sum(y[1] * velocity(y[1])) / 2 + pair_energy(y[0])


def mixed_energy(y):
    """Energy that does not separate, but is invariant under translation and rotation."""
    near, fast = (jnp.sum(differences(x) ** 2, axis=1) for x in y)
    return energy(y) + 0.2 * jnp.sum(fast / (1 + near))


def joint(hamiltonian):
    def rates(t, y, args):
        by_q, by_p = jax.grad(hamiltonian)(y)
        return by_p, -by_q

    return diffrax.ODETerm(rates)


def together(pairs):
    """The transpose of `differences`."""
    return pairs - jnp.roll(pairs, -1, axis=0)


def force(q):
    d = differences(q)
    return -together((jnp.sum(d**2, axis=1, keepdims=True) - 1) * d)


def mixed_rates(t, y, args):
    """Rates of `mixed_energy`, by hand: they compile faster."""
    d, e = (differences(x) for x in y)
    near = 1 + jnp.sum(d**2, axis=1, keepdims=True)
    pull = 0.4 * jnp.sum(e**2, axis=1, keepdims=True) * d / near**2
    return velocity(y[1]) + together(0.4 * e / near), force(y[0]) + together(pull)


SPLIT = (
    diffrax.ODETerm(lambda t, p, args: velocity(p)),
    diffrax.ODETerm(lambda t, q, args: force(q)),
)
ENERGY = diffrax.ODETerm(lambda t, y, args: (velocity(y[1]), force(y[0])))
MIXED = diffrax.ODETerm(mixed_rates)
CASES = {
    "StormerVerlet": (hgn.StormerVerlet(), SPLIT, energy),
    "Yoshida4": (hgn.Yoshida4(), SPLIT, energy),
    "KahanLi8": (hgn.KahanLi8(), SPLIT, energy),
    "ImplicitMidpoint": (hgn.ImplicitMidpoint(), MIXED, mixed_energy),
    "GaussLegendre4": (hgn.GaussLegendre4(), MIXED, mixed_energy),
    "Tao": (hgn.Tao(), MIXED, mixed_energy),
}
ORDERS = {
    "StormerVerlet": 2,
    "Yoshida4": 4,
    "KahanLi8": 8,
    "ImplicitMidpoint": 2,
    "GaussLegendre4": 4,
    "Tao": 2,
}
each = pytest.mark.parametrize("name", CASES)


def carried(solver, terms, z):
    """State and what the solver carries at z: (q, p), or with Tao's second copy (q, p, x, y)."""
    y = (z[0], z[1])
    if isinstance(solver, hgn.Tao) and len(z) == 4:
        return y, ((z[2], z[3]), terms.vf(0.0, (z[0], z[3]), None))
    return y, solver.init(terms, 0.0, 1.0, y, None)


def whole(solver, y, carry):
    return (*y, *carry[0]) if isinstance(solver, hgn.Tao) else y


def advance(solver, terms, z, h):
    y, carry = carried(solver, terms, z)
    y, _, _, carry, _ = solver.step(terms, 0.0, h, y, None, carry, False)
    return whole(solver, y, carry)


@eqx.filter_jit
def path(solver, terms, y0, h, every):
    """1000 states, `every` steps of length h between two, and whether all steps were solved."""

    def step(_, now):
        y, carry, good = now
        y, _, _, carry, result = solver.step(terms, 0.0 * h, h, y, None, carry, False)
        return y, carry, good & (result == diffrax.RESULTS.successful)

    def output(now, _):
        now = jax.lax.fori_loop(0, every, step, now)
        return now, whole(solver, now[0], now[1])

    start = (*carried(solver, terms, y0), jnp.array(True))
    (_, _, good), zs = jax.lax.scan(output, start, None, length=OUTPUTS)
    return zs, good


def walk_from(y0, name, h, every=1):
    solver, terms, _ = CASES[name]
    zs, good = path(solver, terms, y0, jnp.asarray(h), jnp.asarray(every))
    assert good
    return tuple(np.asarray(z) for z in zs)


@functools.cache
def walk(name, h, every=1):
    return walk_from(START, name, h, every)


@eqx.filter_jit
def step_each(solver, terms, zs, hs):
    return jax.vmap(lambda z, h: advance(solver, terms, z, h))(zs, hs)


def around(name):
    """Three states near the start; with Tao's second copy, near but not equal."""
    rng = np.random.default_rng(0)
    at = (2 if name == "Tao" else 1) * START
    return tuple(jnp.asarray(np.asarray(x) + 0.02 * rng.normal(size=(3, 3, 2))) for x in at)


def distance(a, b):
    return float(np.sqrt(sum(np.sum((np.asarray(x) - np.asarray(y)) ** 2) for x, y in zip(a, b))))


def reference(hamiltonian, time):
    """SciPy's Dormand and Prince, order 8."""
    gradient = jax.jit(jax.grad(lambda z: hamiltonian((z[:6].reshape(3, 2), z[6:].reshape(3, 2)))))

    def rates(t, z):
        by = np.asarray(gradient(z))
        return np.concatenate([by[6:], -by[:6]])

    start = np.concatenate([np.ravel(x) for x in START])
    end = solve_ivp(rates, (0, time), start, "DOP853", rtol=3e-14, atol=1e-15).y[:, -1]
    return end[:6].reshape(3, 2), end[6:].reshape(3, 2)


@pytest.fixture(scope="module")
def truth():
    return {h: reference(h, 1.0) for h in (energy, mixed_energy)}


@pytest.mark.parametrize("terms, hamiltonian", [(ENERGY, energy), (MIXED, mixed_energy)])
def test_rates_are_those_of_the_energies(terms, hamiltonian):
    ours, theirs = (jax.jit(x.vf)(0.0, START, None) for x in (terms, joint(hamiltonian)))
    assert distance(ours, theirs) < 1e-14


STEPS = {2: (50, 71, 100, 141, 200, 283, 400, 566, 800), 4: (24, 32, 48, 64, 96), 8: (5, 7, 10, 14)}


def slope(steps, errors):
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


@each
def test_order(name, truth):
    order, errors = ORDERS[name], []
    for n in STEPS[ORDERS[name]]:
        q, p, *_ = walk(name, 1.0 / n)
        errors.append(distance((q[n - 1], p[n - 1]), truth[CASES[name][2]]))
    np.testing.assert_allclose(slope(STEPS[order], errors), order, atol=0.2 if order == 8 else 0.1)
    assert CASES[name][0].order(CASES[name][1]) == order


@each
def test_step_is_symplectic(name):
    """J^T Omega J = Omega; for Tao in the space of both copies."""
    solver, terms, _ = CASES[name]
    z = np.stack([np.asarray(x)[0] for x in around(name)])

    @jax.jit
    def push(z, way):
        return jax.jvp(lambda z: jnp.stack(advance(solver, terms, tuple(z), 0.1)), (z,), (way,))[1]

    basis = np.eye(z.size).reshape(-1, *z.shape)
    columns = [np.ravel(push(jnp.asarray(z), jnp.asarray(way))) for way in basis]
    jacobian = np.stack(columns, axis=1)
    omega = np.kron(np.eye(len(z) // 2), np.kron([[0, 1], [-1, 0]], np.eye(6)))
    np.testing.assert_allclose(jacobian.T @ omega @ jacobian, omega, atol=1e-12)
    assert abs(np.linalg.det(jacobian) - 1) < 1e-12

    way = np.random.default_rng(0).normal(size=z.shape)
    starts = np.stack([z + 1e-5 * way, z - 1e-5 * way, z], axis=1)
    ends = step_each(solver, terms, tuple(map(jnp.asarray, starts)), jnp.asarray(np.full(3, 0.1)))
    slope = (np.stack(ends)[:, 0] - np.stack(ends)[:, 1]) / 2e-5
    np.testing.assert_allclose(jacobian @ way.ravel(), slope.ravel(), atol=1e-8)


@each
def test_step_back_returns_to_the_start(name):
    solver, terms, _ = CASES[name]
    start, h = around(name), jnp.array([0.1, -0.1, 0.05])
    there = step_each(solver, terms, start, h)
    assert distance(there, start) > 0.01
    assert distance(step_each(solver, terms, there, -h), start) < 1e-13


@each
def test_vmap_is_a_loop(name):
    solver, terms, _ = CASES[name]
    (q, p, *_), h = (np.asarray(around(name)), [0.1, -0.05, 0.02])
    starts = (q, p, q, p) if name == "Tao" else (q, p)
    together = step_each(solver, terms, tuple(map(jnp.asarray, starts)), jnp.array(h))
    for i in range(3):
        alone = walk_from((jnp.asarray(q[i]), jnp.asarray(p[i])), name, h[i])
        assert distance([np.asarray(x)[i] for x in together], [x[0] for x in alone]) < 1e-13


@each
def test_flipping_momenta_retraces_the_path(name):
    zs = walk(name, 0.02)
    back = tuple(s * x[399] for s, x in zip((1, -1, 1, -1), zs))
    if name == "Tao":
        # A path starts with equal copies, which agree to h^2 only.
        q, p, *_ = walk_from(tuple(map(jnp.asarray, back[:2])), name, 0.02)
        assert distance((q[399], -p[399]), START) < 0.02
    else:
        q, p = walk_from(tuple(map(jnp.asarray, back)), name, 0.02)
        assert distance((q[399], -p[399]), START) < 1e-10


def total(zs, product):
    """Sum over all bodies, and over both of Tao's copies."""
    return sum(product(q, p).sum(axis=1) for q, p in zip(zs[::2], zs[1::2]))


@each
def test_linear_and_angular_momentum_are_exact(name):
    zs = walk(name, 0.05)
    at_start = (len(zs) // 2) * START
    for product in (lambda q, p: p, lambda q, p: q[..., 0] * p[..., 1] - q[..., 1] * p[..., 0]):
        first = total([np.asarray(x)[None] for x in at_start], product)
        np.testing.assert_allclose(total(zs, product) - first, 0, atol=2e-12)


energies = jax.jit(
    lambda hamiltonian, ys: jax.vmap(hamiltonian)(ys) - hamiltonian(START), static_argnums=0
)


def mean_energy_error(hamiltonian, ys):
    """Mean energy error in each quarter of a trajectory."""
    error = np.abs(energies(hamiltonian, tuple(map(jnp.asarray, ys[:2]))))
    return error.reshape(4, -1).mean(axis=1)


@pytest.fixture(scope="module")
def runge_kutta():
    """Paths of diffrax's second- and fifth-order methods, which are not symplectic."""

    def run(hamiltonian, order, h, every):
        solver = {2: diffrax.Heun(), 5: diffrax.Tsit5()}[order]
        terms = {energy: ENERGY, mixed_energy: MIXED}[hamiltonian]
        return path(solver, terms, START, jnp.asarray(h), jnp.asarray(every))[0]

    return run


@each
def test_agrees_with_diffrax(name, runge_kutta):
    theirs = runge_kutta(CASES[name][2], 5, 0.005, 1)
    ours = walk(name, 0.005)
    far = {2: 1e-2, 4: 1e-6, 8: 1e-9}[ORDERS[name]]
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=0, atol=far)


@each
def test_energy_does_not_drift_as_that_of_runge_kutta(name, runge_kutta):
    """10,000 steps; Tsit5 has six stages, Heun two."""
    hamiltonian = CASES[name][2]
    h, rival = (0.025, 2) if ORDERS[name] == 2 else (0.2, 5)
    ours = mean_energy_error(hamiltonian, walk(name, h, 10))
    theirs = mean_energy_error(hamiltonian, runge_kutta(hamiltonian, rival, h, 10))
    assert ours.max() < 1.8 * ours.min()
    assert theirs[-1] > 3 * theirs[0]
    assert theirs[-1] > 10 * ours[-1]


@each
def test_energy_error_falls_with_the_step_to_the_order(name):
    h = {2: 0.05, 4: 0.1, 8: 0.2}[ORDERS[name]]
    coarse, fine = (mean_energy_error(CASES[name][2], walk(name, x, 10)).mean() for x in (h, h / 2))
    np.testing.assert_allclose(np.log2(coarse / fine), ORDERS[name], atol=0.4)


def test_energy_error_falls_with_the_order():
    errors = {n: mean_energy_error(CASES[n][2], walk(n, 0.05, 10)).max() for n in CASES}
    assert errors["StormerVerlet"] > 20 * errors["Yoshida4"] > 1000 * errors["KahanLi8"]
    assert errors["ImplicitMidpoint"] > 100 * errors["GaussLegendre4"]


def test_copies_of_tao_stay_together():
    distances = []
    for h in (0.05, 0.025):
        q, p, x, y = walk("Tao", h, 10)
        far = np.sqrt(np.sum((q - x) ** 2 + (p - y) ** 2, axis=(1, 2))).reshape(4, -1).mean(axis=1)
        assert far.max() < 1.3 * far.min()
        distances.append(far.mean())
    np.testing.assert_allclose(np.log2(distances[0] / distances[1]), 2, atol=0.3)


def swing_rates(t, y, stiffness):
    """One body whose mass and spring change with time."""
    q, p = y
    return p / (1 + 0.3 * jnp.cos(2 * t)), -(1 + 0.5 * jnp.sin(t)) * stiffness * q - q**3


SWING = diffrax.ODETerm(swing_rates)
SWING_SPLIT = (
    diffrax.ODETerm(lambda t, p, k: swing_rates(t, (p, p), k)[0]),
    diffrax.ODETerm(lambda t, q, k: swing_rates(t, (q, q), k)[1]),
)


def swing_terms(name):
    return SWING_SPLIT if isinstance(CASES[name][1], tuple) else SWING


HANGING = (jnp.array([[1.0]]), jnp.array([[0.3]]))


@pytest.fixture(scope="module")
def swung():
    """HANGING after two units of time."""

    def rates(t, z):
        return [z[1] / (1 + 0.3 * np.cos(2 * t)), -(1 + 0.5 * np.sin(t)) * 1.3 * z[0] - z[0] ** 3]

    end = solve_ivp(rates, (0, 2), [1.0, 0.3], "DOP853", rtol=3e-14, atol=1e-15).y[:, -1]
    return tuple(jnp.reshape(x, (1, 1)) for x in end)


@eqx.filter_jit
def diffeqsolve(solver, terms, y0, t0, t1, dt):
    return diffrax.diffeqsolve(
        terms,
        solver,
        t0=t0,
        t1=t1,
        dt0=dt,
        y0=y0,
        args=jnp.array(1.3),
        max_steps=512,
        adjoint=diffrax.ForwardMode(),
    ).ys


@each
def test_order_with_time_in_the_hamiltonian_there_and_back(name, swung):
    """In `diffrax.diffeqsolve`, forward and backward in time."""
    solver, terms, order = CASES[name][0], swing_terms(name), ORDERS[name]
    steps = {2: np.geomspace(30, 480, 9).astype(int), 4: (32, 48, 64, 96), 8: (8, 12, 16)}[order]
    for start, end, t0, t1 in ((HANGING, swung, 0.0, 2.0), (swung, HANGING, 2.0, 0.0)):
        errors = []
        for n in steps:
            times = (jnp.asarray(t) for t in (t0, t1, (t1 - t0) / n))
            q, p = diffeqsolve(solver, terms, start, *times)
            errors.append(distance((q[-1], p[-1]), end))
        np.testing.assert_allclose(slope(steps, errors), order, atol=0.2)


@each
def test_gradients_through_steps_are_finite_differences(name):
    solver, terms = CASES[name][0], swing_terms(name)

    def outcome(inputs):
        y0, stiffness, h = inputs

        def step(now, t):
            y, carry = now
            y, _, _, carry, _ = solver.step(terms, t, t + h, y, stiffness, carry, False)
            return (y, carry), None

        start = (y0, solver.init(terms, 0.0, h, y0, stiffness))
        ((q, p), _), _ = jax.lax.scan(step, start, h * jnp.arange(3.0))
        return jnp.sum(q) + 0.7 * jnp.sum(p)

    leaves, tree = jax.tree.flatten((HANGING, np.float64(1.3), np.float64(0.2)))
    leaves = [jnp.asarray(np.asarray(x)) for x in leaves]
    run = jax.jit(jax.value_and_grad(outcome))
    assert len(leaves) == 4
    for i, gradient in enumerate(jax.tree.leaves(run(tree.unflatten(leaves))[1])):
        around = [leaves.copy(), leaves.copy()]
        for moved, e in zip(around, (1e-5, -1e-5)):
            moved[i] = jnp.asarray(np.asarray(leaves[i]) + e)
        up, down = (float(run(tree.unflatten(moved))[0]) for moved in around)
        np.testing.assert_allclose(np.sum(gradient), (up - down) / 2e-5, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name, evaluations", [("StormerVerlet", 1), ("Yoshida4", 3), ("Tao", 3)])
def test_evaluations_in_a_step(name, evaluations):
    count = []

    def rates(t, y, args):
        count.append(t)
        return jax.tree.map(lambda x: -x, y)

    terms = diffrax.ODETerm(rates)
    if name != "Tao":
        terms = (diffrax.ODETerm(lambda t, p, args: p), terms)
    with jax.disable_jit():
        solver = CASES[name][0]
        carry = solver.init(terms, 0.0, 0.1, START, None)
        count.clear()
        solver.step(terms, 0.0, 0.1, START, None, carry, False)
    assert len(count) == evaluations


@pytest.mark.parametrize("name, powers", [("Yoshida4", [3]), ("KahanLi8", [3, 5, 7])])
def test_coefficients_of_compositions(name, powers):
    stages = np.array(CASES[name][0].stages)
    assert len(stages) == {"Yoshida4": 3, "KahanLi8": 17}[name]
    np.testing.assert_array_equal(stages, stages[::-1])
    np.testing.assert_allclose(stages.sum(), 1, rtol=0, atol=1e-15)
    for power in powers:
        np.testing.assert_allclose(np.sum(stages**power), 0, atol=2e-15)


@pytest.mark.parametrize("name", ["ImplicitMidpoint", "GaussLegendre4"])
def test_coefficients_of_gauss(name):
    """Exact for polynomials up to 2 s - 1, collocation, and the condition of symplecticity."""
    solver = CASES[name][0]
    a, b, c = (np.array(x) for x in (solver.a, solver.b, solver.c))
    for k in range(1, 2 * len(b) + 1):
        np.testing.assert_allclose(b @ c ** (k - 1), 1 / k, rtol=1e-15)
    for k in range(1, len(b) + 1):
        np.testing.assert_allclose(a @ c ** (k - 1), c**k / k, rtol=1e-14)
    weighted = b[:, None] * a
    np.testing.assert_allclose(weighted + weighted.T, np.outer(b, b), rtol=1e-15)


def test_stages_do_not_round_when_it_is_late():
    """At t = 2^23, float32 holds whole numbers only."""
    solver, y0 = hgn.KahanLi8(), jax.tree.map(lambda x: x.astype(jnp.float32), START)
    terms = (
        diffrax.ODETerm(lambda t, p, args: p / 10),
        diffrax.ODETerm(lambda t, q, args: -q / 10),
    )
    early, late = (
        solver.step(terms, t, t + 1, y0, None, solver.init(terms, t, t + 1, y0, None), False)[0]
        for t in np.array([0, 2**23], np.float32)
    )
    jax.tree.map(np.testing.assert_array_equal, early, late)


def test_verlet_is_the_hand_written_one():
    h, q, p = 0.05, np.asarray(Q0), np.asarray(P0)
    gradient = jax.jit(jax.grad(pair_energy))
    qs, ps = walk("StormerVerlet", h)
    for i in range(100):
        p = p - h / 2 * np.asarray(gradient(q))
        q = q + h * p / np.asarray(MASS)
        p = p - h / 2 * np.asarray(gradient(q))
        np.testing.assert_allclose((qs[i], ps[i]), (q, p), rtol=0, atol=1e-13)


def test_tao_is_the_hand_written_one():
    h, angle = 0.05, hgn.Tao().angle
    rates = jax.jit(lambda q, p: MIXED.vf(0.0, (q, p), None))
    q, p = x, y = np.asarray(Q0), np.asarray(P0)
    cos, sin = np.cos(angle) * np.eye(3), np.sin(angle) * np.eye(3)
    zs = walk("Tao", h)
    for i in range(50):
        for move in "ABWBA":
            if move == "A":
                x, p = (z + h / 2 * np.asarray(r) for z, r in zip((x, p), rates(q, y)))
            elif move == "B":
                q, y = (z + h / 2 * np.asarray(r) for z, r in zip((q, y), rates(x, p)))
            else:
                difference = np.block([[cos, sin], [-sin, cos]]) @ np.concatenate([q - x, p - y])
                both = np.concatenate([q + x, p + y])
                (q, p), (x, y) = (
                    np.split((both + difference) / 2, 2),
                    np.split((both - difference) / 2, 2),
                )
        np.testing.assert_allclose([z[i] for z in zs], (q, p, x, y), rtol=0, atol=1e-13)


ONE = (jnp.array([[1.0]]), jnp.array([[0.0]]))
FREQUENCY, STEP = 2.0, 0.1
SPRING = (
    diffrax.ODETerm(lambda t, p, args: p),
    diffrax.ODETerm(lambda t, q, args: -(FREQUENCY**2) * q),
)
SPRING_JOINT = diffrax.ODETerm(lambda t, y, args: (y[1], -(FREQUENCY**2) * y[0]))


def oscillate(solver, dtype=np.float64):
    terms = SPRING if isinstance(solver.term_structure, tuple) else SPRING_JOINT
    start = tuple(jnp.asarray(np.asarray(x, dtype)) for x in ONE)
    zs, _ = path(solver, terms, start, jnp.asarray(dtype(STEP)), jnp.asarray(1))
    return tuple(np.asarray(z)[:, 0, 0] for z in zs)


@each
def test_float32_stays_float32_and_agrees_with_float64_to_its_rounding(name):
    solver = CASES[name][0]
    rough, exact = oscillate(solver, np.float32), oscillate(solver)
    assert {x.dtype for x in rough} == {np.dtype(np.float32)}
    for a, b in zip(rough, exact):
        # Gauss solves each step to 1.2e-5 only.
        soon = 5e-5 if isinstance(solver, AbstractGauss) else 5e-6
        np.testing.assert_allclose(a[:10], b[:10], rtol=0, atol=soon)
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-3)


def test_verlet_oscillates_with_the_known_frequency_and_amplitude():
    """Verlet's oscillator: cos(phi) = 1 - (h omega)^2 / 2; started at rest it stays on
    q = cos(n phi), p = -omega sqrt(1 - (h omega)^2 / 4) sin(n phi)."""
    turn, n = STEP * FREQUENCY, np.arange(1, OUTPUTS + 1)
    q, p = oscillate(hgn.StormerVerlet())
    phi, amplitude = np.arccos(1 - turn**2 / 2), FREQUENCY * np.sqrt(1 - turn**2 / 4)
    np.testing.assert_allclose(q, np.cos(n * phi), atol=1e-11)
    np.testing.assert_allclose(p, -amplitude * np.sin(n * phi), atol=1e-11)
    modified = p**2 / (1 - turn**2 / 4) + (FREQUENCY * q) ** 2
    np.testing.assert_allclose(modified, FREQUENCY**2, rtol=1e-12)


@pytest.mark.parametrize("name", ["Yoshida4", "KahanLi8"])
def test_compositions_of_an_oscillator_are_products_of_matrices(name):
    solver, product = CASES[name][0], np.eye(2)
    for gamma in solver.stages:
        kick = np.array([[1, 0], [-gamma * STEP * FREQUENCY**2 / 2, 1]])
        product = kick @ np.array([[1, gamma * STEP], [0, 1]]) @ kick @ product
    states = [np.array([1.0, 0.0])]
    for _ in range(OUTPUTS):
        states.append(product @ states[-1])
    np.testing.assert_allclose(np.transpose(list(oscillate(solver))), states[1:], atol=1e-11)


@pytest.mark.parametrize("name", ["ImplicitMidpoint", "GaussLegendre4"])
def test_gauss_oscillates_with_the_known_frequency(name):
    """tan(phi / 2) = x / (1 - x^2 / 3) with x = h omega / 2 for two stages, x for one; the energy
    is exact."""
    x, n = STEP * FREQUENCY / 2, np.arange(1, OUTPUTS + 1)
    q, p = oscillate(CASES[name][0])
    phi = 2 * np.arctan(x if name == "ImplicitMidpoint" else x / (1 - x**2 / 3))
    np.testing.assert_allclose(q, np.cos(n * phi), atol=1e-11)
    np.testing.assert_allclose(p**2 + (FREQUENCY * q) ** 2, FREQUENCY**2, rtol=1e-12)


@pytest.mark.parametrize("name", ["ImplicitMidpoint", "GaussLegendre4"])
def test_gauss_conserves_quadratic_invariants_of_a_hamiltonian_that_does_not_separate(name):
    """The flow of H = (q.q)(p.p) / 2 conserves q.p and every q_i p_j - q_j p_i."""
    terms = joint(lambda y: jnp.sum(y[0] ** 2) * jnp.sum(y[1] ** 2) / 2)
    zs, _ = path(CASES[name][0], terms, START, jnp.asarray(0.02), jnp.asarray(1))
    q, p, q0, p0 = (np.asarray(x).reshape(-1, 6) for x in (*zs, *START))
    turn = np.einsum("ti,tj->tij", q, p) - np.einsum("ti,tj->tji", q, p)
    start = np.outer(q0, p0) - np.outer(p0, q0)
    np.testing.assert_allclose(turn, np.broadcast_to(start, turn.shape), rtol=0, atol=1e-11)
    np.testing.assert_allclose(np.sum(q * p, axis=1), np.sum(q0 * p0), rtol=0, atol=1e-11)
    assert np.ptp(q, axis=0).max() > 0.1


def magnetic(y):
    """A charged body in a uniform field of strength 2 across the plane."""
    q, p = y
    x, y = q[0]
    return jnp.sum((p[0] - jnp.stack([-y, x])) ** 2) / 2


@pytest.mark.parametrize("name", ["ImplicitMidpoint", "GaussLegendre4", "Tao"])
def test_charged_body_circles_in_a_magnetic_field(name):
    zs, _ = path(CASES[name][0], joint(magnetic), ONE_CHARGE, jnp.asarray(0.01), jnp.asarray(1))
    position = np.asarray(zs[0])[:, 0] @ [1, 1j]
    start, velocity = 0.5 - 0.2j, 1.0 + 0.3j
    circle = start + velocity * (np.exp(-2j * 0.01 * np.arange(1, OUTPUTS + 1)) - 1) / -2j
    far = np.abs(position - circle).max()
    assert far < {2: 3e-3, 4: 1e-7}[ORDERS[name]]


ONE_CHARGE = (jnp.array([[0.5, -0.2]]), jnp.array([[1.0 + 0.2, 0.3 + 0.5]]))


def product(y):
    """Tao's example."""
    return jnp.sum((y[0] ** 2 + 1) * (y[1] ** 2 + 1)) / 2


def test_tao_is_bound_by_its_angle():
    """With no angle or a small one, the copies separate; 20,000 steps of the paper's example."""
    errors = {}
    start = (jnp.array([[-3.0]]), jnp.array([[0.0]]))
    for angle in (0.0, hgn.Tao().angle):
        zs, _ = path(hgn.Tao(angle), joint(product), start, jnp.asarray(0.02), jnp.asarray(20))
        q, p = (np.asarray(z) for z in zs[:2])
        errors[angle] = np.abs((q**2 + 1) * (p**2 + 1) / 2 - 5).max()
    assert errors[hgn.Tao().angle] < 0.02 and errors[0.0] > 1


GAUSS = pytest.mark.parametrize("solver", [hgn.ImplicitMidpoint, hgn.GaussLegendre4])


@eqx.filter_jit
def swing_step(solver, y0, h):
    y1, *_, result = solver.step(SWING, 0.0 * h, h, y0, jnp.array(1.3), None, False)
    return y1, result == diffrax.RESULTS.successful


@GAUSS
def test_gauss_solves_its_equation_to_the_tolerance(solver):
    """Compared with a step solved to rounding."""
    rough, good = swing_step(solver(tolerance=1e-6), HANGING, jnp.array(0.1))
    exact, also = swing_step(solver(), HANGING, jnp.array(0.1))
    assert good and also
    assert 0 < distance(rough, exact) < 1e-5


@GAUSS
def test_gauss_reports_a_step_that_is_too_long(solver):
    assert not swing_step(solver(), HANGING, jnp.array(50.0))[1]
    assert swing_step(solver(), HANGING, jnp.array(0.01))[1]


@GAUSS
def test_gauss_starts_at_zero(solver):
    """A state of zeros gives no scale; a body at rest stays at rest."""
    (q, p), good = swing_step(solver(), jax.tree.map(jnp.zeros_like, HANGING), jnp.array(0.1))
    assert good and q == 0 and p == 0


def test_midpoint_solves_its_equation():
    q, p = (x[0] for x in walk("ImplicitMidpoint", 0.1))
    start = [np.asarray(x) for x in START]
    middle = tuple(jnp.asarray((a + b) / 2) for a, b in zip(start, (q, p)))
    rates = jax.jit(MIXED.vf)(0.0, middle, None)
    assert distance([a + 0.1 * np.asarray(r) for a, r in zip(start, rates)], (q, p)) < 1e-13


def test_diffeqsolve_raises_at_a_step_that_is_too_long(swung):
    times = (jnp.asarray(t) for t in (2.0, 0.0, -0.5))
    with pytest.raises(eqx.EquinoxRuntimeError, match="maximum number of steps"):
        diffeqsolve(hgn.ImplicitMidpoint(), SWING, swung, *times)
