"""Relaxation finds the minima that SciPy and lattice sums find."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import hgn_jax as hgn

ATOMS = hgn.systems.lennard_jones()
FADING = hgn.systems.lennard_jones(cutoff=2.5)
LIST = hgn.Neighbours(2.5, 0.4)
CORNERS = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]]) / 2


def cluster(seed, n=13):
    rng = np.random.default_rng(seed)
    at = np.array(list(itertools.product(range(3), repeat=3)))[:n] * 1.2
    graph = hgn.graphs.fully_connected(n, dimension=3)
    position = jnp.asarray(at + rng.normal(0, 0.1, at.shape))
    momentum = jnp.asarray(rng.normal(size=(n, 3)))
    return graph._replace(nodes=graph.nodes | {"position": position, "momentum": momentum})


def crystal(repeats, constant, matrix=None, spread=0.0):
    """Face-centred cubic atoms without edges, in a cell that may be strained."""
    cells = itertools.product(range(repeats), repeat=3)
    sites = np.array([cell + corner for cell in cells for corner in CORNERS])
    cell = constant * repeats * (np.eye(3) if matrix is None else matrix)
    position = sites / repeats @ cell
    position += np.random.default_rng(0).normal(0, spread, position.shape)
    graph = hgn.graphs.from_pairs(position, [])
    return graph._replace(globals={"cell": jnp.asarray(cell)[None]})


def lattice_sum(energy, reach, nearest):
    """Energy per atom of the infinite crystal, by NumPy."""
    steps = np.array(list(itertools.product(range(-12, 13), repeat=3)))
    sites = (steps[:, None] + CORNERS).reshape(-1, 3) * np.sqrt(2) * nearest
    r = np.linalg.norm(sites, axis=1)
    return energy(r[(r > 0) & (r < reach)]).sum() / 2


def faded(r):
    ro, rc, x = 2.0**2, 2.5**2, np.clip(r**2, 2.0**2, 2.5**2)
    return 4 * (r**-12 - r**-6) * (rc - x) ** 2 * (rc + 2 * x - 3 * ro) / (rc - ro) ** 3


def best(energy, reach):
    """Nearest distance and energy per atom of the best crystal."""
    found = scipy.optimize.minimize_scalar(
        lambda nearest: lattice_sum(energy, reach, nearest), bounds=(1.05, 1.15), method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    return found.x, found.fun


@pytest.mark.parametrize("seed", [0, 3])
def test_a_cluster_is_scipys(seed):
    start = cluster(seed)
    relaxed = hgn.relax(ATOMS, start, force=1e-6)

    def energy(x):
        nodes = start.nodes | {"position": x.reshape(13, 3), "momentum": jnp.zeros((13, 3))}
        return ATOMS(start._replace(nodes=nodes))[0]

    position = np.asarray(relaxed.graph.nodes["position"]).ravel()
    slope = jax.jit(jax.value_and_grad(energy))
    found = scipy.optimize.minimize(
        lambda x: tuple(map(np.asarray, slope(jnp.asarray(x)))), position, jac=True, tol=1e-10
    )
    np.testing.assert_allclose(relaxed.energy, found.fun, rtol=1e-11)
    np.testing.assert_allclose(position, found.x, rtol=0, atol=1e-5)
    assert relaxed.converged and relaxed.force <= 1e-6
    assert relaxed.steps < 1000
    assert float(energy(start.nodes["position"].ravel())) > float(relaxed.energy) + 1
    assert (relaxed.graph.nodes["momentum"] == 0).all()
    assert relaxed.stress is None


def test_the_lattice_constant_is_the_analytic_one():
    """(2 A12 / A6)^(1/6) with the lattice sums of Lennard-Jones and Ingham; the tail beyond the
    edges' reach is missing."""
    start = crystal(1, 1.6)
    start = hgn.graphs.radius(
        start.nodes["position"], 8.0, cell=np.asarray(start.globals["cell"][0])
    )
    relaxed = hgn.relax(ATOMS, start, force=1e-7, stress=1e-9, neighbours="fixed")
    nearest = np.asarray(relaxed.graph.globals["cell"])[0, 0, 0] / np.sqrt(2)
    np.testing.assert_allclose(nearest, (2 * 12.13188 / 14.45392) ** (1 / 6), rtol=1e-3)
    np.testing.assert_allclose(relaxed.energy / 4, -(14.45392**2) / (2 * 12.13188), rtol=5e-3)
    off = np.asarray(relaxed.graph.globals["cell"])[0] - nearest * np.sqrt(2) * np.eye(3)
    np.testing.assert_allclose(off, 0, atol=1e-6)
    np.testing.assert_allclose(relaxed.stress, 0, atol=1e-9)


def test_a_strained_crystal_relaxes_with_its_neighbours():
    """Cell, shear and positions are wrong; energy and volume are those of a lattice sum."""
    strain = np.array([[1.05, 0.08, 0.0], [0.0, 0.97, 0.03], [0.0, 0.0, 1.02]])
    start = crystal(4, 1.6, strain, spread=0.05)
    relaxed = hgn.relax(FADING, start, force=1e-6, stress=1e-7, neighbours=LIST)
    nearest, energy = best(faded, 2.5)
    np.testing.assert_allclose(relaxed.energy / 256, energy, rtol=1e-9)
    cell = np.asarray(relaxed.graph.globals["cell"])[0]
    np.testing.assert_allclose(cell @ cell.T, 32 * nearest**2 * np.eye(3), atol=1e-4)
    np.testing.assert_allclose(relaxed.stress, 0, atol=1e-7)


def test_the_capacity_for_neighbours_grows_with_compression():
    """An expanded crystal has few neighbours at the start."""
    start = crystal(5, 1.75)
    relaxed = hgn.relax(FADING, start, force=1e-5, stress=1e-6, neighbours=hgn.Neighbours(2.5, 0.1))
    _, energy = best(faded, 2.5)
    np.testing.assert_allclose(relaxed.energy / 500, energy, rtol=1e-7)
    before, after = (
        hgn.Neighbours(2.5, 0.1).allocate(graph).sizes.slots for graph in (start, relaxed.graph)
    )
    assert after > before


def test_fixed_bodies_stay():
    start = cluster(0)
    start = start._replace(nodes=start.nodes | {"fixed": jnp.arange(13) < 1})
    relaxed = hgn.relax(ATOMS, start, force=1e-5)
    before, after = (np.asarray(g.nodes["position"]) for g in (start, relaxed.graph))
    assert (before[:1] == after[:1]).all() and np.abs(before[1:] - after[1:]).max() > 0.1
    force = np.asarray(ATOMS.vector_field(relaxed.graph)[1])
    np.testing.assert_allclose(np.linalg.norm(force, axis=1).max(), relaxed.force, rtol=1e-9)


def test_under_vmap_each_graph_stops_by_itself():
    starts = jnp.stack([cluster(seed).nodes["position"] for seed in range(3)])
    graph = cluster(0)

    def relaxed(position):
        return hgn.relax(
            ATOMS, graph._replace(nodes=graph.nodes | {"position": position}), force=1e-4
        )

    together = jax.jit(jax.vmap(relaxed))(starts)
    alone = relaxed(starts[1])
    assert together.steps[1] == alone.steps
    np.testing.assert_allclose(together.energy[1], alone.energy, rtol=1e-10)


def test_units_do_not_matter():
    """In SI units, lengths of 1e-10 and energies of 1e-21, the steps are the same."""
    start = cluster(0)
    tiny = start._replace(nodes=start.nodes | {"position": 3.4e-10 * start.nodes["position"]})
    one = hgn.relax(ATOMS, start, force=1e-4)
    argon = hgn.systems.lennard_jones(epsilon=1.65e-21, sigma=3.4e-10)
    other = hgn.relax(argon, tiny, force=1e-4 * 1.65e-21 / 3.4e-10)
    assert abs(int(one.steps) - int(other.steps)) <= 2
    np.testing.assert_allclose(other.energy, 1.65e-21 * one.energy, rtol=1e-6)


def test_too_few_steps_are_an_error():
    with pytest.raises(RuntimeError, match=r"did not converge.*greatest force .* after 5 steps"):
        hgn.relax(ATOMS, cluster(0), force=1e-6, steps=5)
    stopped = hgn.relax(ATOMS, cluster(0), force=1e-6, steps=5, throw=False)
    assert not stopped.converged and stopped.steps == 5


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda g: g, {"force": 0.0}, "force must be one finite number, positive"),
        (lambda g: g, {"force": 1.0, "stress": -1.0}, "stress must be one finite number"),
        (lambda g: g._replace(globals={}), {"force": 1.0, "stress": 1.0}, "cell"),
        (
            lambda g: g._replace(nodes=g.nodes | {"fixed": jnp.zeros(256, bool)}),
            {"force": 1.0, "stress": 1.0},
            "fixed bodies cannot stay",
        ),
        (
            lambda g: g,
            {"force": 1.0, "stress": 1.0, "neighbours": hgn.Neighbours(2.5, 1.2)},
            "cell height 6.4 is less than twice cutoff",
        ),
        (lambda g: hgn.graphs.batch([g, g]), {"force": 1.0}, "takes a single graph, got 2"),
    ],
)
def test_bad_arguments_are_refused(change, options, words, no_type_checks):
    with pytest.raises(ValueError, match=words):
        hgn.relax(FADING, change(crystal(4, 1.6)), **{"neighbours": LIST} | options)
