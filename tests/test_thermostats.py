"""Thermostats sample the canonical distribution, and resume to a bitwise identical result."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.dynamics import host_loop
from hgn_jax.dynamics.stepper import Motion
from hgn_jax.integrators.stormer_verlet import StormerVerlet

KT = 0.7
MASS = np.array([1.0, 1.0, 2.0, 0.5, 1.0])
STIFFNESS = 3.0
LINEAR = hgn.systems.mass_spring("spring", stiffness=STIFFNESS)
"""Springs of rest length zero: exactly harmonic."""
ATOMS = hgn.systems.lennard_jones(cutoff=2.0)
LIST = hgn.Neighbours(2.0, 0.4)


@pytest.fixture(scope="module")
def solid():
    """Three mobile bodies on a line between two fixed ones."""
    graph = hgn.graphs.chain(5, dimension=1, mass=jnp.asarray(MASS))
    return graph._replace(
        nodes=graph.nodes | {"fixed": jnp.array([True, False, False, False, True])}
    )


@pytest.fixture(scope="module")
def liquid():
    """27 atoms in a periodic cube, moving, with a total momentum of zero."""
    graph = hgn.graphs.lattice((3, 3, 3), spacing=1.4)
    momentum = np.random.default_rng(8).normal(size=(27, 3))
    momentum -= momentum.mean(axis=0)
    atoms = hgn.graphs.from_pairs(graph.nodes["position"], [], momentum=momentum)
    return atoms._replace(globals={"cell": 4.2 * jnp.eye(3)[None]})


def blocked(values, blocks=20):
    """Mean over time and its standard error, by averages of blocks far longer than the motion's
    memory. `values` are [chains t ...]; chains are independent."""
    values = np.asarray(values)
    parts = np.array_split(values, max(1, blocks // len(values)), axis=1)
    means = np.concatenate([part.mean(axis=1) for part in parts])
    return means.mean(axis=0), means.std(axis=0, ddof=1) / np.sqrt(len(means))


def within(values, truth, errors=3.0):
    mean, error = blocked(values)
    assert (np.abs(mean - truth) <= errors * error).all(), (mean, truth, error)
    return error


@pytest.mark.parametrize("dt", [0.05, 0.5])
def test_langevin_samples_a_harmonic_solid(solid, dt):
    """Covariance k T / K of positions is exact for every step; that of momenta is
    k T (M - K h^2 / 4). With K = 6, m = 0.5 the longest stable step is 0.58."""
    hessian = STIFFNESS * np.array([[2.0, -1, 0], [-1, 2, -1], [0, -1, 2]])

    def run(key):
        bath = hgn.Langevin(KT, friction=1.0, key=key)
        path = hgn.rollout(
            LINEAR, solid, hgn.Every(round(1 / dt), 1000), dt=dt, integrator=bath, throw=False
        )
        return path.position[50:, 1:-1, 0], path.momentum[50:, 1:-1, 0]

    q, p = jax.jit(jax.vmap(run))(jr.split(jr.key(1), 16))
    q, p = np.asarray(q) - np.arange(1.0, 4.0), np.asarray(p)
    error = within(q[..., :, None] * q[..., None, :], KT * np.linalg.inv(hessian))
    assert (np.diag(error) < 0.05 * KT / hessian[0, 0]).all()
    expected = KT * (np.diag(MASS[1:-1]) - hessian * dt**2 / 4)
    within(p[..., :, None] * p[..., None, :], expected)


def test_langevin_without_friction_is_velocity_verlet(solid):
    momentum = jnp.asarray(MASS * np.sin(np.arange(5)))[:, None]
    start = solid._replace(nodes=solid.nodes | {"momentum": momentum})
    options = {"dt": 0.1, "times": hgn.Every(7, 10)}
    free = hgn.rollout(
        LINEAR, start, integrator=hgn.Langevin(KT, friction=0.0, key=jr.key(0)), **options
    )
    verlet = hgn.rollout(LINEAR, start, **options)
    np.testing.assert_allclose(free.position, verlet.position, rtol=0, atol=1e-13)
    np.testing.assert_allclose(free.momentum, verlet.momentum, rtol=0, atol=1e-13)


THERMOSTATS = {
    "langevin": lambda time, constraints, key: hgn.Langevin(KT, 1 / time, key=key),
    "rescaling": lambda time, constraints, key: hgn.VelocityRescaling(
        KT, time, key=key, constraints=constraints
    ),
    "chain": lambda time, constraints, key: hgn.NoseHoover(KT, time, constraints=constraints),
}


@pytest.mark.parametrize("kind", THERMOSTATS)
def test_the_kinetic_energy_of_a_liquid_is_canonical(liquid, kind):
    """Mean N_f k T / 2 and variance N_f (k T)^2 / 2, with three degrees of freedom fewer where the
    momentum is conserved."""
    constraints = 0 if kind == "langevin" else 3
    spec = LIST.allocate(liquid)
    spread = jr.split(jr.key(5), 8)

    def run(key):
        bath = THERMOSTATS[kind](0.05, constraints, key)
        noise = 0.1 * jr.normal(key, (27, 3))
        noise = noise - jnp.mean(noise, axis=0, keepdims=True)
        start = liquid._replace(nodes=liquid.nodes | {"momentum": liquid.nodes["momentum"] + noise})
        path = hgn.rollout(
            ATOMS, start, hgn.Every(10, 200), dt=0.005, integrator=bath, neighbours=spec,
            observables=[hgn.KineticEnergy(), hgn.Momentum()], states=False, throw=False,
        )  # fmt: skip
        return path.observed["kinetic_energy"][20:], path.observed["momentum"], path.finite

    kinetic, momentum, finite = jax.jit(jax.vmap(run))(spread)
    assert finite.all()
    free = 81 - constraints
    error = within(kinetic, free * KT / 2)
    assert error < 0.02 * free * KT / 2
    within((kinetic - free * KT / 2) ** 2, free * KT**2 / 2)
    if constraints:
        np.testing.assert_allclose(momentum, 0, atol=1e-10)
    else:
        assert np.abs(momentum).max() > 1


def test_rescaling_draws_the_exact_kinetic_energy():
    """Free bodies, thermostatted once for a long time: K / k T has a gamma distribution."""
    graph = hgn.graphs.from_pairs(jnp.zeros((2, 1)) + jnp.arange(2.0)[:, None], [],
                                  momentum=jnp.array([[0.3], [-0.4]]))  # fmt: skip
    free = hgn.systems.mass_spring("spring", stiffness=0.0)

    def run(key):
        bath = hgn.VelocityRescaling(KT, 0.01, key=key)
        path = hgn.rollout(free, graph, hgn.Every(1, 1), dt=1.0, integrator=bath, throw=False)
        return path.momentum[-1, :, 0]

    p = np.asarray(jax.vmap(run)(jr.split(jr.key(3), 4000)))
    np.testing.assert_allclose(p[:, 1] / p[:, 0], -4 / 3, rtol=1e-12)
    kinetic = (p**2).sum(axis=1) / 2 / KT
    assert abs(kinetic.mean() - 1) < 3 * kinetic.std() / np.sqrt(4000)
    assert abs(((kinetic - 1) ** 2).mean() - 1) < 3 * ((kinetic - 1) ** 2).std() / np.sqrt(4000)
    half = np.exp(-kinetic)  # of an exponential distribution this is uniform
    assert abs((half < 0.25).mean() - 0.25) < 3 * np.sqrt(0.1875 / 4000)
    assert abs((p[:, 0] > 0).mean() - 0.5) < 3 * 0.5 / np.sqrt(4000)


def extended_energy(graph, dt, steps):
    """Greatest change of the energy that a Nose-Hoover chain conserves, after each step."""
    bath = hgn.NoseHoover(KT, 0.5).of(graph, jnp.asarray(dt))
    motion = Motion(ATOMS_FREE, graph, jnp.asarray(dt), jnp.zeros(()), bath, None, (), True)

    def step(state, _):
        state = motion.advance(state, 1)
        total = ATOMS_FREE(motion.at(state.y, None, None))
        return state, total + bath.chain_energy(state.solver[1])

    start = motion.start()
    begin = ATOMS_FREE(graph) + bath.chain_energy(start.solver[1])
    _, energy = eqx.filter_jit(lambda s: jax.lax.scan(step, s, None, length=steps))(start)
    return np.abs(np.asarray(energy) - np.asarray(begin)).max()


ATOMS_FREE = hgn.systems.mass_spring("anharmonic", rest_length=1.0, quartic=1.0)


def test_nose_hoover_conserves_its_energy_to_second_order(moving_lattice):
    """Halving the step divides the error by four."""
    errors = [extended_energy(moving_lattice, 0.08 / 2**k, 100 * 2**k) for k in range(4)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 2, atol=0.1)
    assert errors[-1] < 3e-3


@pytest.mark.parametrize("kind", THERMOSTATS)
def test_energy_less_heat_is_conserved(moving_lattice, kind):
    """To second order, whatever the thermostat takes from the bodies or gives to them."""

    def changes(dt):
        path = hgn.rollout(
            ATOMS_FREE, moving_lattice, hgn.Every(round(0.4 / dt), 20), dt=dt,
            integrator=THERMOSTATS[kind](0.5, 0, jr.key(0)), observables=[hgn.ConservedEnergy()],
        )  # fmt: skip
        conserved, energy = np.asarray(path.observed["conserved_energy"]), np.asarray(path.energy)
        return [np.abs(values - values[0]).max() for values in (conserved, energy)]

    (coarse, _), (fine, energy) = changes(0.08), changes(0.02)
    assert fine < coarse / 8
    assert fine < 1e-3 * energy


def killed_after(monkeypatch, calls):
    """Interrupts the rollout at its given call of `_advance`."""
    original, count = host_loop._advance, []

    def advance(*arguments):
        count.append(1)
        if len(count) == calls:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(host_loop, "_advance", advance)


@pytest.mark.parametrize("kind", THERMOSTATS)
def test_a_resumed_rollout_is_bitwise_identical(liquid, kind, tmp_path, monkeypatch):
    from hgn_jax.io import checkpoint

    monkeypatch.setattr(checkpoint, "SHARE", 1e9)
    monkeypatch.setattr(host_loop, "SECONDS", 0)

    def run(folder, key=0):
        return hgn.rollout(
            ATOMS, liquid, hgn.Every(9, 4), dt=0.005, neighbours=LIST,
            integrator=THERMOSTATS[kind](0.1, 3, jr.key(key)), observables=[hgn.ConservedEnergy()],
            checkpoint=tmp_path / folder,
        )  # fmt: skip

    whole = run("whole")
    with monkeypatch.context() as patched:
        killed_after(patched, 14)
        with pytest.raises(KeyboardInterrupt):
            run("cut")
    assert eqx.tree_equal(run("cut"), whole)
    if kind != "chain":
        with pytest.raises(ValueError, match="integrator"):
            run("cut", key=1)


@pytest.mark.parametrize("kind", THERMOSTATS)
def test_fixed_bodies_stay_and_graphs_of_a_batch_are_independent(solid, kind):
    velocity = np.array([0.0, 1, -2, 1, 0])
    nodes = solid.nodes | {"momentum": jnp.asarray(MASS * velocity)[:, None]}
    start = solid._replace(nodes=nodes)
    wild = start._replace(nodes=nodes | {"momentum": 5 * nodes["momentum"]})
    bath = THERMOSTATS[kind](0.1, 0, jr.key(0))
    both = hgn.rollout(
        LINEAR, hgn.graphs.batch([start, wild]), hgn.Every(5, 6), dt=0.05, integrator=bath
    )
    q, anchors = np.asarray(both.position), [0, 4, 5, 9]
    assert (q[:, anchors] == q[0, anchors]).all()
    assert (np.asarray(both.momentum)[:, anchors] == 0).all()
    assert np.abs(q[-1, 1:4] - q[0, 1:4]).max() > 0.05
    if kind == "chain":  # without random numbers each graph moves as it does alone
        alone = hgn.rollout(LINEAR, wild, hgn.Every(5, 6), dt=0.05, integrator=bath)
        np.testing.assert_allclose(q[:, 5:], alone.position, rtol=0, atol=1e-13)


def test_keys_select_trajectories(solid):
    def run(key):
        bath = hgn.Langevin(KT, 1.0, key=key)
        return hgn.rollout(LINEAR, solid, hgn.Every(3, 3), dt=0.1, integrator=bath).position

    keys = jr.split(jr.key(4), 3)
    paths = jax.vmap(run)(keys)
    np.testing.assert_allclose(paths[1], run(keys[1]), rtol=0, atol=1e-13)
    assert np.abs(paths[1] - paths[2]).max() > 0.01
    steps = np.asarray(paths[:, 1:] - paths[:, :-1])[:, :, 1:4]
    assert np.unique(steps.round(12)).size == steps.size  # no number is drawn twice


def test_outputs_between_steps_are_moved_without_the_thermostat(solid):
    bath = hgn.Langevin(KT, 1.0, key=jr.key(4))
    whole = hgn.rollout(LINEAR, solid, [0.0, 0.4, 0.5], dt=0.1, integrator=bath)
    between = hgn.rollout(LINEAR, solid, [0.0, 0.43, 0.5], dt=0.1, integrator=bath)
    assert (whole.position[-1] == between.position[-1]).all()
    at = solid._replace(
        nodes=solid.nodes | {"position": whole.position[1], "momentum": whole.momentum[1]}
    )
    free = hgn.rollout(LINEAR, at, [0.0, 0.03], dt=0.03, integrator=StormerVerlet())
    np.testing.assert_allclose(between.position[1], free.position[-1], rtol=0, atol=1e-13)
    np.testing.assert_allclose(between.momentum[1], free.momentum[-1], rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: hgn.Langevin(-1.0, 1.0, key=jr.key(0)), "temperature must be .* positive"),
        (lambda: hgn.Langevin(1.0, -1.0, key=jr.key(0)), "friction must be .* not negative"),
        (lambda: hgn.VelocityRescaling(0.0, 1.0, key=jr.key(0)), "temperature must be"),
        (lambda: hgn.VelocityRescaling(1.0, np.inf, key=jr.key(0)), "time must be"),
        (lambda: hgn.NoseHoover(1.0, 0.0), "time must be"),
        (lambda: hgn.NoseHoover(1.0, 1.0, chain=0), "chain must be at least 1"),
    ],
)
def test_bad_numbers_are_refused(make, words, no_type_checks):
    with pytest.raises(ValueError, match=words):
        make()


def test_starts_that_no_thermostat_can_heat_are_refused(solid):
    bath, every = hgn.NoseHoover(1.0, 1.0), hgn.Every(1, 1)
    frozen = solid._replace(nodes=solid.nodes | {"fixed": jnp.ones(5, bool)})
    with pytest.raises(ValueError, match="NoseHoover needs mobile bodies"):
        hgn.rollout(LINEAR, frozen, every, dt=0.1, integrator=bath)
    with pytest.raises(ValueError, match="cannot go back in time"):
        hgn.rollout(LINEAR, solid, [0.0, -1.0], dt=0.1, integrator=bath)


@pytest.mark.parametrize("kind", THERMOSTATS)
def test_float32_stays_float32(solid, kind):
    single = jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a, solid)
    bath = THERMOSTATS[kind](0.1, 0, jr.key(0))
    path = hgn.rollout(
        LINEAR, single, hgn.Every(5, 3), dt=0.05, integrator=bath,
        observables=[hgn.ConservedEnergy()],
    )  # fmt: skip
    assert path.momentum.dtype == path.observed["conserved_energy"].dtype == jnp.float32


class Collisions(hgn.AbstractThermostat):
    """After each time step every momentum is new, as in a dense gas (a user's own thermostat)."""

    temperature: float
    key: jax.Array
    graph: object = None
    dt: object = None

    def begin(self):
        return jnp.zeros((), jnp.uint32)

    def act(self, p, state, time):
        mass = self.graph.nodes["mass"][:, None]
        noise = jr.normal(jr.fold_in(self.key, state), p.shape, p.dtype)
        after = jnp.sqrt(mass * self.temperature) * noise
        heat = jnp.sum((after**2 - p**2)[1:-2] / mass[1:-2]) / 2
        return after, state + jnp.uint32(1), jnp.zeros(2, p.dtype).at[0].set(heat)


def test_a_thermostat_of_ones_own_samples_too(solid):
    def run(key):
        path = hgn.rollout(
            LINEAR, solid, hgn.Every(2, 2000), dt=0.3, integrator=Collisions(KT, key),
            observables=[hgn.ConservedEnergy()], throw=False,
        )  # fmt: skip
        return path.position[100:, 2, 0] - 2, path.observed["conserved_energy"]

    q, conserved = jax.jit(jax.vmap(run))(jr.split(jr.key(2), 8))
    within(np.asarray(q) ** 2, KT / STIFFNESS)  # the middle of K^-1 is 1 / stiffness
    assert np.abs(np.asarray(conserved) - conserved[0, 0]).max() < 3 * KT  # in 4000 steps


def test_a_step_beyond_the_longest_stable_one_is_an_error(solid):
    bath = hgn.NoseHoover(KT, 0.1)
    with pytest.raises(RuntimeError, match="rollout stopped at time"):
        hgn.rollout(LINEAR, solid, hgn.Every(2000, 1), dt=2.0, integrator=bath)
