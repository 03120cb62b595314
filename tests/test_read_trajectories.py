"""Trajectories from npz, HDF5, tables and arrays, as one batch."""

import gzip

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.io import npz

TIMES = 0.1 * np.arange(40)
MASS = np.array([1.0, 2.0, 0.5])
PAIRS = [(0, 1), (1, 2)]


def motion(phase=0.0):
    """Positions and velocities `[t 3 2]` of three bodies."""
    angle = TIMES[:, None, None] * (1 + 0.3 * np.arange(3))[:, None] + np.arange(2) + phase
    return 2 * np.arange(3)[:, None] + 0.3 * np.sin(angle), (
        0.3 * (1 + 0.3 * np.arange(3))[:, None] * np.cos(angle)
    )


X, V = motion()


def expected(**options):
    arguments = {"mass": MASS, "edges": PAIRS} | options
    return hgn.graphs.from_trajectories(TIMES, X, **arguments)


def assert_same(found, wanted, rtol=0.0):
    for part in ("nodes", "edges", "globals"):
        a, b = getattr(found, part), getattr(wanted, part)
        assert a.keys() == b.keys(), part
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=rtol, atol=rtol, err_msg=name)
    for name in ("senders", "receivers", "n_node", "n_edge"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


# npz and arrays


@pytest.mark.parametrize("names", [("times", "position", "velocity"), ("T", "positions", "v"),
                                   ("time", "q", "velocities")])  # fmt: skip
def test_arrays_under_usual_names(tmp_path, names):
    arrays = dict(zip(names, (TIMES, X, V)))
    np.savez(tmp_path / "run.npz", **arrays, masses=MASS)
    wanted = expected(velocity=V)
    assert_same(hgn.read(tmp_path / "run.npz", edges=PAIRS), wanted)
    assert_same(hgn.read(arrays, edges=PAIRS, mass=MASS), wanted)


def test_arguments_win_over_the_file(tmp_path):
    np.savez(tmp_path / "run.npz", tt=TIMES, xx=X, mass=2 * MASS, edges=[(0, 2)], charge=[1, 2, -1])
    named = {"times": "tt", "position": "xx"}
    data = hgn.read(
        tmp_path / "run.npz", columns=named, mass=MASS, edges="all", coupling="charge", order=4
    )
    assert_same(
        data, expected(edges="all", coupling="charge", charge=np.array([1, 2, -1]), order=4)
    )
    held = hgn.read(tmp_path / "run.npz", columns=named)
    assert_same(held, expected(mass=2 * MASS, edges=[(0, 2)], charge=np.array([1, 2, -1])))


def test_several_trajectories_in_one_file_and_in_several(tmp_path):
    other, _ = motion(0.7)
    np.savez(tmp_path / "both.npz", t=TIMES, x=np.stack([X, other]))
    np.savez(tmp_path / "a.npz", t=TIMES, x=X)
    np.savez(tmp_path / "b.npz", t=TIMES, x=other)
    wanted = hgn.graphs.from_trajectories(TIMES, np.stack([X, other]), mass=1.0, edges=PAIRS)
    how = {"mass": 1.0, "edges": PAIRS}
    assert_same(hgn.read(tmp_path / "both.npz", **how), wanted)
    assert_same(hgn.read([tmp_path / "a.npz", tmp_path / "b.npz"], **how), wanted)
    every = hgn.read([tmp_path / "a.npz", tmp_path / "b.npz"], **how, every=2, rates=False)
    np.testing.assert_array_equal(every.globals["time"], np.tile(TIMES[::2], 2))
    first = hgn.read(tmp_path / "a.npz", **how, frames=slice(5, 30))
    part = hgn.graphs.from_trajectories(TIMES[5:30], X[5:30], mass=1.0, edges=PAIRS)
    assert_same(first, part)


def test_precision_can_be_chosen(tmp_path):
    np.savez(tmp_path / "run.npz", t=TIMES, x=X, v=V)
    data = hgn.read(tmp_path / "run.npz", mass=1.0, edges=2.5, dtype=np.float32)
    hgn.check(data)
    assert data.nodes["position"].dtype == data.nodes["force"].dtype == jnp.float32


@pytest.mark.parametrize(
    ("arrays", "how", "words"),
    [
        ({"a": X}, {}, r"no times and no position; it holds a\. Name them by columns="),
        ({"t": TIMES, "x": X}, {}, "it does not say which bodies interact: give edges="),
        ({"t": TIMES, "x": X}, {"edges": "all"}, "states no masses: give mass="),
        ({"t": TIMES[:9], "x": X}, {"edges": "all"}, r"times must be \[t\] = \(40,\)"),
        ({"t": TIMES, "x": X[0]}, {"edges": "all"}, r"position must be \[t n d\] or \[k t n d\]"),
        ({"t": TIMES, "x": X, "v": V[1:]}, {"edges": "all"}, "velocity must have the shape of po"),
        ({"t": TIMES, "x": X}, {"columns": {"positon": "x"}}, "'positon' .did you mean 'position'"),
        ({"t": TIMES, "x": X}, {"columns": {"position": "y"}}, "holds no 'y'; it holds t, x"),
        ({"t": TIMES, "x": X}, {"edges": "al", "mass": 1.0}, '"all" or a cutoff, got'),
        ({"t": TIMES, "x": np.where(X > 4, np.nan, X)}, {"edges": "all", "mass": 1.0},
         "NaN or Inf in trajectory 0, frame"),
        ({"t": TIMES, "x": X}, {"edges": "all", "mass": 1.0, "frames": slice(60, None)},
         "no frames are left"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_with_what_is_there(tmp_path, arrays, how, words):
    np.savez(tmp_path / "run.npz", **arrays)
    with pytest.raises(ValueError, match=rf"(?s)^(run\.npz|columns).*{words}"):
        hgn.read(tmp_path / "run.npz", **how)


def test_no_pickle_is_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return exec, ("raise SystemExit('code ran')",)

    np.savez(tmp_path / "trap.npz", t=TIMES, x=np.array([Trap()], object))
    (tmp_path / "bare.npz").write_bytes(np.array([Trap()], object).dumps())
    for name in ("trap.npz", "bare.npz"):
        with pytest.raises(ValueError, match=rf"{name}: holds Python objects .a pickle."):
            hgn.read(tmp_path / name, edges="all")


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".csv"])
def test_empty_truncated_and_absent_files_are_named(tmp_path, suffix):
    path = tmp_path / f"run{suffix}"
    with pytest.raises(FileNotFoundError, match="run"):
        hgn.read(path, edges="all")
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"run\{suffix}.*empty"):
        hgn.read(path, edges="all")
    if suffix == ".csv":
        packed = tmp_path / "run.csv.gz"
        packed.write_bytes(gzip.compress(b"time,x1\n" + b"1,2\n" * 2000)[:-30])
        with pytest.raises(ValueError, match=r"run\.csv\.gz.*is the file truncated"):
            hgn.read(packed, edges="all")
        return
    hgn.write(path, expected(), overwrite=True)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=rf"run\{suffix}.*truncated"):
        hgn.read(path, edges="all")


# arguments of the other kind of file


def test_arguments_of_the_other_kind_are_named(tmp_path):
    (tmp_path / "a.xyz").write_text("1\nenergy=1 pbc=F\nH 0 0 0\n")
    np.savez(tmp_path / "run.npz", t=TIMES, x=X)
    hgn.write(tmp_path / "data.npz", expected())
    for name, how, words in [
        (
            "a.xyz",
            {"cutoff": 2.0, "mass": 1.0},
            r"^mass=: for trajectories of bodies only, but .*a\.xyz",
        ),
        (
            "a.xyz",
            {"cutoff": 2.0, "rates": False, "units": "si"},
            "^units=, rates=.*leave them out",
        ),
        ("a.xyz", {"edges": "all"}, "atoms are joined by a cutoff, .* got 'all'"),
        ("a.xyz", {}, "give cutoff=5.0"),
        ("run.npz", {"forces": "f"}, "^forces=: for frames of atoms only"),
        ("run.npz", {"cutoff": 2.0, "edges": "all"}, "give cutoff= or edges="),
        ("data.npz", {"edges": "all"}, "^edges=: .* holds a whole data set with its edges"),
    ]:
        with pytest.raises(ValueError, match=words):
            hgn.read(tmp_path / name, **how)
    for sources in (["a.xyz", "run.npz"], ["run.npz", "a.xyz"], ["run.npz", "data.npz"]):
        with pytest.raises(ValueError, match="on its own"):
            how = {"cutoff": 2.0} if sources[0] == "a.xyz" else {"edges": "all"}
            hgn.read([tmp_path / s for s in sources], **how)
    for wrong in (X, [X], 3.0):
        with pytest.raises(ValueError, match=r"expected (a path|arrays by name)"):
            hgn.read(wrong, edges="all")


# HDF5


def test_any_hdf5_file_whose_arrays_are_named(tmp_path):
    with h5py.File(tmp_path / "lab.h5", "w") as file:
        file["camera/tracks"], file["camera/clock"], file["note"] = X, TIMES, "ok"
    named = {"position": "camera/tracks", "times": "camera/clock"}
    data = hgn.read(tmp_path / "lab.h5", columns=named, mass=MASS, edges=PAIRS)
    assert_same(data, expected())
    with pytest.raises(ValueError, match=r"lab\.h5: found no times.*camera/clock, camera/tracks"):
        hgn.read(tmp_path / "lab.h5", mass=MASS, edges=PAIRS)


def md_file(path, boundary="periodic"):
    """A file as molecular dynamics writes it: units, wrapped atoms, a box that is a vector."""
    with h5py.File(path, "w") as file:
        file.create_group("h5md").attrs["version"] = [1, 1]
        group = file.create_group("particles/all")
        box = group.create_group("box")
        box.attrs["dimension"], box.attrs["boundary"] = 3, [boundary] * 3
        box["edges/value"] = np.full((40, 3), 3.0)
        x = np.concatenate([X, X[..., :1]], axis=2)
        for name, values, unit in [("position", x % 3, "nm"), ("force", 0 * x, "kJ mol-1 nm-1")]:
            group[f"{name}/value"], group[f"{name}/step"] = values, np.arange(40)
            group[f"{name}/value"].attrs["unit"] = unit
            group[f"{name}/time"] = 0.1
            group[f"{name}/time"].attrs.update(unit="ps", offset=5.0)
        box["edges/value"].attrs["unit"] = "nm"
        group["mass"] = MASS
        group["mass"].attrs["unit"] = "u"
        group["species"] = np.array([1, 6, 8])
    return x


def test_files_of_molecular_dynamics_with_units(tmp_path):
    x = md_file(tmp_path / "md.h5md")
    data = hgn.read(tmp_path / "md.h5md", cutoff=1.4, rates=False)
    hgn.check(data)
    np.testing.assert_allclose(data.nodes["position"][:3], x[0] % 3, rtol=1e-14)
    np.testing.assert_allclose(data.globals["time"], 5 + TIMES)
    np.testing.assert_array_equal(data.globals["cell"][3], 3 * np.eye(3))
    steps = np.diff(data.nodes["position"].reshape(-1, 3, 3), axis=0)
    np.testing.assert_allclose(steps, np.diff(x, axis=0), atol=1e-13)  # unwrapped
    assert data.nodes["species"][:3].tolist() == [1, 6, 8]


@pytest.mark.parametrize("units", ["si", "ase", {"length": "A", "time": "fs", "mass": "g"}])
def test_units_are_converted(tmp_path, units):
    x = md_file(tmp_path / "md.h5md", boundary="none")
    with h5py.File(tmp_path / "md.h5md", "a") as file:
        file["particles/all/force/value"][:] = 1.0
    sizes = {"si": (1, 1, 1), "ase": (1e-10, 1.018050571e-14, 1.66053906660e-27)}
    length, time, mass = sizes[units] if isinstance(units, str) else (1e-10, 1e-15, 1e-3)
    data = hgn.read(tmp_path / "md.h5md", edges="all", units=units)
    frames = np.asarray(data.nodes["position"]).reshape(-1, 3, 3)
    np.testing.assert_allclose(frames, (x % 3)[4:-4] * 1e-9 / length, rtol=1e-12)
    np.testing.assert_allclose(data.nodes["mass"][:3], MASS * 1.66053906660e-27 / mass, rtol=1e-9)
    np.testing.assert_allclose(data.globals["time"], (5 + TIMES[4:-4]) * 1e-12 / time, rtol=1e-8)
    newton = 1e3 / 6.02214076e23 / 1e-9  # kJ / mol / nm
    np.testing.assert_allclose(data.nodes["force"], newton / (mass * length / time**2), rtol=1e-8)


def test_units_that_are_not_stated_or_known_are_refused(tmp_path):
    np.savez(tmp_path / "run.npz", t=TIMES, x=X)
    with pytest.raises(ValueError, match=r"run\.npz: units= converts, but no unit of times"):
        hgn.read(tmp_path / "run.npz", units="si", mass=1.0, edges="all")
    md_file(tmp_path / "md.h5")
    for unit, words in [("furlong", "unknown unit 'furlong'"), ("ps", "'ps' is no unit of posit")]:
        with h5py.File(tmp_path / "md.h5", "a") as file:
            file["particles/all/position/value"].attrs["unit"] = unit
        with pytest.raises(ValueError, match=rf"md\.h5: .*{words}"):
            hgn.read(tmp_path / "md.h5", units="si", edges=1.4)
    with pytest.raises(ValueError, match='units must be "ase", "si" or'):
        hgn.read(tmp_path / "md.h5", units="lj", edges=1.4)


def test_forces_in_units_that_do_not_go_with_lengths_and_times_are_refused(tmp_path):
    """MDAnalysis writes A, ps and kJ/mol/A, in which a force is 100 u times an acceleration."""
    md_file(tmp_path / "md.h5md")
    with h5py.File(tmp_path / "md.h5md", "r+") as file:
        force = file["particles/all/force/value"]
        force[...] = 3.0
        force.attrs["unit"] = "kJ mol-1 Angstrom-1"
        del file["particles/all/mass"].attrs["unit"]
    with pytest.raises(
        ValueError,
        match=r"md\.h5md: force in kJ mol-1 Angstrom-1 does not go with position in nm, times in",
    ):
        hgn.read(tmp_path / "md.h5md", edges=1.4)
    with h5py.File(tmp_path / "md.h5md", "r+") as file:
        file["particles/all/mass"].attrs["unit"] = "u"
    data = hgn.read(
        tmp_path / "md.h5md", edges=1.4, units={"length": "nm", "time": "ps", "mass": "u"}
    )
    np.testing.assert_allclose(data.nodes["force"], 30.0, rtol=1e-8)


def test_what_h5md_allows_and_trajectories_do_not(tmp_path):
    def changed(name, change):
        md_file(tmp_path / "md.h5")
        with h5py.File(tmp_path / "md.h5", "a") as file:
            change(file["particles/all"])
        with pytest.raises(ValueError, match=rf"md\.h5: .*{name}"):
            hgn.read(tmp_path / "md.h5", edges=1.4)

    def later(group):
        del group["force/step"]
        group["force/step"] = np.arange(40) + 1

    def growing(group):
        group["box/edges/value"][3:] = 3.1

    def partly(group):
        group["box"].attrs["boundary"] = ["periodic", "none", "none"]

    def bare(group):
        del group["position"]

    changed("force was recorded at other times than position", later)
    changed("its cell changes with time", growing)
    changed("periodic along some axes only", partly)
    changed("no group of particles has a position; it holds particles/all/box/edges/value", bare)


def test_moving_cells_of_several_trajectories_in_npz():
    cells = np.arange(1, 241.0).reshape(2, 30, 2, 2)
    arrays = {"times": TIMES[:30], "position": np.stack([X[:30], X[10:]]), "cell": cells}
    two = npz.trajectories("run.npz", arrays, slice(None, None, 3))
    for k in (0, 1):
        np.testing.assert_array_equal(two[k].cell, cells[k, ::3])
    one = {"times": TIMES[:30], "position": X[:30], "cell": cells[0]}
    (only,) = npz.trajectories("run.npz", one, slice(5, None))
    np.testing.assert_array_equal(only.cell, cells[0, 5:])
    (fixed,) = npz.trajectories("run.npz", one | {"cell": cells[0, 0]}, slice(5, None))
    np.testing.assert_array_equal(fixed.cell, cells[0, 0])
