"""Rollouts and data sets as files, and back: npz, H5MD, extended XYZ, ASE."""

import os

import ase.io
import chex
import h5py
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn

TIMES = 0.05 * np.arange(40)


@pytest.fixture(scope="module")
def start():
    """A chain of four atoms, in motion."""
    graph = hgn.graphs.chain(4, dimension=3)
    moving = 0.3 * jr.normal(jr.key(3), (4, 3))
    species = jnp.array([1, 6, 8, 0])
    return graph._replace(nodes=graph.nodes | {"momentum": moving, "species": species})


def rolled(springs, start, **options):
    return hgn.rollout(springs, start, TIMES, dt=0.01, integrator=hgn.KahanLi8(), **options)


@pytest.fixture(scope="module")
def path(springs, start):
    return rolled(springs, start, observables=[hgn.Temperature(), hgn.Momentum()])


@pytest.fixture(scope="module")
def crystal():
    """Frames of atoms in a skewed cell, with energies, forces and stresses, one without."""
    rng = np.random.default_rng(0)
    cell = np.array([[4.0, 0, 0], [0.3, 4.0, 0], [0, 0.2, 4.2]])
    nodes = {
        "species": np.full(8, 14),
        "mass": np.full(8, 28.085),
        "force": rng.normal(size=(8, 3)),
    }
    nodes["momentum"] = rng.normal(size=(8, 3))
    nodes["velocity"] = nodes["momentum"] / 28.085
    nodes["weight"] = np.repeat([1.0, 0.0], 4)
    stress = rng.normal(size=(2, 3, 3))
    globals_ = {
        "energy": np.array([1.5, 0.0]), "energy_weight": np.array([1.0, 0.0]),
        "stress": (stress + np.swapaxes(stress, 1, 2)) / 2,
    }  # fmt: skip
    frames = list(rng.uniform(0, 4, (2, 4, 3)))
    return hgn.graphs.from_frames(
        frames, cutoff=3.0, cell=[cell, 1.1 * cell], nodes=nodes, globals_=globals_
    )


def assert_equal(a, b):
    """Bitwise identical arrays under the same names."""
    chex.assert_trees_all_equal(a, b)
    chex.assert_trees_all_equal_dtypes(a, b)


# whole data sets


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_npz_holds_any_data_set_bit_for_bit(crystal, data, tmp_path, dtype):
    for k, whole in enumerate((crystal, hgn.graphs.take(data, np.arange(200) < 9))):
        cast = jax.tree.map(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a, whole)
        hgn.write(tmp_path / f"{k}.npz", cast)
        assert_equal(hgn.read(tmp_path / f"{k}.npz"), cast)
        second = hgn.read(tmp_path / f"{k}.npz", frames=slice(1, None))
        assert_equal(second, hgn.graphs.take(cast, np.arange(len(cast.n_node)) > 0))


@pytest.fixture(scope="module")
def trajectories(springs, start):
    """Two trajectories with rates, couplings and times of their own."""
    rng = np.random.default_rng(2)
    x = np.stack([rolled(springs, moved(start, k)).position for k in range(2)])
    times = np.stack([TIMES, TIMES + 3])
    return hgn.graphs.from_trajectories(
        times, x, mass=start.nodes["mass"], species=start.nodes["species"],
        edges=[(0, 1), (1, 2), (2, 3)], coupling=rng.normal(size=3), type=np.array([0, 1, 0]),
    )  # fmt: skip


def moved(start, k):
    return start._replace(nodes=start.nodes | {"momentum": (k + 1) * start.nodes["momentum"]})


def test_h5md_holds_trajectories_bit_for_bit(trajectories, tmp_path):
    hgn.write(tmp_path / "run.h5", trajectories)
    assert_equal(hgn.read(tmp_path / "run.h5"), trajectories)
    third = hgn.read(tmp_path / "run.h5", frames=slice(1, None), every=3)
    kept = np.arange(len(trajectories.n_node)) % 24 % 3 == 1
    assert_equal(third, hgn.graphs.take(trajectories, kept))


def test_xyz_holds_atoms_up_to_rounding(crystal, tmp_path):
    hgn.write(tmp_path / "si.xyz.gz", crystal)
    found = hgn.read(tmp_path / "si.xyz.gz", cutoff=3.0)
    energies = crystal.globals["energy"] * crystal.globals["energy_weight"]
    np.testing.assert_allclose(found.globals["energy"], energies, rtol=1e-14)
    labelled = np.asarray(crystal.nodes["weight"])[:, None] > 0
    np.testing.assert_array_equal(
        found.nodes["force"], np.asarray(crystal.nodes["force"]) * labelled
    )
    for name in ("position", "momentum", "mass", "weight", "species"):
        np.testing.assert_array_equal(found.nodes[name], crystal.nodes[name], err_msg=name)
    for name in ("stress", "cell"):
        np.testing.assert_allclose(found.globals[name], crystal.globals[name], rtol=1e-14)
    np.testing.assert_array_equal(found.edges["shift"], crystal.edges["shift"])


# rollouts


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".hdf5", ".h5md"])
def test_rollouts_are_read_as_trajectories(path, start, tmp_path, suffix):
    file = tmp_path / f"run{suffix}"
    hgn.write(file, path)
    states = hgn.read(file, rates=False)
    for name in ("position", "momentum"):
        np.testing.assert_array_equal(
            states.nodes[name], getattr(path, name).reshape(-1, 3), err_msg=name
        )
    np.testing.assert_array_equal(states.globals["energy"], path.energy)
    np.testing.assert_array_equal(states.globals["time"], TIMES)
    np.testing.assert_array_equal(states.nodes["species"][:4], start.nodes["species"])
    np.testing.assert_array_equal(states.senders[:6], start.senders)
    data = hgn.read(file)
    expected = hgn.graphs.from_trajectories(
        TIMES, path.position, momentum=path.momentum, mass=start.nodes["mass"],
        edges=[(0, 1), (1, 2), (2, 3)], species=start.nodes["species"],
    )  # fmt: skip
    for name in ("force", "velocity"):
        np.testing.assert_array_equal(data.nodes[name], expected.nodes[name])


def test_npz_names_what_was_observed(path, tmp_path):
    hgn.write(tmp_path / "run.npz", path)
    with np.load(tmp_path / "run.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["observed/momentum"], path.observed["momentum"])
        np.testing.assert_array_equal(file["momentum"], path.momentum)
        np.testing.assert_array_equal(file["energy"], path.energy)


@pytest.fixture(scope="module")
def pair(springs):
    """Two graphs of different size, rolled out together."""
    chains = [hgn.graphs.chain(3, dimension=2), hgn.graphs.chain(4, dimension=2)]
    both = hgn.graphs.batch(chains)
    moving = 0.3 * jr.normal(jr.key(5), (7, 2))
    return rolled(springs, both._replace(nodes=both.nodes | {"momentum": moving}))


def test_graphs_that_moved_together_are_trajectories_of_their_own(pair, tmp_path):
    hgn.write(tmp_path / "two.h5", pair)
    data = hgn.read(tmp_path / "two.h5", rates=False)
    assert data.n_node.tolist() == [3] * 40 + [4] * 40
    np.testing.assert_array_equal(data.nodes["position"][:120], pair.position[:, :3].reshape(-1, 2))
    np.testing.assert_array_equal(data.globals["energy"], pair.energy.T.ravel())
    with h5py.File(tmp_path / "two.h5") as file:
        second = file["particles/trajectory1/position/value"]
        np.testing.assert_array_equal(second, pair.position[:, 3:])
        assert file["observables/trajectory1/energy/value"].shape == (40,)
    for name, words in [("two.npz", "bodies or pairs of graph 1 differ"), ("two.xyz", "2 graphs")]:
        with pytest.raises(ValueError, match=words):
            hgn.write(tmp_path / name, pair)
    assert [f.name for f in tmp_path.iterdir()] == ["two.h5"]


def test_equal_graphs_share_one_npz(springs, start, tmp_path):
    both = hgn.graphs.batch([start, moved(start, 1)])
    path = rolled(springs, both)
    hgn.write(tmp_path / "two.npz", path)
    with np.load(tmp_path / "two.npz") as file:
        assert file["position"].shape == (2, 40, 4, 3) and file["energy"].shape == (2, 40)
    data = hgn.read(tmp_path / "two.npz", rates=False)
    np.testing.assert_array_equal(data.nodes["position"][160:], path.position[:, 4:].reshape(-1, 3))


def test_the_layout_is_that_of_h5md(path, start, tmp_path):
    units = {"length": "nm", "time": "ps", "mass": "u"}
    hgn.write(tmp_path / "run.h5", path, units=units)
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["h5md"].attrs["version"].tolist() == [1, 1]
        assert {"author", "creator"} <= file["h5md"].keys()
        group = file["particles/trajectory"]
        assert group["box"].attrs["dimension"] == 3
        assert list(group["box"].attrs["boundary"]) == ["none"] * 3
        np.testing.assert_array_equal(group["position/step"], np.arange(40))
        np.testing.assert_array_equal(group["momentum/time"], TIMES)
        assert group["momentum/time"] == group["position/time"]  # one dataset, linked
        found = {k: group[k].attrs["unit"] for k in ("position/value", "position/time", "mass")}
        assert list(found.values()) == ["nm", "ps", "u"]
        assert group["momentum/value"].attrs["unit"] == "u nm ps-1"
        assert file["observables/energy/value"].attrs["unit"] == "u nm+2 ps-2"
        assert file[file["connectivity/trajectory"].attrs["particles_group"]] == group
        assert file["connectivity/trajectory"][:].tolist() == [[0, 1], [1, 2], [2, 3]]


def test_periodic_rollouts_keep_their_cell_but_no_edges_of_the_start(tmp_path):
    cell = np.array([[4.5, 0, 0], [0.4, 4.5, 0], [0, 0, 4.5]])
    sites = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3) * 1.5
    graph = hgn.graphs.radius(sites, 2.0, cell=cell)
    moving = 0.3 * jr.normal(jr.key(1), (27, 3))
    path = hgn.rollout(
        hgn.systems.lennard_jones(cutoff=1.9),
        graph._replace(nodes=graph.nodes | {"momentum": moving}),
        hgn.Every(4, 30), dt=0.005, neighbours=hgn.Neighbours(1.9, 0.2),
    )  # fmt: skip
    hgn.write(tmp_path / "run.h5", path)
    with pytest.raises(ValueError, match=r"run\.h5: it does not say which bodies interact"):
        hgn.read(tmp_path / "run.h5", rates=False)
    data = hgn.read(tmp_path / "run.h5", edges=2.0, rates=False)
    hgn.check(data)
    np.testing.assert_array_equal(data.globals["cell"][7], cell)
    assert len(set(data.n_edge.tolist())) > 1
    assert path.to_ase()[3].cell[:].tolist() == cell.tolist()


def test_ase_gets_all_that_read_takes(path, tmp_path):
    atoms = path.to_ase()
    assert len(atoms) == 40 and atoms[0].get_chemical_symbols() == ["H", "C", "O", "X"]
    assert atoms[7].info["time"] == TIMES[7]
    np.testing.assert_array_equal(atoms[7].get_momenta(), path.momentum[7])
    potential = float(path.energy[7] - jnp.sum(path.momentum[7] ** 2) / 2)
    assert atoms[7].get_potential_energy() == pytest.approx(potential, abs=1e-14)
    hgn.write(tmp_path / "run.xyz", path)
    again = ase.io.read(tmp_path / "run.xyz", index=7)
    np.testing.assert_array_equal(again.positions, path.position[7])
    np.testing.assert_array_equal(again.get_momenta(), path.momentum[7])


def test_a_plane_lies_at_zero_height(pair):
    second = pair.to_ase()[1][5]
    np.testing.assert_array_equal(second.positions[:, :2], pair.position[5, 3:])
    assert not second.positions[:, 2].any() and not second.pbc.any()


# refusals


def test_what_cannot_be_written_is_refused(
    path, springs, start, tmp_path, monkeypatch, no_type_checks
):
    monkeypatch.chdir(tmp_path)
    few = hgn.graphs.batch([hgn.graphs.chain(2), hgn.graphs.chain(3)])
    without = rolled(springs, start, states=False)
    many = jax.vmap(lambda p: rolled(springs, start._replace(nodes=start.nodes | {"momentum": p})))
    several = many(jnp.stack([start.nodes["momentum"]] * 2))
    for arguments, words in [
        (("run.foo", path), r"run\.foo: unknown suffix '\.foo'; known are \.npz, \.h5"),
        (("run.npz.gz", path), "unknown suffix '.gz'"),
        (("run.h5", springs), "expected the result of a rollout, or a batch of graphs, got a"),
        ((path, "run.h5"), r'the path comes first: hgn\.write\("run\.h5", path\)'),
        (("few.h5", few), "the frames of trajectory 0 have 2 to 3 bodies"),
        (("run.xyz", without), "graph 0 holds no positions: roll out with states=True"),
        (("run.npz", several), "several rollouts in one, from vmap"),
    ]:
        with pytest.raises(ValueError, match=words):
            hgn.write(*arguments)
    assert not list(tmp_path.iterdir())
    for units, words in [
        ({"length": "nm", "time": "ps"}, "units must name length, time, mass; missing mass"),
        ({"length": "nm", "time": "ps", "mas": "u"}, "'mas' .did you mean 'mass'"),
        ({"length": "nm", "time": "nm", "mass": "u"}, "'nm' is no unit of time"),
        ({"length": "2 nm", "time": "ps", "mass": "u"}, "'2 nm' must be one unit of length"),
    ]:
        with pytest.raises(ValueError, match=words):
            hgn.write("run.h5", path, units=units)
    with pytest.raises(ValueError, match=r"units= are stated in H5MD, but \.npz has no place"):
        hgn.write("run.npz", path, units={"length": "nm", "time": "ps", "mass": "u"})


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".xyz"])
def test_existing_files_are_kept_unless_told_otherwise(path, tmp_path, suffix):
    file = tmp_path / f"run{suffix}"
    file.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"exists: give another path, or overwrite=True.*run"):
        hgn.write(file, path)
    assert file.read_bytes() == b"precious"
    hgn.write(file, path, overwrite=True)
    assert file.stat().st_size > 1000 and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".xyz"])
def test_folders_are_named_as_they_were_given(path, tmp_path, suffix, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"folder 'no/such' does not exist.*run\{suffix}"):
        hgn.write(f"no/such/run{suffix}", path)
    if os.getuid():  # root may write anywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(PermissionError, match="closed/run"):
            hgn.write(f"closed/run{suffix}", path)
