"""Models for other programs, against the models themselves.

bench/engines.py runs LAMMPS, OpenMM and jax-md.
"""

from typing import NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

import hgn_jax as hgn

CUTOFF = 2.5
SIDE = 5.2
SPECIES = np.array([8, 14] * 10)
PAIRS = ("O-O", "O-Si", "Si-Si")


def crystal(seed):
    """Atoms of two species near the sites of a lattice in a periodic box."""
    rng = np.random.default_rng(seed)
    sites = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)[:20]
    return (sites + 0.5) * SIDE / 3 + rng.uniform(-0.25, 0.25, (20, 3))


@pytest.fixture(scope="module")
def data():
    """Frames with the forces of Lennard-Jones potentials of different depth for each pair."""
    frames = [crystal(seed) for seed in range(12)]
    graphs = hgn.graphs.from_frames(
        frames,
        cutoff=CUTOFF,
        cell=[np.eye(3) * SIDE] * 12,
        nodes={"species": np.tile(SPECIES, 12), "mass": np.ones(240)},
    )
    depth = jnp.array([1.0, 2.0, 0.5])
    sums = np.isin(np.arange(40), (16, 22, 28)).cumsum() - 1
    kinds = sums[
        graphs.nodes["species"][graphs.senders] + graphs.nodes["species"][graphs.receivers]
    ]
    truth = hgn.systems.lennard_jones(sigma=1.3, epsilon=depth, cutoff=CUTOFF)
    typed = graphs._replace(edges=graphs.edges | {"type": jnp.asarray(kinds)})
    force = -truth.gradient(typed).position
    return graphs._replace(nodes=graphs.nodes | {"force": force})


@pytest.fixture(scope="module")
def model(data):
    terms = [hgn.Pair(32, cutoff=CUTOFF)]
    return hgn.fit(data, key=0, terms=terms, observations=[hgn.Forces()]).model


def test_a_table_is_the_learned_curve_and_its_force(model, tmp_path):
    path = tmp_path / "oxide.table"
    hgn.export.lammps_table(path, model, points=500)
    sections = path.read_text().split("# learned by hgn_jax")[1:]
    assert [s.splitlines()[1] for s in sections] == list(PAIRS)
    for kind, section in enumerate(sections):
        lines = section.splitlines()
        words = lines[2].split()
        number, r, energy, force = np.loadtxt(lines[4:], unpack=True)
        assert words[:3] == ["N", "500", "R"] and number.tolist() == list(range(1, 501))
        np.testing.assert_allclose([float(w) for w in words[3:]], r[[0, -1]], rtol=1e-11)
        np.testing.assert_allclose(r[[0, -1]], [model.pair_range(kind)[0], CUTOFF], rtol=1e-11)
        np.testing.assert_allclose(energy, model.pair_energy(jnp.asarray(r), kind), atol=1e-11)
        slope = CubicSpline(r, energy).derivative()(r)
        np.testing.assert_allclose(force[5:-5], -slope[5:-5], atol=1e-4 * np.abs(force).max())
        assert force[0] > 0 and energy[-1] == 0


def test_a_table_may_begin_nearer_than_training(model):
    assert hgn.export.pair_curves(model, least=1.0)[0].r[0] == 1.0
    with pytest.raises(ValueError, match=r"least must be between 0 and 2.5, got 3"):
        hgn.export.pair_curves(model, least=3.0)


def test_only_pairs_are_tabulated(data, model):
    with pytest.raises(ValueError, match=r"the model also has external"):
        terms = [hgn.Pair(4, cutoff=CUTOFF), hgn.External(4)]
        fit = hgn.fit(data, key=0, terms=terms, observations=[hgn.Forces()])
        hgn.export.pair_curves(fit.model)
    with pytest.raises(ValueError, match="the known System"):
        known = hgn.systems.lennard_jones(sigma=1.0, cutoff=CUTOFF)
        fit = hgn.fit(
            data, key=0, terms=list(model.terms), known=known, observations=[hgn.Forces()]
        )
        hgn.export.pair_curves(fit.model)


@pytest.fixture(scope="module")
def frame(data):
    return hgn.graphs.unbatch(data)[3]


def expected(model, frame):
    return model(frame)[0], model.vector_field(frame)[-1], model.virial(frame)[0]


def test_a_bundle_gives_energy_forces_and_virial_for_any_number_of_atoms(model, frame, tmp_path):
    path, nodes, edges = tmp_path / "oxide.bundle", 25, len(frame.senders) + 7
    hgn.export.bundle(path, model, nodes=nodes, edges=edges, platforms=("cpu",))
    function = jax.export.deserialize(bytearray(path.read_bytes()))
    # Entries beyond the counts are padding, whatever they hold.
    rng = np.random.default_rng(0)

    def padded(values, size):
        garbage = rng.integers(0, 3, (size - len(values), *np.shape(values)[1:]))
        return jnp.asarray(np.concatenate([values, garbage]), values.dtype)

    few = len(frame.senders)
    energy, force, virial = function.call(
        padded(frame.nodes["position"], nodes),
        padded(jnp.asarray(SPECIES, jnp.int32), nodes),
        jnp.eye(3) * SIDE,
        padded(frame.senders.astype(jnp.int32), edges),
        padded(frame.receivers.astype(jnp.int32), edges),
        padded(frame.edges["shift"].astype(jnp.int32), edges),
        jnp.int32(20),
        jnp.int32(few),
    )
    true = expected(model, frame)
    for found, value in zip((energy, force[:20], virial), true):
        np.testing.assert_allclose(found, value, atol=1e-12 * float(jnp.abs(value).max()))
    assert not np.any(force[20:])


class Sparse(NamedTuple):
    """The part of a jax-md neighbour list that energies read."""

    idx: jax.Array


def sparse(position, reach, capacity):
    """Pairs in both directions by nearest images; padding points to body n."""
    apart = position[:, None] - position[None]
    apart -= SIDE * np.round(apart / SIDE)
    near = (np.linalg.norm(apart, axis=2) < reach) & ~np.eye(len(position), dtype=bool)
    found = np.array(np.nonzero(near))
    padding = np.full((2, capacity - found.shape[1]), len(position))
    # Padding may stand anywhere.
    mixed = np.concatenate([padding[:, :3], found, padding[:, 3:]], axis=1)
    return Sparse(jnp.asarray(mixed))


@pytest.mark.parametrize(
    "box", [SIDE, np.full(3, SIDE), np.eye(3) * SIDE], ids=["side", "sides", "matrix"]
)
def test_an_energy_of_jax_md_has_the_models_energy_and_forces(model, frame, box):
    position = np.asarray(frame.nodes["position"])
    neighbor = sparse(position, CUTOFF + 0.05, 700)
    energy = jax.jit(hgn.export.jax_md_energy(model, box, species=SPECIES))
    value, slope = jax.value_and_grad(energy)(jnp.asarray(position), neighbor)
    true = expected(model, frame)
    np.testing.assert_allclose(value, true[0], rtol=1e-12)
    np.testing.assert_allclose(-slope, true[1], atol=1e-11 * float(jnp.abs(true[1]).max()))


def test_lists_and_boxes_that_would_give_wrong_energies_are_refused(model):
    with pytest.raises(ValueError, match=r"the box is 4.9 wide, less than twice .* cutoff 2.5"):
        hgn.export.jax_md_energy(model, 4.9)
    energy = hgn.export.jax_md_energy(model, SIDE, species=SPECIES)
    with pytest.raises(
        ValueError, match=r"idx of the neighbour list must be \[2 e\], got \(20, 7\)"
    ):
        energy(jnp.zeros((20, 3)), Sparse(jnp.zeros((20, 7), int)))
