"""Configurations of atoms from extended XYZ files and from ASE's Atoms, as one batch."""

import gzip
import logging
import lzma

import ase
import ase.build
import ase.io
import ase.units
import jax.numpy as jnp
import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.neighborlist import neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress

import hgn_jax as hgn
from hgn_jax.io.elements import MASSES, NUMBERS, SYMBOLS

CUTOFF = 4.2


def crystal(seed=0, symbol="Cu", repeat=2):
    """A strained face-centred crystal of primitive cells, shaken."""
    atoms = ase.build.bulk(symbol, "fcc", a=3.7) * (repeat, 1, 1)
    atoms.rattle(0.05, seed=seed)
    rng = np.random.default_rng(seed)
    atoms.set_cell(atoms.cell @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
    return atoms


def labelled(atoms):
    """The atoms with results of EMT, like those that ASE reads from a file."""
    known = atoms.copy()
    known.calc = EMT()
    results = {
        "energy": known.get_potential_energy(),
        "forces": known.get_forces(apply_constraint=False),
        "stress": known.get_stress(apply_constraint=False),
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture(scope="module")
def frames():
    return [labelled(crystal(seed, repeat=1 + seed % 3)) for seed in range(5)]


def assert_same(a, b, **how):
    for part in ("nodes", "edges", "globals"):
        assert getattr(a, part).keys() == getattr(b, part).keys()
        for name, array in getattr(a, part).items():
            np.testing.assert_allclose(array, getattr(b, part)[name], err_msg=name, **how)
    np.testing.assert_array_equal(a.senders, b.senders)
    np.testing.assert_array_equal(a.receivers, b.receivers)


def test_elements_are_those_of_ase():
    from ase.data import atomic_masses, chemical_symbols

    assert ["X", *SYMBOLS] == chemical_symbols and NUMBERS["Si"] == 14
    np.testing.assert_allclose(MASSES, atomic_masses[1:])


def test_atoms_become_a_batch_with_their_labels(frames):
    data = hgn.read(frames, cutoff=CUTOFF)
    hgn.check(data)
    assert set(data.nodes) == {"position", "species", "mass", "force"}
    assert set(data.globals) == {"cell", "energy", "stress"}
    assert data.n_node.tolist() == [len(a) for a in frames]
    np.testing.assert_array_equal(data.nodes["species"], 29)
    np.testing.assert_allclose(data.nodes["mass"], frames[0].get_masses()[0])
    np.testing.assert_array_equal(
        data.nodes["position"], np.concatenate([a.positions for a in frames])
    )
    np.testing.assert_array_equal(
        data.nodes["force"], np.concatenate([a.calc.results["forces"] for a in frames])
    )
    for atoms, energy, stress, cell in zip(
        frames, *(data.globals[k] for k in ("energy", "stress", "cell"))
    ):
        assert energy == atoms.calc.results["energy"]
        np.testing.assert_allclose(
            full_3x3_to_voigt_6_stress(stress), atoms.calc.results["stress"], atol=1e-15
        )
        np.testing.assert_array_equal(cell, atoms.cell)


def test_the_stress_is_the_energys_derivative_by_strain_over_the_volume(frames):
    """Finite differences of EMT's energy: sign and scale of what is read."""
    atoms, h = frames[1], 1e-5
    stress = hgn.read(atoms, cutoff=CUTOFF).globals["stress"][0]

    def energy(strain):
        moved = atoms.copy()
        moved.set_cell(moved.cell @ (np.eye(3) + strain), scale_atoms=True)
        moved.calc = EMT()
        return moved.get_potential_energy()

    for i, j in [(0, 0), (1, 2)]:
        strain = np.zeros((3, 3))
        strain[i, j] = h
        slope = (energy(strain) - energy(-strain)) / (2 * h * atoms.get_volume())
        assert stress[i, j] == pytest.approx(slope, abs=1e-7)


def test_edges_are_those_of_ases_neighbour_list(frames):
    for atoms in frames[:3]:
        data = hgn.read(atoms, cutoff=CUTOFF)
        i, j, shift = neighbor_list("ijS", atoms, CUTOFF)
        expected = sorted(zip(i.tolist(), j.tolist(), map(tuple, shift.tolist())))
        found = zip(data.senders.tolist(), data.receivers.tolist(),
                    map(tuple, data.edges["shift"].tolist()))  # fmt: skip
        assert sorted(found) == expected
    assert any(i == j for i, j in zip(data.senders.tolist(), data.receivers.tolist()))


@pytest.mark.parametrize("suffix", [".xyz", ".extxyz", ".xyz.gz", ".extxyz.xz", ".XYZ"])
def test_files_hold_what_was_written(frames, tmp_path, suffix):
    path = tmp_path / ("copper" + suffix)
    ase.io.write(path, frames, format="extxyz")
    assert_same(hgn.read(path, cutoff=CUTOFF), hgn.read(frames, cutoff=CUTOFF), atol=1e-7)
    assert_same(hgn.read(str(path), cutoff=CUTOFF), hgn.read([path], cutoff=CUTOFF))


def test_frames_are_chosen_by_slice_and_step(frames, tmp_path):
    path = tmp_path / "copper.xyz"
    ase.io.write(path, frames)
    for how, picked in [
        ({"every": 2}, frames[::2]),
        ({"frames": slice(1, 4)}, frames[1:4]),
        ({"frames": slice(1, None), "every": 3}, frames[1::3]),
    ]:
        expected = hgn.read(picked, cutoff=CUTOFF)
        assert_same(hgn.read(path, cutoff=CUTOFF, **how), expected, atol=1e-7)
        assert_same(hgn.read(frames, cutoff=CUTOFF, **how), expected)
        assert_same(hgn.read(iter(frames), cutoff=CUTOFF, **how), expected)
    both = hgn.read([path, path], cutoff=CUTOFF)
    assert both.n_node.tolist() == 2 * [len(a) for a in frames]
    with pytest.raises(ValueError, match="not count from the end"):
        hgn.read(path, cutoff=CUTOFF, frames=slice(-2, None))
    with pytest.raises(ValueError, match="no frames in"):
        hgn.read(path, cutoff=CUTOFF, frames=slice(9, None))


def test_constrained_atoms_keep_their_forces(frames, tmp_path):
    atoms = frames[2].copy()
    atoms.set_constraint(FixAtoms([0]))
    labelled(atoms)
    path = tmp_path / "fixed.xyz"
    ase.io.write(path, atoms, columns=["symbols", "positions", "move_mask", "forces"])
    for source in (atoms, path):
        force = hgn.read(source, cutoff=CUTOFF).nodes["force"]
        np.testing.assert_allclose(force, frames[2].calc.results["forces"], atol=1e-7)
    assert np.abs(force[0]).max() > 0.01 and not atoms.get_forces()[0].any()


TWO = """2
Lattice="6 0 0 0 6 0 0 0 6" {header}
Si 0.1 0 0 {a}
Si 2.4 0 0.5 {b}
"""


def written(tmp_path, header, a="", b="", properties="", text=TWO):
    path = tmp_path / "two.xyz"
    if properties:
        header += f" Properties=species:S:1:pos:R:3:{properties}"
    path.write_text(text.format(header=header, a=a, b=b))
    return path


@pytest.mark.parametrize("key", ["energy", "REF_energy", "dft_energy", "DFT-energy", "free_energy",
                                 "TotEnergy", "total_energy", "energy_ref"])  # fmt: skip
@pytest.mark.parametrize("column", ["forces", "force", "REF_forces", "dft_force", "DFT_forces"])
def test_labels_under_common_names_are_found(tmp_path, key, column):
    path = written(tmp_path, f"{key}=-3.5", "1 2 3", "-1 -2 -3", f"{column}:R:3")
    data = hgn.read(path, cutoff=3.0)
    assert data.globals["energy"].tolist() == [-3.5]
    assert data.nodes["force"].tolist() == [[1, 2, 3], [-1, -2, -3]]


def test_labels_under_any_name_can_be_named(tmp_path):
    path = written(tmp_path, "energy=1 mine=2", "1 2 3 4 5 6", "0 0 0 0 0 0", "forces:R:3:pull:R:3")
    data = hgn.read(path, cutoff=3.0, energy="mine", forces="pull")
    assert data.globals["energy"] == 2 and data.nodes["force"][0].tolist() == [4, 5, 6]
    with pytest.raises(ValueError, match=r"no frame has the key 'ours'.*'energy', 'mine'.*'pull'"):
        hgn.read(path, cutoff=3.0, energy="ours")


def test_explicit_references_come_before_what_some_calculator_left(tmp_path):
    data = hgn.read(written(tmp_path, "energy=1 REF_energy=2"), cutoff=3.0)
    assert data.globals["energy"] == 2


MATRIX = np.array([[1.0, 0.4, 0.5], [0.4, 2.0, 0.6], [0.5, 0.6, 3.0]])
VOLUME = 216.0


@pytest.mark.parametrize(
    ("header", "how", "scale"),
    [
        ('stress="1 .4 .5 .4 2 .6 .5 .6 3"', {}, 1),
        ('stress="1 2 3 .6 .5 .4"', {}, 1),
        ('stress="1 2 3 .6 .5 .4"', {"stress_sign": -1}, -1),
        ('stress="1 2 3 .6 .5 .4"', {"stress_unit": "GPa"}, ase.units.GPa),
        ('virial="1 .4 .5 .4 2 .6 .5 .6 3"', {}, -1 / VOLUME),
        ('REF_virials="1 .4 .5 .4 2 .6 .5 .6 3"', {}, -1 / VOLUME),
        ('virial="1 2 3 .6 .5 .4"', {"stress_sign": 1}, 1 / VOLUME),
        ('vasp_stress_kbar="1 2 3 .4 .6 .5"', {}, -0.1 * ase.units.GPa),
        (
            's="1 2 3 .4 .6 .5"',
            {
                "stress": "s",
                "stress_unit": "kbar",
                "stress_sign": -1,
                "stress_order": "xx yy zz xy yz zx",
            },
            -0.1 * ase.units.GPa,
        ),
    ],
)
def test_stresses_in_all_their_formats(tmp_path, header, how, scale):
    data = hgn.read(written(tmp_path, header), cutoff=3.0, **how)
    np.testing.assert_allclose(data.globals["stress"][0], scale * MATRIX, rtol=1e-7)


def test_a_virial_of_ase_atoms(frames):
    atoms = frames[0].copy()
    stress = frames[0].get_stress(voigt=False)
    atoms.info["virial"] = -stress * atoms.get_volume()
    np.testing.assert_allclose(hgn.read(atoms, cutoff=CUTOFF).globals["stress"][0], stress)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"stress_unit": "bar"}, "stress_unit must be one of"),
        ({"stress_sign": 2}, "stress_sign must be 1"),
        ({"stress_order": "xx yy zz xy xy xz"}, "stress_order must hold each"),
    ],
)
def test_unknown_stress_formats_are_refused(tmp_path, how, words):
    path = written(tmp_path, 'stress="1 2 3 4 5 6"')
    with pytest.raises(ValueError, match=words):
        hgn.read(path, cutoff=3.0, **how)


def test_missing_labels_have_weight_zero(frames):
    bare, forces_only = frames[0].copy(), frames[1].copy()
    forces_only.arrays["forces"] = frames[1].calc.results["forces"]
    data = hgn.read([frames[2], bare, forces_only], cutoff=CUTOFF)
    hgn.check(data)
    assert data.globals["energy_weight"].tolist() == [1, 0, 0]
    assert data.globals["stress_weight"].tolist() == [1, 0, 0]
    sizes = [len(frames[2]), len(bare), len(forces_only)]
    np.testing.assert_array_equal(data.nodes["weight"], np.repeat([1.0, 0, 1], sizes))
    assert not data.globals["energy"][1:].any() and not data.globals["stress"][1:].any()
    np.testing.assert_array_equal(data.nodes["force"][-len(forces_only):],
                                  forces_only.arrays["forces"])  # fmt: skip
    words = hgn.describe(data)
    assert "energy in 1 of 3 frames" in words and "force in 2 of 3 frames" in words


def test_nothing_to_learn_from_lists_the_keys(tmp_path):
    path = written(tmp_path, "stepnumber=3", "1", "2", "charge:R:1")
    with pytest.raises(ValueError, match=r"no energies.*\['stepnumber'\].*\['charge'\]"):
        hgn.read(path, cutoff=3.0)
    assert set(hgn.read(path, cutoff=3.0, labels=False).nodes) == {"position", "species", "mass"}


def test_what_was_found_is_said(frames, caplog):
    with caplog.at_level(logging.INFO, logger="hgn_jax"):
        data = hgn.read(frames, cutoff=CUTOFF)
    assert "read 5 frames of 9 atoms" in caplog.text and "'force': 'forces'" in caplog.text
    assert hgn.describe(data).splitlines() == [
        f"5 frames, 9 bodies (1 to 3 in a frame), {len(data.senders)} edges",
        "species: 9 of 29",
        "energy in all frames",
        "stress in all frames",
        "force in all frames",
        "no velocity",
        "other arrays: mass, cell, shift",
    ]


def test_momenta_make_the_energy_a_hamiltonian(frames, tmp_path):
    atoms = frames[2].copy()
    atoms.set_momenta(np.random.default_rng(0).normal(size=(len(atoms), 3)))
    labelled(atoms)
    data = hgn.read([frames[0], atoms], cutoff=CUTOFF)
    kinetic = atoms.get_kinetic_energy()
    np.testing.assert_allclose(
        data.globals["energy"],
        [a.get_potential_energy() + k for a, k in ((frames[0], 0), (atoms, kinetic))],
    )
    np.testing.assert_array_equal(data.nodes["momentum"][1:], atoms.get_momenta())
    np.testing.assert_allclose(data.nodes["velocity"][1:], atoms.get_velocities())
    assert not data.nodes["momentum"][0].any()
    text = "1\nProperties=species:S:1:pos:R:3:masses:R:1:velocities:R:3 energy=1 pbc=F\n"
    (tmp_path / "one.xyz").write_text(text + "H 0 0 0 2 3 0 0\n")
    data = hgn.read(tmp_path / "one.xyz", cutoff=1.0)
    assert data.nodes["momentum"].tolist() == [[6, 0, 0]] and data.nodes["mass"].tolist() == [2]
    assert data.globals["energy"] == 1 + 9


def test_zero_momenta_are_none(frames):
    atoms = frames[2].copy()
    atoms.set_momenta(np.zeros((len(atoms), 3)))
    assert "momentum" not in hgn.read(labelled(atoms), cutoff=CUTOFF).nodes


def water(shift=0.0):
    atoms = ase.build.molecule("H2O")
    atoms.positions += shift
    return atoms


def test_molecules_have_no_cell(tmp_path):
    atoms = water()
    atoms.info["energy"] = 1.0
    atoms.set_cell([50.0] * 3)
    data = hgn.read(atoms, cutoff=1.2)
    assert "cell" not in data.globals and not data.edges
    assert sorted(data.nodes["species"].tolist()) == [1, 1, 8]
    assert len(data.senders) == 4


def test_molecules_beside_crystals_get_a_cell_that_no_pair_reaches_across(frames):
    atoms = water(shift=30.0)
    atoms.info["energy"] = 1.0
    atoms.set_cell([0.1] * 3)
    data = hgn.read([frames[0], atoms], cutoff=CUTOFF)
    hgn.check(data)
    assert data.n_edge.tolist()[1] == 6  # all three pairs, no images
    assert data.globals["stress_weight"].tolist() == [1, 0]


@pytest.mark.parametrize("vacuum", [None, 3.0, 12.0])
def test_slabs_are_joined_along_their_periods_only(vacuum):
    slab = ase.build.fcc111("Cu", (2, 2, 3), a=3.6, vacuum=vacuum)
    assert slab.pbc.tolist() == [True, True, False]
    slab.calc = EMT()
    slab.get_potential_energy()
    data = hgn.read(slab, cutoff=5.0)
    hgn.check(data)
    assert len(data.senders) == len(neighbor_list("i", slab, 5.0))
    assert not data.edges["shift"][:, 2].any()


def test_the_stress_of_a_slab_keeps_its_virial():
    """Its cell is enlarged; a model is fitted to stress times volume."""
    slab = labelled(ase.build.fcc111("Cu", (2, 2, 3), a=3.65, vacuum=1.0, periodic=False))
    slab.positions[0] += 0.1
    labelled(slab)
    data = hgn.read(slab, cutoff=5.0)
    volume = np.linalg.det(data.globals["cell"][0])
    assert volume > 1.2 * slab.get_volume()
    np.testing.assert_allclose(
        volume * data.globals["stress"][0], slab.get_volume() * slab.get_stress(voigt=False)
    )


def test_lone_atoms_have_no_edges(tmp_path):
    path = tmp_path / "alone.xyz"
    path.write_text('1\nenergy=-13.5 pbc="F F F"\nH 0 0 0\n')
    data = hgn.read(path, cutoff=5.0)
    hgn.check(data)
    assert data.n_edge.tolist() == [0] and data.nodes["position"].shape == (1, 3)


def test_a_cell_smaller_than_the_cutoff_has_all_images():
    atoms = labelled(ase.build.bulk("Cu", "fcc", a=3.6))
    data = hgn.read(atoms, cutoff=3.6 * 1.001)
    assert data.n_edge.tolist() == [12 + 6]


def test_ten_thousand_atoms():
    atoms = ase.build.bulk("Cu", "fcc", a=3.6, cubic=True) * (14, 14, 13)
    atoms.info["energy"] = 0.0
    data = hgn.read(atoms, cutoff=3.0)
    assert len(atoms) == 10192 and data.n_edge.tolist() == [12 * 10192]


def test_precision_can_be_chosen(frames):
    data = hgn.read(frames, cutoff=CUTOFF, dtype=np.float32)
    hgn.check(data)
    floats = [a.dtype for a in (*data.nodes.values(), *data.globals.values())]
    assert set(floats) == {jnp.dtype("float32"), jnp.dtype("int32")}
    assert_same(data, hgn.read(frames, cutoff=CUTOFF), rtol=1e-5, atol=1e-5)


GOOD = '1\nLattice="3 0 0 0 3 0 0 0 3" energy=1\nSi 0 0 0\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + '2\nLattice="3 0 0 0 3 0 0 0 3" energy=1\nSi 0 0 0\n', "ends after 1 of 2 atoms"),
        (GOOD + '1\nLattice="3 0 0 0 3 0 0 0 3" energy=1\nSi 0 0\n', "atom 0 has 3 columns, exp"),
        (GOOD + "1\n", "the file ends after 0 of 1 atoms"),
        (GOOD + "Si 0 0 0\n", "expected a number of atoms, found 'Si 0 0 0'"),
        (GOOD + "0\nenergy=1\n", "expected a number of atoms"),
        (GOOD + "1\nenergy=1\nXx 0 0 0\n", "atom 0 is of the unknown species 'Xx'"),
        (GOOD + "1\nenergy=1\n119 0 0 0\n", "atomic number 119, which is no element"),
        (GOOD + "1\nenergy=1\nSi nan 0 0\n", "positions is NaN or Inf"),
        (GOOD + "1\nenergy=inf\nSi 0 0 0\n", "energy is NaN or Inf"),
        (GOOD + "1\nenergy=low\nSi 0 0 0\n", "energy must be numbers, got 'low'"),
        (GOOD + "1\nenergy=1\nSi 0 0 a\n", "column 'pos'"),
        (GOOD + '1\nLattice="3 0 0 0 3 0 0 0 0" energy=1\nSi 0 0 0\n', "cell is singular"),
        (GOOD + '1\nLattice="3 0 0 0 3 0 3 3 0" energy=1\nSi 0 0 0\n', "cell is singular"),
        (GOOD + '1\nLattice="3 0 0 0 3 0" energy=1\nSi 0 0 0\n', r"Lattice must have shape \(3, 3"),
        (GOOD + '2\nLattice="3 0 0 0 3 0 0 0 3" energy=1\nSi 0 0 0\nSi 0 3 0\n',
         "atoms 0 and 1 are at the same position"),
        (GOOD + '1\nLattice="3 0 0 0 3 0 0 0 3" pbc="T T" energy=1\nSi 0 0 0\n', "pbc must be"),
        (GOOD + '1\nProperties=species:S:1:pos:R energy=1\nSi 0 0 0\n', "cannot read Properties"),
        (GOOD + '1\nProperties=species:S:1:x:R:3 energy=1\nSi 0 0 0\n', "must name species"),
        (GOOD + '1\nstress="1 2 3 4" energy=1\nSi 0 0 0\n', r"stress must have shape \(3, 3\)"),
    ],
)  # fmt: skip
def test_bad_files_are_named_with_the_frame(tmp_path, text, words):
    path = tmp_path / "bad.xyz"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"bad\.xyz, frame 1.*{words}"):
        hgn.read(path, cutoff=2.0)


@pytest.mark.parametrize(("opener", "suffix"), [(gzip.open, ".gz"), (lzma.open, ".xz")])
def test_packed_files_that_are_cut_off_are_named(tmp_path, opener, suffix):
    path = tmp_path / ("cut.xyz" + suffix)
    with opener(path, "wt") as file:
        file.write(GOOD * 300)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"cut\.xyz.*is the file truncated"):
        hgn.read(path, cutoff=2.0)


@pytest.mark.parametrize("cutoff", [-1.0, 0.0, np.nan, np.inf])
def test_cutoffs_that_are_not_positive_and_finite_are_refused(frames, cutoff):
    with pytest.raises(ValueError, match="cutoff must be positive and finite"):
        hgn.read(frames, cutoff=cutoff)


@pytest.mark.parametrize("source", [3, [3], ["a.xyz", 3], None])
def test_other_sources_are_refused(source):
    with pytest.raises((ValueError, FileNotFoundError), match=r"expected a path|a\.xyz"):
        hgn.read(source, cutoff=3.0)


@pytest.mark.parametrize("name", ["a.foo", "a", "a.bar.foo"])
def test_unknown_suffixes_name_the_known_ones(tmp_path, name):
    (tmp_path / name).write_bytes(b"what is this?")
    with pytest.raises(ValueError, match=r"unknown suffix.*\.xyz, \.extxyz, \.npz, \.h5"):
        hgn.read(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"no\.foo"):
        hgn.read(tmp_path / "no.foo", cutoff=3.0)


@pytest.mark.parametrize("name", ["cu.traj", "cu.json", "XDATCAR", "cu.cif", "cu.xsf", "cu.xyz.gz"])
def test_other_formats_are_read_with_ase(frames, tmp_path, name):
    ase.io.write(tmp_path / name, frames[1:2] if name == "XDATCAR" else frames[1])
    data = hgn.read(tmp_path / name, cutoff=CUTOFF, labels=False)
    expected = hgn.read(frames[1], cutoff=CUTOFF)
    np.testing.assert_array_equal(data.n_edge, expected.n_edge)
    np.testing.assert_array_equal(data.nodes["species"], 29)
    if name == "cu.traj":
        assert_same(data, expected)


def test_frames_are_chosen_in_files_of_ase(frames, tmp_path):
    ase.io.write(tmp_path / "cu.traj", frames)
    data = hgn.read(tmp_path / "cu.traj", cutoff=CUTOFF, frames=slice(1, None), every=2)
    assert_same(data, hgn.read(frames[1::2], cutoff=CUTOFF))


def test_formats_that_may_hold_code_are_not_read(tmp_path):
    (tmp_path / "a.py").write_text("raise SystemExit")
    with pytest.raises(ValueError, match=r"format 'py' is refused.*may hold code"):
        hgn.read(tmp_path / "a.py", cutoff=3.0)
    (tmp_path / "POSCAR").write_text("broken\nin\nevery\nline")
    with pytest.raises(ValueError, match="POSCAR, frame 0: ASE cannot read it"):
        hgn.read(tmp_path / "POSCAR", cutoff=3.0)


def test_a_shared_calculator_holds_the_results_of_its_last_atoms(frames):
    calculator, several = EMT(), [a.copy() for a in frames[:2]]
    for atoms in several:
        atoms.calc = calculator
        atoms.get_potential_energy()
    with pytest.raises(ValueError, match=r"frame 0: the results of its calculator belong to other"):
        hgn.read(several, cutoff=CUTOFF)


def test_headers_with_quotes_brackets_and_lone_keys(tmp_path):
    path = written(
        tmp_path,
        'name="a \\"b\\" = c" pbc=[T, T, F] done note={x y} energy=-1e1 list=[[1, 2], [3]]',
    )
    data = hgn.read(path, cutoff=3.0)
    assert data.globals["energy"] == -10
    assert data.globals["cell"][0, 2, 2] == 6  # long enough without a period


def test_reading_runs_no_code(tmp_path):
    path = written(tmp_path, "energy=\"__import__('os').abort()\"")
    with pytest.raises(ValueError, match="energy must be numbers"):
        hgn.read(path, cutoff=3.0)
