"""Energies of named triples and quadruples, against angles and dihedrals by other formulas."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.graphs.padding import pad
from hgn_jax.graphs.strain import strained

KEY = jr.key(0)
BONDS = [(0, 1), (1, 2), (2, 3), (3, 4)]
TRIPLES = [(0, 1, 2), (1, 2, 3), (4, 3, 2)]
QUADRUPLES = [(0, 1, 2, 3), (4, 3, 2, 1)]
SERIES = np.array([0.8, 0.0, -0.5, 0.0, 1.3, 0.0])
"""Coefficients of cos and sin of one, two and three times the dihedral."""


def angle(a, b):
    return jnp.arctan2(jnp.linalg.norm(jnp.cross(a, b)), a @ b)


def dihedral(i, j, k, l):  # noqa: E741
    """Dihedral by projection onto the plane across the bond."""
    axis = (k - j) / jnp.linalg.norm(k - j)
    first, second = (v - (v @ axis) * axis for v in (i - j, l - k))
    return jnp.arctan2(jnp.cross(first, second) @ axis, first @ second)


def true_energy(x, triples=TRIPLES, quadruples=QUADRUPLES, bonds=BONDS):
    """A chain of beads: harmonic bonds and angles, and a torsion of three multiples."""
    stretch = sum(50 * (jnp.linalg.norm(x[i] - x[j]) - 1.5) ** 2 for i, j in bonds)
    bend = sum(20 * (angle(x[i] - x[j], x[k] - x[j]) - 1.9) ** 2 for i, j, k in triples)
    phis = [dihedral(*x[np.array(four)]) for four in quadruples]
    waves = [f(n * phi) for phi in phis for n in (1, 2, 3) for f in (jnp.cos, jnp.sin)]
    return stretch + bend + jnp.asarray(np.tile(SERIES, len(phis))) @ jnp.stack(waves)


def chains(n, count, seed):
    """Positions `[count n 3]` of zigzag chains, turned about their bonds at random."""
    rng = np.random.default_rng(seed)
    x = np.zeros((count, n, 3))
    for c in range(count):
        frame = np.eye(3)
        for b in range(1, n):
            turn, bend = rng.uniform(-np.pi, np.pi), np.pi - rng.uniform(1.5, 2.3)
            about = np.array(
                [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
            )
            up = np.array(
                [[np.cos(bend), 0, np.sin(bend)], [0, 1, 0], [-np.sin(bend), 0, np.cos(bend)]]
            )
            frame = frame @ about @ up
            x[c, b] = x[c, b - 1] + rng.uniform(1.4, 1.6) * frame[:, 2]
    return x


def data_of(x, bonds=BONDS, triples=TRIPLES, quadruples=QUADRUPLES, energy=true_energy):
    graph = hgn.graphs.from_pairs(np.zeros_like(x[0]), bonds)
    force = -jax.vmap(jax.grad(energy))(jnp.asarray(x))
    nodes = {"position": jnp.asarray(x), "velocity": jnp.zeros_like(force), "force": force}
    data = hgn.graphs.snapshots(graph, nodes, {})
    data = hgn.graphs.with_triples(data, triples)
    return hgn.graphs.with_quadruples(data, quadruples) if quadruples else data


TERMS = (hgn.Powers((1, 2)), hgn.Bending(48), hgn.Torsion(3))


@pytest.fixture(scope="module")
def fit():
    return hgn.fit(data_of(chains(5, 100, 0)), key=0, terms=TERMS, observations=[hgn.Forces()])


def test_recovers_angles_and_dihedrals(fit):
    unseen = data_of(chains(5, 50, 1))
    force = fit.model.vector_field(unseen)[1]
    size = jnp.sqrt(jnp.mean(unseen.nodes["force"] ** 2))
    assert jnp.max(jnp.abs(force - unseen.nodes["force"])) < 1e-8 * size
    assert jnp.max(jnp.abs(fit.model.theta[2] - SERIES)) < 1e-8


def test_holds_for_longer_chains(fit):
    bonds = [(i, i + 1) for i in range(8)]
    triples = [(i, i + 1, i + 2) for i in range(7)]
    quadruples = [(i, i + 1, i + 2, i + 3) for i in range(6)]

    def energy(x):
        return true_energy(x, triples, quadruples, bonds)

    data = data_of(chains(9, 20, 2), bonds, triples, quadruples, energy)
    size = jnp.sqrt(jnp.mean(data.nodes["force"] ** 2))
    error = fit.model.vector_field(data)[1] - data.nodes["force"]
    assert jnp.max(jnp.abs(error)) < 1e-8 * size


def test_a_dihedral_is_positive_clockwise():
    x = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [np.cos(0.4), np.sin(0.4), 1]])
    data = data_of(x[None], BONDS[:3], [(0, 1, 2)], [(0, 1, 2, 3)], lambda x: jnp.sum(x))
    waves = hgn.Torsion(2)(data)[0]
    expected = [np.cos(0.4), np.sin(0.4), np.cos(0.8), np.sin(0.8)]
    assert np.allclose(waves, expected, rtol=0, atol=1e-14)


def test_the_same_in_batches_chunks_selections_and_padding(fit):
    short, longer = (
        data_of(
            chains(n, 6, n),
            [(i, i + 1) for i in range(n - 1)],
            [(i, i + 1, i + 2) for i in range(n - 2)],
            [(i, i + 1, i + 2, i + 3) for i in range(n - 3)],
            lambda x: jnp.sum(x),
        )
        for n in (4, 7)
    )
    energy, motion = eqx.filter_jit(fit.model), eqx.filter_jit(fit.model.vector_field)
    both = hgn.graphs.batch([short, longer])
    expected = jnp.concatenate([energy(short), energy(longer)])
    assert np.allclose(energy(both), expected, rtol=1e-12)
    keep = np.arange(12) % 3 > 0
    assert np.allclose(energy(hgn.graphs.take(both, keep)), expected[keep], rtol=1e-12)
    pieces = [energy(piece)[:4] for piece in hgn.graphs.chunks(both, 4)]
    assert np.allclose(jnp.concatenate(pieces), expected, rtol=1e-12)
    padded = pad(both, n_node=80, n_edge=200, n_graph=20)
    hgn.check(padded)
    force = motion(padded)[1]
    assert np.allclose(force[:66], motion(both)[1], rtol=0, atol=1e-10)
    assert not force[66:].any()


def test_nearest_images_in_a_cell(fit):
    free = data_of(chains(5, 3, 3))
    cell = np.array([[7.0, 0, 0], [1, 8, 0], [0, 0.5, 9]])
    wrapped = hgn.graphs.Cell(cell).wrap(np.asarray(free.nodes["position"]))
    assert np.abs(wrapped - free.nodes["position"]).max() > 5
    periodic = free._replace(
        nodes=free.nodes | {"position": jnp.asarray(wrapped)},
        edges={},
        senders=jnp.zeros(0, jnp.int32),
        receivers=jnp.zeros(0, jnp.int32),
        n_edge=jnp.zeros(3, jnp.int32),
        globals={"cell": jnp.asarray(np.tile(cell, (3, 1, 1)))},
    )
    padded = pad(periodic, n_node=20, n_edge=0, n_graph=8)
    strain = jnp.zeros((3, 3)).at[0, 1].set(1e-5)
    for term, theta in zip(fit.model.terms[1:], fit.model.theta[1:]):
        energy, gradient = eqx.filter_jit(term), eqx.filter_jit(term.gradient)
        assert np.allclose(energy(periodic), energy(free), rtol=0, atol=1e-12)
        slopes = gradient(padded).position
        assert np.allclose(slopes[:15], gradient(free).position, rtol=0, atol=1e-11)
        assert not slopes[15:].any()
        up, down = (energy(strained(periodic, s)) @ theta for s in (strain, -strain))
        virial = eqx.filter_jit(term.energy_virial)(periodic, theta)[:, 0, 1]
        assert np.allclose(virial, (up - down) / 2e-5, rtol=1e-6, atol=1e-6)


def test_types_have_coefficients_of_their_own():
    x = chains(5, 60, 4)
    waves = hgn.Torsion(1, types=2)

    def energy(x):
        first, second = (dihedral(*x[np.array(four)]) for four in QUADRUPLES)
        bends = [angle(x[i] - x[j], x[k] - x[j]) for i, j, k in TRIPLES]
        bending = 3 * jnp.cos(bends[0]) + (bends[1] - 2) ** 2 + (bends[2] - 2) ** 2
        return bending + 2 * jnp.cos(first) + 3 * jnp.sin(second)

    data = data_of(x, energy=energy)
    data = hgn.graphs.with_triples(data, TRIPLES, types=[1, 0, 0])
    data = hgn.graphs.with_quadruples(data, QUADRUPLES, types=[0, 1])
    terms = [hgn.Bending(32), waves]
    fit = hgn.fit(data, key=0, terms=terms, observations=[hgn.Forces()])
    assert np.allclose(fit.model.theta[1], [2, 0, 0, 3], rtol=0, atol=1e-7)
    bending, torsion = fit.model.terms
    bends = np.array([[angle(c[i] - c[j], c[k] - c[j]) for i, j, k in TRIPLES] for c in x])
    for range_, own in zip(bending.ranges, (bends[:, 1:], bends[:, 0])):
        assert np.allclose(range_, [own.min(), own.max()], rtol=1e-12)
    assert bending.groups(64) == (32, 32) and torsion.groups(4) == (2, 2)
    assert torsion.labels(2) == ("torsion 1 of type 0", "torsion 1 of type 1")
    assert "sin(1 phi) of type 1" in fit.law()
    low, high = np.quantile(bends[:, 0], [0.2, 0.7])
    ranges = jnp.array([[0, np.pi], [low, high]])
    narrow = eqx.tree_at(lambda term: term.ranges, bending, ranges)
    outside = (bends[:, 0] < low) | (bends[:, 0] > high)
    assert np.array_equal(narrow.out_of_range(data), outside)
    third = hgn.graphs.with_triples(data, TRIPLES, types=[0, 2, 2])
    assert np.array_equal(narrow.out_of_range(third), np.full(60, 2))
    for term in (hgn.Bending(8, types=2), bending):
        with pytest.raises(ValueError, match=r"Bending.types=2., but the data have triple_type 2"):
            term.resolve(third) if isinstance(term, hgn.Bending) else term.accepts(third)
    more = hgn.graphs.with_quadruples(data, QUADRUPLES, types=[0, 2])
    with pytest.raises(ValueError, match=r"Torsion.types=2., but the data have quadruple_type 2"):
        hgn.fit(more, key=0, terms=terms, observations=[hgn.Forces()])


def test_a_straight_angle_has_no_kink():
    """Bending about a straight line in the plane; at the line itself the force is zero."""

    def energy(x):
        a, b = x[0] - x[1], x[2] - x[1]
        return 5 * (1 + a @ b / jnp.linalg.norm(a) / jnp.linalg.norm(b))

    rng = np.random.default_rng(0)
    x = np.array([[-1.0, 0], [0, 0], [1, 0]]) + rng.uniform(-0.3, 0.3, (60, 3, 2))
    data = data_of(x, BONDS[:2], [(0, 1, 2)], [], energy)
    fit = hgn.fit(data, key=0, terms=[hgn.Bending(16)], observations=[hgn.Forces()])
    straight = data_of(np.array([[[-1.0, 0], [0, 0], [1, 0]]]), BONDS[:2], [(0, 1, 2)], [], energy)
    assert jnp.max(jnp.abs(fit.model.vector_field(straight)[1])) < 1e-12
    assert fit.model.out_of_range(straight)["bending"].shape == (1,)
    bent = data_of(np.array([[[-1.0, 0], [0, 0], [0, 1]]]), BONDS[:2], [(0, 1, 2)], [], energy)
    assert int(fit.model.out_of_range(bent)["bending"][0]) == 1


def test_rollouts_keep_the_energy_and_files_keep_the_model(fit, tmp_path):
    start = hgn.graphs.frame(data_of(chains(5, 1, 5)), 0)
    nodes = {k: v for k, v in start.nodes.items() if k not in ("velocity", "force")}
    start = start._replace(nodes=nodes | {"momentum": jnp.zeros_like(nodes["position"])})
    path = hgn.rollout(fit.model, start, [0.0, 1.0], dt=2e-3, integrator=hgn.KahanLi8())
    assert abs(path.energy[1] - path.energy[0]) < 1e-8 * abs(path.energy[0])
    hgn.save(tmp_path / "model", fit.model)
    again = hgn.load(tmp_path / "model")
    assert np.array_equal(eqx.filter_jit(again)(start), eqx.filter_jit(fit.model)(start))
    hgn.write(tmp_path / "data.npz", start)
    data = hgn.read(tmp_path / "data.npz")
    assert np.array_equal(data.nodes["triples"], start.nodes["triples"])


def test_sites_have_the_time_of_their_graph():
    data = hgn.graphs.with_triples(data_of(chains(5, 3, 6)), TRIPLES, slots=2)
    times = jnp.array([0.5, 1.5, 4.0])
    data = data._replace(globals={"time": times})
    for sites, count in ((hgn.sites.Triples(), 10), (hgn.sites.Quadruples(), 5),
                         (hgn.sites.Pairs(), 8), (hgn.sites.Positions(), 5)):  # fmt: skip
        assert np.array_equal(sites.of(data).site.time, np.repeat(times, count))


def test_padding_has_no_triples():
    bare = data_of(chains(5, 3, 7), triples=[], quadruples=[])
    sizes = {"n_node": 24, "n_edge": 40, "n_graph": 5}
    before = hgn.graphs.with_triples(pad(bare, **sizes), TRIPLES, types=[1, 0, 2])
    after = pad(hgn.graphs.with_triples(bare, TRIPLES, types=[1, 0, 2]), **sizes)
    for name in ("triples", "triple_type"):
        assert np.array_equal(before.nodes[name], after.nodes[name])


class Straightness(hgn.AbstractSiteEnergy):
    """The squared second difference along a triple."""

    name: ClassVar[str] = "straightness"
    sites: ClassVar[hgn.sites.AbstractSites] = hgn.sites.Triples()

    def phi(self, z, site):
        return jnp.sum(jnp.sum(z.reshape(2, -1), axis=0) ** 2)[None]


def test_a_users_term_on_triples_in_one_dimension():
    x = np.random.default_rng(0).normal(size=(10, 5, 1))
    data = data_of(x, quadruples=[], energy=lambda x: 3 * jnp.sum(jnp.diff(x, 2, axis=0) ** 2))
    fit = hgn.fit(data, key=0, terms=[Straightness()], observations=[hgn.Forces()])
    assert np.allclose(fit.model.theta[0], 3, rtol=1e-12)
    with pytest.raises(ValueError, match=r"Bending.. needs at least 2 dimensions"):
        hgn.fit(data, key=0, terms=[hgn.Bending()], observations=[hgn.Forces()])


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        ([(0, 1, 0)], r"triple 0 = \(0, 1, 0\) names a body twice"),
        ([(0, 1, 2), (2, 1, 0)], r"triple 1 = \(2, 1, 0\) is triple 0 again"),
        ([(3, 4, 5)], r"triples name body 5, but frame 0 has only 5 bodies"),
        ([(0, 1, -1)], r"triple 0 = \(0, 1, -1\) has a negative number"),
        ([(0, 1)], r"triples must be integers \[_ 3\]"),
        (np.zeros((1, 3)), r"triples must be integers \[_ 3\]"),
    ],
)
def test_bad_triples(triples, message):
    with pytest.raises(ValueError, match=message):
        hgn.graphs.with_triples(data_of(chains(5, 2, 0)), triples)


def test_bad_arrays_and_arguments():
    data = data_of(chains(5, 2, 0))
    for offset, message in (
        ((0, 0, 0, 7), "frame 0, node 0 has a triple with a body outside of its graph"),
        ((6, 0, 0, 0), "frame 1, node 1 has a triple that names a body twice"),
    ):
        bad = data.nodes["triples"].at[offset[:3]].set(offset[3])
        with pytest.raises(ValueError, match=message):
            hgn.check(data._replace(nodes=data.nodes | {"triples": bad}))
    with pytest.raises(ValueError, match="with_quadruples"):
        hgn.check(data._replace(nodes=data.nodes | {"quadruple_type": jnp.full((10, 1), -1)}))
    with pytest.raises(ValueError, match="slots=1, but body 1 needs 2"):
        hgn.graphs.with_triples(data, [(0, 1, 2), (0, 1, 3)], slots=1)
    with pytest.raises(ValueError, match="types must be one integer"):
        hgn.graphs.with_triples(data, TRIPLES, types=[0])
    with pytest.raises(ValueError, match="types must be one integer of at least 0"):
        hgn.graphs.with_triples(data, TRIPLES, types=[0, -1, 0])
    for term, arguments in (
        (hgn.Bending, {"units": 0}), (hgn.Bending, {"types": 0}),
        (hgn.Torsion, {"order": 0}), (hgn.Torsion, {"types": 0}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(arguments))):
            term(**arguments)
    bare = data._replace(nodes={k: data.nodes[k] for k in ("position", "force", "mass")})
    with pytest.raises(ValueError, match=r"Bending.. needs"):
        hgn.fit(bare, key=0, terms=[hgn.Bending()], observations=[hgn.Forces()])
    with pytest.raises(ValueError, match="quadruples"):
        hgn.fit(bare, key=0, terms=[hgn.Torsion()], observations=[hgn.Forces()])
