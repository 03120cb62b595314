"""Models as calculators of ASE, against ASE's own calculators and finite differences."""

import warnings

import ase
import ase.build
import ase.io
import ase.units
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.verlet import VelocityVerlet

import hgn_jax as hgn
from hgn_jax.io.elements import NUMBERS

CUTOFF = 5.0
D, ALPHA, R0 = 0.3, 1.4, 2.6


def morse(r):
    """A Morse potential (eV) of distances (A) that fades smoothly at the cutoff, and its slope."""
    x, s = np.exp(-ALPHA * (r - R0)), (r / CUTOFF) ** 2
    phi, slope = D * (x**2 - 2 * x), -2 * ALPHA * D * (x**2 - x)
    fade, fall = (1 - s) ** 3, -6 * (1 - s) ** 2 * r / CUTOFF**2
    return np.where(r < CUTOFF, phi * fade, 0), np.where(r < CUTOFF, slope * fade + phi * fall, 0)


def truth(atoms):
    """Energy, forces and stress from ASE's neighbours."""
    from ase.neighborlist import neighbor_list

    i, d, vector = neighbor_list("idD", atoms, CUTOFF)
    phi, slope = morse(d)
    pull = (slope / d)[:, None] * vector
    forces = np.stack([np.bincount(i, pull[:, k], len(atoms)) for k in range(3)], axis=1)
    return {
        "energy": phi.sum() / 2,
        "forces": forces,
        "energies": np.bincount(i, phi, len(atoms)) / 2,
        "stress": (np.einsum("ek,el->kl", pull, vector) / 2 / atoms.get_volume())[
            [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]
        ] if atoms.cell.rank == 3 else None,
    }  # fmt: skip


def crystal(seed, *, repeat=(2, 2, 2), symbol="Cu", strain=0.05, rattle=0.15):
    rng = np.random.default_rng(seed)
    atoms = ase.build.bulk(symbol, "fcc", a=3.7) * repeat
    atoms.set_cell(atoms.cell @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.rattle(rattle, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def data():
    frames = [crystal(seed) for seed in range(25)]
    for atoms in frames:
        results = truth(atoms)
        del results["energies"]
        atoms.calc = SinglePointCalculator(atoms, **results)
    return hgn.read(frames, cutoff=CUTOFF)


@pytest.fixture(scope="module")
def fit(data):
    return hgn.fit(
        data,
        key=0,
        terms=[hgn.Pair(64, cutoff=CUTOFF)],
        observations=[hgn.Energies(), hgn.Forces(weights="uniform")],
    )


def calculator(fit, **how):
    return hgn.ase.Calculator(fit, **how)


def molecule():
    return ase.Atoms("Cu5", positions=np.random.default_rng(0).uniform(0, 4.5, (5, 3)))


def slab():
    atoms = ase.build.fcc111("Cu", (2, 2, 3), a=3.7, vacuum=0.5)
    atoms.rattle(0.1, seed=1)
    return atoms


SYSTEMS = {
    "primitive cell": lambda: crystal(100, repeat=(1, 1, 1)),
    "skewed cell": lambda: crystal(101, repeat=(3, 1, 2)),
    "large": lambda: crystal(102, repeat=(4, 4, 4)),
    "molecule": molecule,
    "slab": slab,
    "wire": lambda: ase.Atoms("Cu2", positions=[[0, 0, 0], [0.3, 2.4, 0.1]], pbc=(0, 1, 0),
                              cell=[[0, 0, 0], [0, 4.9, 0.2], [0, 0, 0]]),
    "one atom": lambda: ase.Atoms("Cu"),
}  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.filterwarnings("ignore:the model extrapolates")
def test_a_fitted_pair_potential_is_its_reference(fit, name):
    atoms = SYSTEMS[name]()
    expected = truth(atoms)
    calc = atoms.calc = calculator(fit)
    scale = max(np.abs(expected["forces"]).max(), 0.1)
    assert atoms.get_potential_energy() == pytest.approx(expected["energy"], abs=2e-4 * len(atoms))
    assert calc.results["free_energy"] == calc.results["energy"]
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=2e-3 * scale)
    energies = atoms.get_potential_energies()
    np.testing.assert_allclose(energies, expected["energies"], atol=1e-3)
    assert energies.sum() == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    if atoms.cell.rank == 3:
        np.testing.assert_allclose(atoms.get_stress(), expected["stress"], atol=2e-5)
    else:
        with pytest.raises(PropertyNotImplementedError):
            atoms.get_stress()


@pytest.mark.parametrize("name", ["skewed cell", "slab", "molecule"])
@pytest.mark.filterwarnings("ignore:the model extrapolates")
def test_forces_and_stresses_are_derivatives_of_the_energy(fit, name):
    atoms = SYSTEMS[name]()
    atoms.calc = calculator(fit)
    numerical = calculate_numerical_forces(atoms, eps=1e-4, iatoms=range(3))
    np.testing.assert_allclose(atoms.get_forces()[:3], numerical, atol=1e-6)
    if name == "skewed cell":
        np.testing.assert_allclose(
            atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-8
        )


def test_neighbours_are_searched_again_only_when_one_might_be_missing(fit):
    """Any motion and any change of the cell gives the same as a new search at every step."""
    atoms, rng = crystal(7, repeat=(3, 2, 2)), np.random.default_rng(0)
    lasting, fresh = calculator(fit, skin=0.6), calculator(fit, skin=0.0)
    for step in range(40):
        atoms.positions += 0.02 * rng.normal(size=atoms.positions.shape) + [0.3, 0, 0]
        cell = atoms.cell @ (np.eye(3) + 2e-3 * rng.normal(size=(3, 3)))
        atoms.set_cell(cell, scale_atoms=step % 2 == 0)
        if step == 20:
            atoms.wrap()
        lasting.calculate(atoms, ["energy", "stress"])
        fresh.calculate(atoms, ["energy", "stress"])
        for name in ("energy", "forces", "stress"):
            np.testing.assert_allclose(lasting.results[name], fresh.results[name], atol=1e-10)
    assert 3 <= lasting.neighbours.searches <= 25 and fresh.neighbours.searches == 40


def test_a_program_serves_all_steps_and_nearly_all_sizes(fit):
    """Shapes stay the same while neighbours and numbers of atoms change."""
    calc, shapes = calculator(fit, skin=0.2), set()
    for seed in range(12):
        atoms = crystal(seed, repeat=(3, 3, 3))
        del atoms[: seed % 4]
        graph = calc.neighbours.graph_of(atoms)
        shapes.add((graph.nodes["position"].shape, graph.senders.shape))
    assert len(shapes) == 1 and calc.neighbours.searches == 12
    larger, smaller = crystal(0, repeat=(5, 4, 4)), crystal(0, repeat=(1, 1, 1))
    for atoms in (larger, smaller, larger):
        calc.calculate(atoms, ["energy"])
        assert calc.results["energy"] == pytest.approx(
            truth(atoms)["energy"], abs=5e-4 * len(atoms)
        )
        assert calc.results["forces"].shape == (len(atoms), 3)


@pytest.fixture(scope="module")
def dynamics(fit):
    """A trajectory of ASE: total energies, positions, the start and the times."""
    atoms = crystal(3, repeat=(3, 3, 3), strain=0.0, rattle=0.02)
    rng = np.random.default_rng(1)
    atoms.set_momenta(np.sqrt(atoms.get_masses() * 0.02)[:, None] * rng.normal(size=(27, 3)))
    atoms.calc, start = calculator(fit), atoms.copy()
    dt, energies, positions = 2 * ase.units.fs, [], []
    verlet = VelocityVerlet(atoms, dt)
    verlet.attach(lambda: energies.append(atoms.get_total_energy()))
    verlet.attach(lambda: positions.append(atoms.positions.copy()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verlet.run(300)
    return np.array(energies), np.array(positions), start, dt, atoms.calc


def test_molecular_dynamics_conserves_energy(dynamics):
    energies, positions, _, _, calc = dynamics
    assert np.abs(positions[-1] - positions[0]).max() > 0.1
    assert np.ptp(energies) < 2e-4 and abs(np.mean(energies[-50:] - energies[:50])) < 2e-5
    assert calc.neighbours.searches < 100


def test_a_rollout_of_the_model_follows_the_same_trajectory(fit, dynamics):
    _, positions, start, dt, _ = dynamics
    start.info["energy"] = 0.0
    graph = hgn.read(start, cutoff=CUTOFF + 1.5)
    graph = graph._replace(globals={"cell": graph.globals["cell"]})
    path = hgn.rollout(fit.model, graph, hgn.Every(50, 6), dt=dt, integrator=hgn.StormerVerlet())
    np.testing.assert_allclose(path.position, positions[::50], atol=1e-7)


def test_known_kinetic_energy_does_not_enter(fit):
    atoms = crystal(5)
    atoms.calc = calculator(fit)
    at_rest = atoms.get_potential_energy()
    atoms.set_momenta(np.ones((len(atoms), 3)))
    atoms.calc = calculator(fit.model)
    assert atoms.get_potential_energy() == at_rest


def test_a_model_of_one_species_knows_no_other(fit):
    atoms = crystal(0)
    atoms.numbers[:2] = NUMBERS["Ni"], NUMBERS["Ag"]
    atoms.calc = calculator(fit)
    with pytest.raises(ValueError, match="trained on Cu only, not on Ni, Ag"):
        atoms.get_potential_energy()


def test_two_species_have_their_own_potentials_and_constants():
    """Pairs count by their species; each atom has a constant, which sums into the energy."""
    frames = [crystal(seed) for seed in range(30)]
    constants = {NUMBERS["Cu"]: -3.5, NUMBERS["Ni"]: -5.25}
    rng = np.random.default_rng(0)
    for atoms in frames:
        atoms.numbers[:] = rng.choice(list(constants), len(atoms))
        results = truth(atoms)
        energy = results["energy"] + sum(constants[z] for z in atoms.numbers.tolist())
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=results["forces"])
    fit = hgn.fit(
        hgn.read(frames, cutoff=CUTOFF), key=0, terms=[hgn.Pair(32, cutoff=CUTOFF)],
        observations=[hgn.Energies(), hgn.Forces(weights="uniform")],
    )  # fmt: skip
    atoms = crystal(50, repeat=(3, 2, 2))
    atoms.numbers[:] = rng.choice(list(constants), len(atoms))
    atoms.calc = calculator(fit, skin=0.4)
    expected = truth(atoms)
    of_atoms = expected["energies"] + [constants[z] for z in atoms.numbers.tolist()]
    np.testing.assert_allclose(atoms.get_potential_energies(), of_atoms, atol=5e-3)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy())
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=2e-2)


def test_molecules_without_a_cutoff():
    """Every pair counts; the energies of atoms hold the constants of their pairs."""
    frames = []
    for seed in range(60):
        atoms = molecule()
        atoms.rattle(0.4, seed=seed)
        atoms.calc = SinglePointCalculator(atoms, **truth(atoms))
        frames.append(atoms)
    fit = hgn.fit(
        hgn.read(frames[:-1], cutoff=30.0), key=1, terms=[hgn.Pair(64)],
        observations=[hgn.Energies(), hgn.Forces(weights="uniform")],
    )  # fmt: skip
    assert np.abs(fit.model.constants).max() > 1e-3
    atoms = frames[-1].copy()
    atoms.calc = calculator(fit)
    expected = frames[-1].calc.results
    scale = np.abs(expected["forces"]).max()
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=0.02 * scale)
    energies = atoms.get_potential_energies()
    np.testing.assert_allclose(energies, expected["energies"], atol=0.01)
    assert energies.sum() == pytest.approx(atoms.get_potential_energy(), abs=1e-9)


@pytest.mark.filterwarnings("ignore:fitting in float32")
def test_models_in_single_precision(data, fit):
    single = hgn.fit(
        jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a, data),
        key=0, terms=[hgn.Pair(64, cutoff=CUTOFF)],
        observations=[hgn.Energies(), hgn.Forces(weights="uniform")],
    )  # fmt: skip
    atoms, double = crystal(4), crystal(4)
    atoms.calc, double.calc = calculator(single), calculator(fit)
    assert calculator(single).neighbours.dtype == jnp.float32
    scale = np.abs(double.get_forces()).max()
    np.testing.assert_allclose(atoms.get_forces(), double.get_forces(), atol=3e-3 * scale)
    np.testing.assert_allclose(atoms.get_stress(), double.get_stress(), atol=1e-4)
    assert atoms.get_forces().dtype == atoms.get_stress().dtype == np.float64


def test_results_can_be_written_and_read(fit, tmp_path):
    atoms = crystal(4)
    atoms.calc = calculator(fit)
    atoms.get_stress(), atoms.calc.get_property("forces_std", atoms)
    ase.io.write(tmp_path / "own.xyz", atoms)
    back = hgn.read(tmp_path / "own.xyz", cutoff=CUTOFF)
    np.testing.assert_allclose(back.globals["energy"][0], atoms.get_potential_energy(), rtol=1e-7)
    np.testing.assert_allclose(back.nodes["force"], atoms.get_forces(), atol=1e-7)
    np.testing.assert_allclose(back.globals["stress"][0], atoms.get_stress(voigt=False), rtol=1e-6)


def test_cells_relax_to_zero_stress(fit):
    """ASE's optimiser, given forces and stress, finds the minimum of the energy over the volume."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    atoms = ase.build.bulk("Cu", "fcc", a=3.6)
    atoms.calc = calculator(fit)
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4, steps=100)
    sides = np.linspace(3.2, 3.7, 501)
    energies = [truth(ase.build.bulk("Cu", "fcc", a=a))["energy"] for a in sides]
    best = sides[np.argmin(energies)]
    assert (2 * atoms.get_volume() * 2) ** (1 / 3) == pytest.approx(best, abs=5e-3)


def test_leaving_the_trained_range_is_warned_of_once(fit):
    atoms = crystal(8, rattle=0.0, strain=0.0)
    atoms.calc = calculator(fit)
    atoms.get_potential_energy()  # within the range: no warning, which would be an error
    atoms.positions[0] = atoms.positions[1] + [0.9, 0, 0]
    with pytest.warns(
        UserWarning, match=r"the model extrapolates outside of its trained range .pair: 1"
    ):
        atoms.get_potential_energy()
    atoms.positions[0] += 0.01
    atoms.get_potential_energy()


def test_pairs_between_the_last_trained_distance_and_the_cutoff_are_no_extrapolation(fit):
    """Units fade to zero at the cutoff, so the trained range ends there."""
    assert float(fit.trained_range["pair"].max()) == CUTOFF
    atoms = ase.Atoms("Cu2", positions=[[0, 0, 0], [0.9999 * CUTOFF, 0, 0]])
    atoms.calc = calculator(fit)
    atoms.get_potential_energy()


def test_standard_deviations_are_those_of_the_fit_and_come_on_request(fit, data):
    atoms = crystal(9, repeat=(2, 2, 1))
    calc = atoms.calc = calculator(fit, reference=data)
    atoms.get_forces()
    assert not set(calc.results) & {"energy_std", "forces_std"}
    atoms.info["energy"] = 0.0
    expected = fit.standard_deviation(hgn.read(atoms.copy(), cutoff=CUTOFF), reference=data)
    np.testing.assert_allclose(calc.get_property("forces_std", atoms), expected.force, rtol=1e-6)
    assert calc.get_property("energy_std", atoms) == pytest.approx(float(expected.energy[0]))
    for bare, name in [(calculator(fit), "energy_std"), (calculator(fit.model), "forces_std")]:
        with pytest.raises(PropertyNotImplementedError):
            bare.get_property(name, atoms)


def test_known_systems_are_calculators_too():
    """Lennard-Jones of argon against ASE's, both cut off and not shifted."""
    from ase.calculators.lj import LennardJones

    how = {"sigma": 3.4, "epsilon": 0.0104}
    atoms = ase.Atoms("Ar6", positions=np.random.default_rng(2).uniform(0, 9, (6, 3)))
    atoms.calc = LennardJones(rc=1e3, smooth=False, **how)
    system = hgn.systems.lennard_jones(**how)
    ours = atoms.copy()
    ours.calc = calculator(system)
    scale = np.abs(atoms.get_forces()).max()
    np.testing.assert_allclose(ours.get_forces(), atoms.get_forces(), atol=1e-6 * scale)
    assert ours.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), rel=1e-6)
    energies = [a.get_potential_energies() for a in (ours, atoms)]
    np.testing.assert_allclose(*energies, rtol=1e-5, atol=1e-6)
    ours.set_cell([20.0] * 3)
    ours.pbc = True
    with pytest.raises(ValueError, match="no cutoff, so a periodic cell has infinitely many pairs"):
        ours.get_potential_energy()


class Trap(hgn.AbstractHamiltonian):
    """User-defined Hamiltonian that does not handle padding: |q|^2 for every atom."""

    @property
    def separable(self):
        return True

    def __call__(self, graphs):
        q, n = graphs.nodes["position"], graphs.n_node
        assert len(n) == 1
        return jnp.sum(q**2)[None]


def test_models_without_padding_get_none():
    atoms = ase.Atoms("Cu2", positions=[[0, 0, 1.0], [2.0, 0, 0]])
    atoms.calc = calculator(Trap(), cutoff=3.0)
    assert atoms.get_potential_energy() == 5
    np.testing.assert_allclose(atoms.get_forces(), -2 * atoms.positions)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_potential_energies()


def test_positions_that_are_not_finite_are_named(fit):
    atoms = crystal(0)
    atoms.calc = calculator(fit)
    atoms.positions[2, 1] = np.nan
    with pytest.raises(ValueError, match="the position of atom 2 is NaN or Inf"):
        atoms.get_potential_energy()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"skin": -1.0}, "skin must be finite and not negative"),
        ({"skin": np.inf}, "skin must be finite"),
        ({"cutoff": 2}, "cutoff=2 is shorter than the model's own, 5.0"),
        ({"cutoff": -2.0}, "cutoff must be positive"),
    ],
)
def test_bad_arguments_are_refused(fit, how, words):
    with pytest.raises(ValueError, match=words):
        calculator(fit, **how)


def test_only_models_are_calculators(no_type_checks):
    with pytest.raises(ValueError, match="expected a Fit or a model, got int"):
        calculator(3)
