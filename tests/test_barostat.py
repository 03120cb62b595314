"""Stochastic cell rescaling samples the isothermal-isobaric ensemble."""

import itertools

import equinox as eqx
import h5py
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.integrate
import scipy.special

import hgn_jax as hgn
from hgn_jax.dynamics import host_loop

KT = 0.7
SPRINGS = hgn.systems.mass_spring("spring", stiffness=1.0)
"""Springs of rest length zero: exactly harmonic."""
ATOMS = hgn.systems.lennard_jones(cutoff=2.0)
LIST = hgn.Neighbours(2.0, 0.4)
FREE = 20


def within(values, truth, errors=3.0):
    """Values [chains t ...] of independent chains."""
    means = np.asarray(values).mean(axis=1)
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    assert (np.abs(means.mean(axis=0) - truth) <= errors * error).all(), (
        means.mean(0),
        truth,
        error,
    )
    return error


def gas_in_springs(side, repeats=2):
    """A cubic lattice whose springs pull at the cell, and free bodies that push."""
    lattice = hgn.graphs.lattice((repeats,) * 3, spacing=side / repeats).nodes["position"]
    points = np.random.default_rng(0).uniform(0, side, (FREE, 3))
    cell = side * np.eye(3)
    bound = hgn.graphs.radius(np.asarray(lattice), 1.1 * side / repeats, cell=cell)
    graph = hgn.graphs.from_pairs(np.concatenate([np.asarray(lattice), points]), [])
    return graph._replace(
        senders=bound.senders, receivers=bound.receivers, n_edge=bound.n_edge,
        edges={"shift": bound.edges["shift"]}, globals={"cell": jnp.asarray(cell)[None]},
    )  # fmt: skip


def volumes(graph, pressure, moves, full, *, rate, chains=16):
    def run(key):
        first, second = jr.split(key)
        path = hgn.rollout(
            SPRINGS, graph, hgn.Every(5, moves // 5), dt=0.2, states=False, throw=False,
            neighbours="fixed", integrator=hgn.Langevin(KT, friction=1.0, key=first),
            barostat=hgn.CellRescaling(pressure, rate, 1.0, key=second, every=1, full=full),
        )  # fmt: skip
        return path.cell[moves // 50 :]

    cells = np.asarray(jax.jit(jax.vmap(run))(jr.split(jr.key(1), chains)))
    assert np.isfinite(cells).all()
    return cells, np.linalg.det(cells)


def test_the_volume_of_an_ideal_gas_has_a_gamma_distribution():
    """Density V^n exp(-P V / k T): mean (n + 1) k T / P, variance (n + 1) (k T / P)^2."""
    pressure, unit = 0.5, KT / 0.5
    points = np.random.default_rng(0).uniform(0, 3, (FREE, 3))
    gas = hgn.graphs.from_pairs(points, [])._replace(globals={"cell": 3 * jnp.eye(3)[None]})
    cells, volume = volumes(gas, pressure, 4000, False, rate=0.3)
    mean = (FREE + 1) * unit
    error = within(volume, mean)
    assert error < 0.015 * mean
    within((volume - mean) ** 2, (FREE + 1) * unit**2)
    assert (cells * (1 - np.eye(3)) == 0).all()


def test_the_volume_of_a_gas_in_a_cube_of_springs():
    """Density V^(m + 1) exp(-(3 k r V^(2/3) / 2 + P V) / k T) of m free bodies and r^3 bound ones,
    whose vibrations do not depend on the volume. The pressure is negative."""
    pressure = -0.2

    def density(v, power=0):
        return v**power * np.exp(
            (FREE + 1) * np.log(v / 20) - (3 * v ** (2 / 3) + pressure * v) / KT + 25
        )

    total, first, second = (scipy.integrate.quad(density, 0.1, 300, (k,))[0] for k in range(3))
    mean, square = first / total, second / total
    _, volume = volumes(gas_in_springs(mean ** (1 / 3)), pressure, 4000, False, rate=0.2)
    within(volume, mean)
    within((volume - mean) ** 2, square - mean**2)


def test_the_shape_of_a_gas_in_springs():
    """Products G = h h^T of lattice vectors without pressure have a Wishart distribution, of m + 2
    degrees of freedom and variance k T / k r: V^(m + 1) V^-2 dh."""
    freedom, unit = FREE + 2, KT / 2
    root = [
        np.sqrt(2) * np.exp(scipy.special.gammaln((k + 1) / 2) - scipy.special.gammaln(k / 2))
        for k in (freedom, freedom - 1, freedom - 2)
    ]
    mean = unit**1.5 * np.prod(root)
    square = unit**3 * freedom * (freedom - 1) * (freedom - 2)
    graph = gas_in_springs(mean ** (1 / 3))
    cells, volume = volumes(graph, 0.0, 8000, True, rate=0.03)
    within(volume, mean)
    within((volume - mean) ** 2, square - mean**2)
    products = cells @ np.swapaxes(cells, -1, -2)
    error = within(products, freedom * unit * np.eye(3))
    assert (error < 0.04 * freedom * unit).all()
    assert np.abs(cells[..., 1, 0]).max() > 0.5 and (cells[..., 0, 1:] == 0).all()  # no rotation


@pytest.mark.parametrize("full", [False, True])
def test_moves_have_the_drift_and_the_variance_of_the_stochastic_equation(full):
    """Mean D h (n - (P V + tr W / d) / k T) and variance 2 D h of tr epsilon; 2 D h / d of each
    component of a cell that changes its shape. h is the time between moves."""
    virial = np.random.default_rng(0).normal(0, 30, (1, 3, 3))
    pressure, compressibility, time, dt, every, n, sides = 2.0, 0.3, 40.0, 0.05, 7, 2, [2, 3, 4]
    volume = np.prod(sides)
    graph = hgn.graphs.from_pairs(np.arange(3.0 * n).reshape(n, 3), [])
    graph = graph._replace(globals={"cell": jnp.diag(jnp.array(sides, float))[None]})

    def move(key):
        barostat = hgn.CellRescaling(
            pressure, compressibility, time, key=key, every=every, full=full
        )
        return barostat.strain(graph, jnp.asarray(virial), KT, jnp.array(3), jnp.array(dt))[0]

    found = np.asarray(jax.vmap(move)(jr.split(jr.key(0), 40_000)))
    spread = compressibility * KT / time / volume * dt * every
    trace = np.trace(found, axis1=1, axis2=2)
    drift = n - (pressure * volume + np.trace(virial[0]) / 3) / KT
    mean_error = np.sqrt(2 * spread / len(found))
    assert abs(trace.mean() - spread * drift) < 4 * mean_error < 0.1 * abs(spread * drift)
    np.testing.assert_allclose(trace.var(), 2 * spread, rtol=4 * np.sqrt(2 / len(found)))
    if full:
        lower = np.tril(np.ones((3, 3)))
        np.testing.assert_allclose(
            found.var(axis=0), 2 * spread / 3 * lower, rtol=4 * np.sqrt(2 / len(found))
        )
        pull = -spread / 3 * virial[0] / KT
        off = np.tril(found.mean(axis=0) - pull, -1)
        assert (np.abs(off) < 4 * mean_error / np.sqrt(3)).all()


@pytest.fixture(scope="module")
def liquid():
    graph = hgn.graphs.lattice((4, 4, 4), spacing=1.4)
    atoms = hgn.graphs.from_pairs(graph.nodes["position"], [])
    return atoms._replace(globals={"cell": 5.6 * jnp.eye(3)[None]})


def pressed(
    graph, pressure, outputs, *, full=False, dt=0.005, time=1.0, key=0, steps=20, temperature=2.0,
    **options,
):  # fmt: skip
    return hgn.rollout(
        ATOMS, graph, hgn.Every(steps, outputs), dt=dt,
        integrator=hgn.Langevin(temperature, 2.0, key=jr.key(key)),
        barostat=hgn.CellRescaling(pressure, 0.1, time, key=jr.key(key + 1), full=full),
        **{"neighbours": LIST} | options,
    )  # fmt: skip


def test_a_liquid_has_the_pressure_that_is_asked_for(liquid):
    observables = [hgn.Pressure(), hgn.ConservedEnergy()]
    path = pressed(liquid, 1.5, 250, time=0.2, observables=observables, states=False)
    pressure = hgn.block_average(path.observed["pressure"][30:])
    assert abs(pressure.mean - 1.5) < 3 * pressure.error < 0.3
    volume = np.linalg.det(path.cell[30:])
    assert 1.1 < volume.max() / volume.min() < 3
    drift = np.asarray(path.observed["conserved_energy"])
    assert np.abs(drift - drift[0]).max() < 0.05 * np.ptp(path.energy)


def test_a_crystal_has_the_stress_that_is_asked_for():
    """All components of it, in a cell of any shape."""
    corners = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]]) / 2
    sites = [c + corner for c in itertools.product(range(3), repeat=3) for corner in corners]
    atoms = hgn.graphs.from_pairs(np.array(sites) * 1.6, [])
    crystal = atoms._replace(globals={"cell": 4.8 * jnp.eye(3)[None]})
    path = pressed(
        crystal, 1.0, 250, full=True, time=0.25, temperature=0.3, states=False,
        observables=[hgn.Stress()], neighbours=hgn.Neighbours(2.0, 0.2),
    )  # fmt: skip
    stress = hgn.block_average(path.observed["stress"][30:])
    assert (np.abs(stress.mean + np.eye(3)) < 3.5 * stress.error).all()
    assert (stress.error < 0.3).all()
    assert np.abs(path.cell[30:, 2, 0]).max() > 0.02


def test_no_pair_is_missed_while_a_gas_is_compressed():
    """A grid of seven cells along each side serves the first cell, but not the last."""
    lattice = hgn.graphs.lattice((6, 6, 6), spacing=1.5).nodes["position"]
    gas = hgn.graphs.from_pairs(lattice, [])._replace(globals={"cell": 9.0 * jnp.eye(3)[None]})
    path = pressed(gas, 8.0, 5, time=0.4, dt=0.002)
    assert np.linalg.det(path.cell[-1]) < 0.75 * 9.0**3
    for k in range(6):
        cell = np.asarray(path.cell[k])
        frame = hgn.graphs.radius(np.asarray(path.position[k]), 2.0, cell=cell)
        nodes = frame.nodes | {"momentum": path.momentum[k]}
        np.testing.assert_allclose(ATOMS(frame._replace(nodes=nodes))[0], path.energy[k], rtol=1e-9)


@pytest.mark.parametrize("full", [False, True])
def test_a_resumed_rollout_is_bitwise_identical(liquid, full, tmp_path, monkeypatch):
    from hgn_jax.io import checkpoint

    monkeypatch.setattr(checkpoint, "SHARE", 1e9)
    monkeypatch.setattr(host_loop, "SECONDS", 0)
    original, count = host_loop._advance, []

    def run(folder, key=0):
        options = {"checkpoint": tmp_path / folder, "steps": 9, "time": 0.1, "key": key}
        return pressed(liquid, 0.5, 6, full=full, **options)

    def killed(*arguments):
        count.append(1)
        if len(count) == 20:
            raise KeyboardInterrupt
        return original(*arguments)

    whole = run("whole")
    with monkeypatch.context() as patched:
        patched.setattr(host_loop, "_advance", killed)
        with pytest.raises(KeyboardInterrupt):
            run("cut")
    assert eqx.tree_equal(run("cut"), whole)
    with pytest.raises(ValueError, match="barostat"):
        run("cut", key=1)


def test_cells_are_written_and_returned(liquid, tmp_path):
    path = pressed(liquid, 2.0, 3, time=0.1, output=tmp_path / "run.h5")
    cell = np.asarray(path.cell)
    assert np.abs(np.diff(cell[:, 0, 0])).min() > 0
    assert (np.asarray(path.end.globals["cell"][0]) == cell[-1]).all()
    with h5py.File(tmp_path / "run.h5") as held:
        np.testing.assert_array_equal(held["particles/trajectory/box/edges/value"], cell)
    np.testing.assert_allclose([atoms.cell[:] for atoms in path.to_ase()], cell, rtol=1e-15)


def test_graphs_of_a_batch_have_their_own_cells():
    pair = [gas_in_springs(3.0), gas_in_springs(4.0)]
    path = hgn.rollout(
        SPRINGS, hgn.graphs.batch(pair), hgn.Every(10, 3), dt=0.1, neighbours="fixed",
        integrator=hgn.Langevin(KT, 1.0, key=jr.key(0)),
        barostat=hgn.CellRescaling(0.1, 0.1, 1.0, key=jr.key(1)),
    )  # fmt: skip
    assert path.cell.shape == (4, 2, 3, 3)
    sides = np.asarray(path.cell)[..., 0, 0]
    assert (sides[0] == [3, 4]).all() and np.unique(sides).size == 8


def test_a_cell_that_shrinks_too_far_is_an_error(liquid):
    with pytest.raises(RuntimeError, match=r"the cell has shrunk to the height 4\.[01]"):
        pressed(liquid, 300.0, 30, time=40.0)
    stopped = pressed(liquid, 300.0, 30, time=40.0, throw=False)
    assert not stopped.finite and np.isfinite(stopped.cell[0]).all()
    assert np.isnan(stopped.cell[-1]).all()


def test_a_pressure_in_other_units_is_an_error(liquid):
    with pytest.raises(RuntimeError, match="cell by more than 10% at once"):
        pressed(liquid, 1e6, 1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((np.inf, 1.0, 1.0), "pressure must be one finite number"),
        ((1.0, 0.0, 1.0), "compressibility must be"),
        ((1.0, 1.0, -1.0), "time must be"),
    ],
)
def test_bad_numbers_are_refused(values, words, no_type_checks):
    with pytest.raises(ValueError, match=words):
        hgn.CellRescaling(*values, key=jr.key(0))


def test_starts_without_a_cell_or_thermostat_are_refused(liquid, no_type_checks):
    with pytest.raises(ValueError, match="needs a thermostat, not StormerVerlet"):
        hgn.rollout(
            ATOMS, liquid, hgn.Every(1, 1), dt=0.1, neighbours=LIST,
            barostat=hgn.CellRescaling(1.0, 1.0, 1.0, key=jr.key(0)),
        )  # fmt: skip
    with pytest.raises(ValueError, match="cell"):
        pressed(liquid._replace(globals={}), 1.0, 1)
    held = liquid._replace(nodes=liquid.nodes | {"fixed": jnp.arange(64) < 1})
    with pytest.raises(ValueError, match="fixed bodies cannot stay"):
        pressed(held, 1.0, 1)
    with pytest.raises(ValueError, match=r"cell height 5\.6 is less than twice cutoff"):
        pressed(liquid, 1.0, 1, full=True, neighbours=hgn.Neighbours(2.0, 0.9))


def test_float32_stays_float32(liquid):
    single = jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a, liquid)
    path = pressed(single, 2.0, 2)
    assert path.cell.dtype == path.momentum.dtype == path.energy.dtype == jnp.float32
