"""i-PI and PLUMED, which take a model's energies and forces from `hgn.ase.Calculator`."""

import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ase
import ase.io
import numpy as np
from ase.calculators.plumed import Plumed
from ase.calculators.socketio import SocketClient, actualunixsocketname
from ase.units import kJ, mol, nm
from jaxtyping import Float
from jraph import GraphsTuple

import hgn_jax as hgn

Found = tuple[float, Float[np.ndarray, "n 3"]]
"""Potential energy (eV) and forces (eV/A)."""
PATIENCE = 60.0
"""Seconds to wait for i-PI's socket, and for its end."""
INPUT = """
<simulation verbosity='quiet'>
  <output prefix='run'>
    <properties stride='1' filename='out'> [ potential{{electronvolt}} ] </properties>
    <trajectory stride='1' filename='force' format='ase'> forces{{ase}} </trajectory>
  </output>
  <total_steps> 1 </total_steps>
  <ffsocket name='model' mode='unix'> <address> {socket} </address> </ffsocket>
  <system>
    <initialize nbeads='1'> <file mode='ase' units='ase'> start.extxyz </file> </initialize>
    <forces> <force forcefield='model'/> </forces>
    <motion mode='dynamics'> <dynamics mode='nve'/> </motion>
  </system>
</simulation>
"""
STIFFNESS, DISTANCE = 500.0, 0.35
"""Stiffness and length of PLUMED's restraint on the first two atoms (kJ/mol/nm^2, nm)."""


def atoms_with(model: hgn.AbstractModel, graph: GraphsTuple) -> ase.Atoms:
    """The graph as atoms whose calculator is the model."""
    atoms = ase.Atoms(
        graph.nodes["species"],
        positions=np.asarray(graph.nodes["position"]),
        cell=np.asarray(graph.globals["cell"])[0],
        pbc=True,
    )
    atoms.calc = hgn.ase.Calculator(model)
    return atoms


def i_pi(model: hgn.AbstractModel, graph: GraphsTuple) -> Found:
    """Energy and forces that i-PI writes for its first state."""
    import ipi  # noqa: F401  says what is missing

    atoms, socket = atoms_with(model, graph), f"hgn-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as folder:
        ase.io.write(Path(folder) / "start.extxyz", atoms.copy())
        (Path(folder) / "input.xml").write_text(INPUT.format(socket=socket))
        with _serving(folder, socket):
            SocketClient(unixsocket=socket).run(atoms, use_stress=True)
        energy = np.atleast_1d(np.loadtxt(Path(folder) / "run.out"))[0]
        (path,) = Path(folder).glob("run.force*")
        return float(energy), ase.io.read(path, index=0).get_forces()


@contextmanager
def _serving(folder: str, socket: str) -> Iterator[None]:
    """i-PI in that folder, which is waited for at both ends."""
    program = shutil.which("i-pi", path=Path(sys.executable).parent) or shutil.which("i-pi")
    if program is None:
        raise ModuleNotFoundError("no program i-pi beside Python or on the PATH")
    server = subprocess.Popen([program, "input.xml"], cwd=folder)
    try:
        until = time.monotonic() + PATIENCE
        while not Path(actualunixsocketname(socket)).exists():
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError("i-PI opened no socket")
            time.sleep(0.05)
        yield
        server.wait(PATIENCE)
    finally:
        server.kill()


def plumed(model: hgn.AbstractModel, graph: GraphsTuple) -> Found:
    """Energy and forces with a restraint by PLUMED, less those of its formula: what is left is the
    model's only if PLUMED's units and signs are right."""
    atoms = atoms_with(model, graph)
    lines = ["d: DISTANCE ATOMS=1,2", f"RESTRAINT ARG=d KAPPA={STIFFNESS} AT={DISTANCE}"]
    try:
        atoms.calc = Plumed(atoms.calc, lines, timestep=1.0, atoms=atoms)
    except RuntimeError as error:  # the module is there, but no library
        raise ModuleNotFoundError(str(error)) from error
    stiffness, rest = STIFFNESS * (kJ / mol) / nm**2, DISTANCE * nm
    apart = atoms.get_distance(0, 1, mic=True, vector=True)
    length = np.linalg.norm(apart)
    pull = stiffness * (length - rest) * apart / length
    force = atoms.get_forces()
    force[:2] -= [pull, -pull]
    return atoms.get_potential_energy() - stiffness / 2 * (length - rest) ** 2, force
